"""`gradatim rollback`: back to what was served before."""

from __future__ import annotations

from typing import Annotated

import typer

from gradatim import approvals
from gradatim.cli.options import DEFAULT_WORKSPACE, ByOption, ReasonOption, WorkspaceOption, opened, person
from gradatim.cli.reported import Result


def rollback(
    release: Annotated[
        str | None, typer.Argument(metavar="RELEASE", help="Where to go back to. By default, what was live before.")
    ] = None,
    by: ByOption = "",
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Go back to a release that was live before, at once, even while a step runs.

    JSON: {"live", "was"}
    """
    with opened(workspace) as here:
        was = here.registry.live_id()
        live = approvals.rollback(here, release, person(by), reason)
    data = {"live": live.id, "was": was}
    return Result(data, lambda to: to.print(f"release {live.id[:12]} is live again (it was {was[:12]})"))
