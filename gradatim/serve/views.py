"""What an operator looks at beyond single records: the whole at a glance, a step while it runs, evidence, the ledger.

Each function is the body of one GET of the control plane, and reads only.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from gradatim import approvals
from gradatim.account import UNFINISHED, account, steps_data
from gradatim.charter import Charter
from gradatim.errors import InputError
from gradatim.journal import announcement
from gradatim.ledger.audit import read_public_key
from gradatim.ledger.merkle import verify_inclusion
from gradatim.ledger.note import read_note
from gradatim.store.announced import read_announced
from gradatim.types import Verdict

if TYPE_CHECKING:
    from gradatim.ledger.entry import Entry
    from gradatim.serve.rollouts import Rollouts
    from gradatim.types import StudyExample
    from gradatim.workspace import Workspace

PHASES = ("observe", "diagnose", "seal", "propose", "learn", "judge", "release", "watch")
"""The phases of a step in order, as the corridor names them."""

Plain = dict[str, Any]


def overview_data(workspace: Workspace, rollouts: Rollouts) -> Plain:
    """The whole at a glance: what is served, what waits for a person, what happens now."""
    steps, moves, records = steps_data(workspace), workspace.registry.history(), workspace.records
    unfinished = steps[-1]["step"] if steps and steps[-1]["outcome"] == UNFINISHED else None
    known, incidents = rollouts.views.listed(), workspace.incidents
    return {
        "model": workspace.base.get("source", ""),
        "base": workspace.base["digest"],
        "live": {"release": moves[-1].release, "since": moves[-1].at, "by": moves[-1].by},
        "releases": len(workspace.registry.releases()),
        "waiting": {
            "documents": len(records.documents("new")),
            "feedback": len(records.feedback("new")),
            "approvals": approvals.awaiting(workspace),
            "incidents": [incidents.data(one) for one in incidents.all() if not one.closed],
        },
        "quarantined": {
            "documents": len(records.documents("quarantined")),
            "feedback": len(records.feedback("quarantined")),
        },
        "studied": {"documents": len(records.documents("studied")), "feedback": len(records.feedback("studied"))},
        "answered": records.traffic.count(),
        "steps": len(steps),
        "running": unfinished if unfinished and workspace.stepping() else None,
        "unfinished": unfinished,
        "last": next((step for step in reversed(steps) if step["outcome"] != UNFINISHED), None),
        "rollout": known[-1] if known else None,
        "ledger": {"entries": workspace.ledger.size, "head": workspace.ledger.head},
    }


# ------------------------------------------------------------------ steps


def progress_data(workspace: Workspace, step: str) -> Plain:
    """How far a step is: each phase with the seconds it took, and what the present one has done so far."""
    begun = next((e for e in workspace.ledger.entries("step-begun") if e.body["step"] == step), None)
    if begun is None:
        raise InputError(f"No step is called {step}: `gradatim status` lists the last ones")
    ended = next((e for e in workspace.ledger.entries("step-finished") if e.body["step"] == step), None)
    done = {e.body["phase"]: e for e in workspace.ledger.entries("phase") if e.body["step"] == step}
    running = ended is None and workspace.stepping() is not None
    return {
        "step": step,
        "outcome": ended.body["outcome"] if ended else UNFINISHED,
        "running": running,
        "begun_at": begun.at,
        "ended_at": ended.at if ended else None,
        "phases": _phases(done, over=ended is not None, running=running),
        "now": read_announced(announcement(workspace.folder, step)) if running else None,
    }


def _phases(done: dict[str, Entry], *, over: bool, running: bool) -> list[Plain]:
    told, at_front = [], True
    for name in PHASES:
        if entry := done.get(name):
            told.append({"phase": name, "state": "done", "seconds": entry.body.get("seconds"), "at": entry.at})
            continue
        state = "skipped" if over else "waiting"
        if at_front and not over:
            state = "running" if running else "interrupted"
        at_front = False
        told.append({"phase": name, "state": state, "seconds": None, "at": None})
    return told


def passages_data(workspace: Workspace, step: str, each: int) -> Plain:
    """The weakness map: every sentence, whether the model knew it, and `each` of the edits that were made from it."""
    told = account(workspace, step)
    titles = {document.id: document.title for document in told.evidence.documents} if told.evidence else {}
    weak = {weakness.passage: weakness for weakness in told.diagnosis.weaknesses} if told.diagnosis else {}
    known = set(told.diagnosis.known) if told.diagnosis else set()
    edits: dict[str | None, list[tuple[str, StudyExample]]] = {}
    for study in told.studies:
        for example in study.examples:
            edits.setdefault(example.passage, []).append((study.strategy, example))
    found = []
    for passage in told.evidence.passages if told.evidence else ():
        made = edits.get(passage.id, [])
        weakness = weak.get(passage.id)
        found.append(
            {
                "id": passage.id,
                "title": titles.get(passage.document, ""),
                "context": passage.context,
                "text": passage.text,
                "state": "weak" if weakness else "known" if passage.id in known else "not asked",
                "asked": weakness.asked if weakness else None,
                "right": weakness.right if weakness else None,
                "question": weakness.example if weakness else None,
                "reply": weakness.reply if weakness else None,
                "made": len(made),
                "edits": [
                    {"strategy": strategy, "kind": e.kind, "prompt": e.prompt, "target": e.target}
                    for strategy, e in _spread(made, each)
                ],
            }
        )
    return {"step": step, "passages": found}


def _spread(made: list[tuple[str, StudyExample]], count: int) -> list[tuple[str, StudyExample]]:
    """At most `count`, the same every time, of as many kinds as there are."""
    by_kind: dict[str, list[tuple[str, StudyExample]]] = {}
    for strategy, example in made:
        by_kind.setdefault(example.kind, []).append((strategy, example))
    rounds = max(map(len, by_kind.values()), default=0)
    turns = (group[turn] for turn in range(rounds) for group in by_kind.values() if turn < len(group))
    return list(islice(turns, count))


# ------------------------------------------------------------------ approvals


def approval_data(workspace: Workspace, release_id: str) -> Plain:
    """What a person needs to decide on a release: its verdict, what it would replace, and who may decide."""
    release = workspace.registry.get(release_id)
    charter, live = Charter.load(workspace.charter_path), workspace.registry.live_id()
    verdict = workspace.blobs.get_json(release.verdict, Verdict) if release.verdict else None
    return {
        "release": release.id,
        "parent": release.parent,
        "step": release.step,
        "created_at": release.created_at,
        "adapters": list(release.adapters),
        "word": approvals.said(workspace).get(release.id),
        "live": live,
        "outdated": release.parent is not None and release.parent != live,
        "may_decide": list(charter.approval.by),
        "rule": charter.line("approval.by"),
        "verdict": {
            "candidate": verdict.candidate,
            "outcome": verdict.outcome,
            "checks": [asdict(check) for check in verdict.checks],
            "controls": verdict.controls,
        }
        if verdict
        else None,
    }


# ------------------------------------------------------------------ ledger


def entries_data(workspace: Workspace, last: int, before: int | None) -> Plain:
    """`last` entries, the newest first, of those before an index, with the checkpoint's size and root."""
    ledger = workspace.ledger
    size = ledger.size
    end = size if before is None else max(0, min(before, size))
    begin = max(0, end - last)
    entries = [asdict(entry) for entry in islice(ledger.entries(), begin, end)]
    return {"size": size, "head": ledger.head, "begin": begin, "end": end, "entries": entries[::-1]}


def entry_data(workspace: Workspace, index: int) -> Plain:
    """One entry, with the proof that it is in the ledger which the checkpoint signs, and whether the proof holds."""
    proof = workspace.ledger.proof(index)
    signed = read_note(proof.note, read_public_key(workspace.folder / "ledger"))
    entry = next(islice(workspace.ledger.entries(), index, None))
    return {
        "entry": asdict(entry),
        "leaf": proof.leaf.hex(),
        "path": [node.hex() for node in proof.path],
        "origin": signed.origin,
        "size": signed.size,
        "root": signed.root.hex(),
        "checkpoint": proof.note.decode(),
        "holds": verify_inclusion(proof.leaf, index, signed.size, proof.path, signed.root),
    }
