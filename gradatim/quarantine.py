"""What a person may do with what was not believed: look at it, let it go, or discard it.

On the command line or over HTTP, it passes here. Each decision is an entry "quarantine" {record, kind, decision, by,
reason} of the ledger and stands: what was released is believed at the next step without another look, but not in spite
of the charter's sources; what was discarded is never learnt. The ledger is written first: a kill in between leaves an
item that waits, and an entry that the next decision repeats.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

from gradatim.errors import InputError

if TYPE_CHECKING:
    from gradatim.store.quarantine import Held
    from gradatim.workspace import Workspace

Decision = Literal["released", "discarded"]


def held(workspace: Workspace, *, decided: bool = False) -> list[dict[str, Any]]:
    """What waits for a person, with the reasons; with `decided` also what was decided on."""
    return [asdict(item) for item in workspace.records.quarantine.held(decided=decided)]


def decide(workspace: Workspace, record: str, decision: Decision, by: str, reason: str) -> Held:
    """Release or discard an item, named by its id or the beginning of it; InputError when it does not wait."""
    if not by.strip() or not reason.strip():
        raise InputError("A decision needs the name of who takes it and a reason")
    table = workspace.records.quarantine
    item = table.find(record)
    body = {"record": item.record, "kind": item.kind, "decision": decision, "by": by, "reason": reason}
    workspace.ledger.append("quarantine", body)
    if not table.decide(item, released=decision == "released", by=by, reason=reason):
        raise InputError(f"{item.record[:12]} was decided on a moment ago: look at the list again")
    return replace(item, decision=decision, decided_by=by, why=reason)
