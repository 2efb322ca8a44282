"""`gradatim quarantine`: what was not believed, and a person's word on it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, ByOption, ReasonOption, WorkspaceOption, opened, person
from gradatim.cli.reported import Result
from gradatim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from gradatim.quarantine import Decision

ACTIONS = ("list", "release", "discard")


def quarantine(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="list, release or discard.")] = "list",
    record: Annotated[str, typer.Argument(metavar="ID", help="An item's id, or its first six characters.")] = "",
    decided: Annotated[bool, typer.Option("--decided", help="With list: also what was decided on.")] = False,
    by: ByOption = "",
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """List what was not believed, with the reasons; release an item, or discard it.

    What is released is believed at the next step; what is discarded is never learnt. Both need a --reason.

    JSON: {"held": [{"record", "kind", "what", "about", "by", "reason", "at", "decision", "decided_by", "why"}]}
    """
    if action not in ACTIONS:
        raise InputError(f"{action} is no action: there are {', '.join(ACTIONS)}")
    if bool(record) == (action == "list"):
        raise InputError("list takes no ID" if record else f"Which item? Give its ID after {action}")
    if decided and action != "list":
        raise InputError("--decided goes with list")
    from gradatim import quarantine as rules

    with opened(workspace) as here:
        if action != "list":
            word: Decision = "released" if action == "release" else "discarded"
            rules.decide(here, record, word, person(by), " ".join(reason.split()))
        held = rules.held(here, decided=decided)
    return Result({"held": held}, partial(_show, held))


def _show(held: list[dict[str, Any]], to: Console) -> None:
    from gradatim.cli.tables import short, table

    if not held:
        to.print("nothing waits in quarantine")
        return
    rows = [
        (short(each["record"]), each["kind"], each["by"], each["what"], each["decision"] or each["reason"])
        for each in held
    ]
    to.print(table("Quarantine", ("id", "", "by", "what", "why"), rows))
