"""What a scheduler starts in the tests: `python -m tests.schedule.taker DIR`, a child as in use, and short.

A file `next` beside the workspace says what becomes of the attempt, as JSON: {"real": true} for a real step on the tiny
model, made small as in `tests.step.driver`; without it, a step of three phases that needs no model and marks what waits
as studied. "verdict" is the judge's ("pass" or "fail"), {"die": phase} a `kill -9` of itself in that phase,
{"wait": phase} a phase that never ends, {"exit": code} an attempt that fails at once. Each attempt adds to `attempts`
what it may take.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gradatim.journal import Journal
from gradatim.schedule import stepping
from gradatim.types import Cost, StepReport
from gradatim.workspace import Workspace

SHORT = ("observe", "judge", "watch")


def main() -> int:
    folder = Path(sys.argv[1])
    file = folder.parent / "next"
    wanted: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    stepping.step_back()
    group = Path("/proc/self/autogroup")
    said = {
        "nice": os.nice(0),
        "threads": int(os.environ["OMP_NUM_THREADS"]),
        "leads": os.getsid(0) == os.getpid(),
        "group": group.read_text() if group.exists() else "",
    }
    with (folder.parent / "attempts").open("a") as attempts:
        attempts.write(json.dumps(said) + "\n")
    if "exit" in wanted:
        sys.stdout.write("what went wrong\n")
        return int(wanted["exit"])
    if wanted.get("real"):
        _make_real_small(wanted)
    else:
        take_step = lambda workspace, progress: _short(workspace, wanted)  # noqa: E731
        sys.modules["gradatim.step"] = SimpleNamespace(take_step=take_step)  # type: ignore[assignment]
    return stepping.take(folder)


def _hindered(wanted: dict[str, Any], phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
    if wanted.get("die") == phase:
        return lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if wanted.get("wait") == phase:
        return lambda *_: time.sleep(600)
    return work


def _short(workspace: Workspace, wanted: dict[str, Any]) -> StepReport:
    with workspace.lock():
        run = Journal.begin_or_resume(workspace.ledger, workspace.blobs, {})
        for phase in SHORT:
            run.phase(phase, str, _hindered(wanted, phase, lambda: "done"))
        good = wanted.get("verdict", "pass") == "pass"
        if good:
            records = workspace.records
            records.mark_documents([record.id for record in records.documents("new")], "studied")
            records.mark_feedback([record.feedback.id for record in records.feedback("new")], "studied")
        cost = Cost(100.0, 0, 5000.0)
        report = StepReport(run.step, "released" if good else "rejected", (), (), None, cost, "as was wanted")
        run.finish(report.outcome, workspace.blobs.put_json(report))
        return report


def _make_real_small(wanted: dict[str, Any]) -> None:
    from gradatim import phases
    from gradatim.judge import verdict
    from tests.step import driver

    driver._make_small()
    phases.verdict = lambda *given: driver._judged(wanted.get("verdict", "pass"), verdict(*given))  # type: ignore[attr-defined]
    for phase, function in driver.WORK.items():
        setattr(phases, function, _hindered(wanted, phase, getattr(phases, function)))


if __name__ == "__main__":
    sys.exit(main())
