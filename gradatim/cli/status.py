"""`gradatim status`: what is served, what waits, what happened last."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradatim.account import UNFINISHED, steps_data
from gradatim.approvals import awaiting
from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result
from gradatim.cli.tables import short, table

if TYPE_CHECKING:
    from rich.console import Console

LAST = 5
"""Steps that are listed."""


def status(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> Result:
    """Show the model, the live release, what waits, and the last steps.

    JSON: {"workspace", "model", "base", "live", "releases", "waiting": {"documents", "feedback", "approvals"},
    "unfinished", "steps": [{"step", "outcome", "at"}], "ledger": {"entries", "head"}}
    """
    with opened(workspace) as here:
        steps = steps_data(here)
        data = {
            "workspace": str(workspace),
            "model": here.base.get("source", ""),
            "base": here.base["digest"],
            "live": here.registry.live_id(),
            "releases": len(here.registry.releases()),
            "waiting": {
                "documents": len(here.records.documents("new")),
                "feedback": len(here.records.feedback("new")),
                "approvals": awaiting(here),
            },
            "unfinished": steps[-1]["step"] if steps and steps[-1]["outcome"] == UNFINISHED else None,
            "steps": [step for step in steps if step["outcome"] != UNFINISHED][-LAST:],
            "ledger": {"entries": here.ledger.size, "head": here.ledger.head},
        }
    return Result(data, partial(_show, data))


def _show(data: dict[str, Any], to: Console) -> None:
    waiting = data["waiting"]
    to.print(f"model    {data['model']} (base {short(data['base'])})")
    to.print(f"live     release {short(data['live'])}, of {data['releases']}")
    to.print(f"waiting  {waiting['documents']} documents, {waiting['feedback']} feedback records")
    for release in waiting["approvals"]:
        to.print(f"         release {short(release)} awaits approval: gradatim approve, or gradatim reject")
    if data["unfinished"]:
        to.print(f"         {data['unfinished']} is unfinished: it runs now, or `gradatim step` takes it up")
    to.print(f"ledger   {data['ledger']['entries']} entries, head {data['ledger']['head']}")
    if data["steps"]:
        rows = [(each["step"], each["outcome"], each["at"]) for each in data["steps"]]
        to.print(table("", ("last steps", "outcome", "at"), rows))
