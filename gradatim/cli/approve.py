"""`gradatim approve`: a person's yes to a release that waits for it."""

from __future__ import annotations

from typing import Annotated

import typer

from gradatim import approvals
from gradatim.cli.options import DEFAULT_WORKSPACE, ReasonOption, ReleaseArgument, WorkspaceOption, opened, words
from gradatim.cli.reported import Result


def approve(
    release: ReleaseArgument,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who approves: one whom the charter names.")],
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Approve a release that awaits approval, and make it live, or have a server roll it out where the charter says so.

    JSON: {"release", "live", "by"}
    """
    by = words(by, "name after --by")
    with opened(workspace) as here:
        approved = approvals.approve(here, release, by, reason)
        live = here.registry.live_id() == approved.id
    data = {"release": approved.id, "live": live, "by": by}
    then = "live" if live else "waits for a server to roll it out"
    return Result(data, lambda to: to.print(f"release {approved.id[:12]} is approved and {then}"))
