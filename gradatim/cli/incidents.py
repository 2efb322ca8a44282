"""`gradatim incidents`: what a person must look at, and the word that it was looked at."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, ByOption, ReasonOption, WorkspaceOption, opened, person
from gradatim.cli.reported import Result
from gradatim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

ACTIONS = ("list", "show", "acknowledge", "close", "export")


def incidents(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="list, show, acknowledge, close or export.")] = "list",
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, as the list shows it.")] = "",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="With export: the file. By default, INCIDENT.zip here.")
    ] = None,
    by: ByOption = "",
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """List incidents, show one, acknowledge or close it, or export it with its evidence and proofs.

    Incidents are opened when a rollout takes a release back by itself, the scheduler gives up, what is asked, answered
    or rated drifts, ratings rise while the truth falls, or a stored byte is not what was signed. What `export` writes
    is checked, here or elsewhere, by `gradatim verify --bundle FILE`.

    JSON: {"incidents": [{"id", "kind", "about", "said", "state", "opened_at", "acknowledged", "closed", "entries"}],
    "evidence", "file"}; "acknowledged" and "closed" are null or {"by", "at", "reason", "seconds"}
    """
    if action not in ACTIONS:
        raise InputError(f"{action} is no action: there are {', '.join(ACTIONS)}")
    if bool(incident) == (action == "list"):
        raise InputError("list takes no INCIDENT" if incident else f"Which incident? Give its id after {action}")
    if to is not None and action != "export":
        raise InputError("--to goes with export")
    data: dict[str, Any] = {"evidence": None, "file": None}
    with opened(workspace) as here:
        known = here.incidents
        if action == "acknowledge":
            known.acknowledge(incident, person(by), reason)
        elif action == "close":
            known.close(incident, person(by), reason)
        elif action == "export":
            data["file"] = str(known.export(incident, to))
        elif action == "show":
            data["evidence"] = known.evidence(known.get(incident))
        chosen = known.all() if action == "list" else [known.get(incident)]
        data["incidents"] = [known.data(one) for one in chosen]
    return Result(data, partial(_show, data))


def _show(data: dict[str, Any], to: Console) -> None:
    if not data["incidents"]:
        to.print("no incidents")
    for one in data["incidents"]:
        to.print(f"{one['id']:<14} {one['state']:<13} {one['kind']:<9} {one['opened_at']}")
        to.print(f"  {one['said']}")
        for name in ("acknowledged", "closed"):
            if word := one[name]:
                why = f": {word['reason']}" if word["reason"] else ""
                to.print(f"  {name} after {word['seconds']:,.0f} s by {word['by']}{why}")
    if data["evidence"]:
        to.print_json(data=data["evidence"])
    if data["file"]:
        to.print(f"{data['file']}: check it with gradatim verify --bundle {data['file']}")
