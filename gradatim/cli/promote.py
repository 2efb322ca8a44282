"""`gradatim promote`: make a release live that passed its checks."""

from __future__ import annotations

from gradatim.cli.approvals import refuse_unapproved
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
        wanted = here.registry.get(release)
        refuse_unapproved(here, wanted)
        here.registry.promote(wanted.id, reason=reason, by=person(by))
    data = {"live": wanted.id, "was": was}
    return Result(data, lambda to: to.print(f"release {wanted.id[:12]} is live (it was {was[:12]})"))
