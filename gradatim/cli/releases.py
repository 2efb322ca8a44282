"""`gradatim releases`: every release, and which one is live."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradatim.approvals import releases_data
from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result
from gradatim.cli.tables import short, table

if TYPE_CHECKING:
    from rich.console import Console


def releases(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> Result:
    """List the releases, oldest first, and the moves between them.

    JSON: {"live", "releases": [{"id", "parent", "step", "adapters", "created_at", "state"}],
    "history": [{"kind", "release", "reason", "by", "at"}]}
    """
    with opened(workspace) as here:
        data = releases_data(here)
    return Result(data, partial(_show, data))


def _show(data: dict[str, Any], to: Console) -> None:
    rows = [
        (short(each["id"]), each["state"], each["step"] or "-", short(each["parent"]), each["created_at"])
        for each in data["releases"]
    ]
    to.print(table("", ("release", "state", "step", "parent", "made at"), rows))
    moves = [(move["at"], move["kind"], short(move["release"]), move["by"], move["reason"]) for move in data["history"]]
    to.print(table("", ("at", "move", "release", "by", "reason"), moves))
