"""`gradatim reject`: a person's no to a release that waits for approval."""

from __future__ import annotations

from typing import Annotated

import typer

from gradatim.approvals import decide
from gradatim.cli.options import DEFAULT_WORKSPACE, ReasonOption, ReleaseArgument, WorkspaceOption, opened, words
from gradatim.cli.reported import Result


def reject(
    release: ReleaseArgument,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who rejects: one whom the charter names.")],
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Reject a release that awaits approval; the live one stays.

    JSON: {"release", "live", "by"}
    """
    by = words(by, "name after --by")
    with opened(workspace) as here:
        rejected = decide(here, release, by, approving=False, reason=reason)
    data = {"release": rejected.id, "live": False, "by": by}
    return Result(data, lambda to: to.print(f"release {rejected.id[:12]} is rejected; the live one stays"))
