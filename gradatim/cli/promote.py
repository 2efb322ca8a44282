"""`gradatim promote`: make a release live that passed its checks."""

from __future__ import annotations

from gradatim import approvals
from gradatim.cli.options import (
    DEFAULT_WORKSPACE,
    ByOption,
    ReasonOption,
    ReleaseArgument,
    WorkspaceOption,
    opened,
    person,
)
from gradatim.cli.reported import Result


def promote(
    release: ReleaseArgument,
    by: ByOption = "",
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Make a release live, for instance one that was rolled back.

    One that failed its checks, or still needs approval, is refused.

    JSON: {"live", "was"}
    """
    with opened(workspace) as here:
        was = here.registry.live_id()
        live = approvals.promote(here, release, person(by), reason)
    data = {"live": live.id, "was": was}
    return Result(data, lambda to: to.print(f"release {live.id[:12]} is live (it was {was[:12]})"))
