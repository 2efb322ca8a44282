"""A process that takes steps in forked children, and dies on command: `python -m tests.step.driver`.

Imports are paid for once; a child loads the tiny model itself, as a fresh start would. Each line on stdin is a request,
each line on stdout says how its child ended. What a child does is a real step, with three things made small or fixed:
how much is trained and asked, the verdict ("pass" or "fail"; a random model would get neither for learning), and the
energy counter, which would look at the hardware anew in every process.

A request's "kill" is {"after": seconds} for a `kill -9` from outside, or {"phase", "calls"} for one by the child itself
at the n-th Python call inside that phase's work; 0 is after the work, before its result is acknowledged.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from gradatim import phases, workbench
from gradatim.judge import skill_suite, verdict
from gradatim.learn.asking import lessons
from gradatim.step import take_step
from gradatim.types import TrainingPlan, Verdict
from gradatim.watch.cost import _EnergyCounter
from gradatim.workspace import Workspace
from gradatim.writing.questions import write_questions

WORK = {
    "observe": "observe",
    "diagnose": "diagnose_weakness",
    "seal": "seal",
    "propose": "propose",
    "learn": "learn",
    "judge": "judge",
    "release": "release",
    "watch": "watch",
}
"""Each phase, and the function of `gradatim.phases` that does its work."""


def main() -> None:
    torch.set_num_threads(1)
    _make_small()
    _reply({"ready": True})
    for line in sys.stdin:
        _reply(_run(json.loads(line)))


def _reply(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _make_small() -> None:
    suite = skill_suite()[::8]
    replacements: dict[str, Any] = {
        "REPLAY_COUNT": 8,
        "TrainingPlan": partial(TrainingPlan, rank=4, tokens=1500, batch_tokens=200),
        "skill_suite": lambda: suite,
        "write_questions": lambda *given, **settings: write_questions(*given, **settings | {"each": 1}),
    }
    for name, value in replacements.items():
        setattr(phases, name, value)
    setattr(workbench, "lessons", lambda asker: lessons(asker)[::80])  # noqa: B010 - mypy would have it assigned
    setattr(_EnergyCounter, "_start", lambda _: None)  # noqa: B010 - mypy would have it assigned


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """One child: killed, or done."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _child(request)
            status = 0
        except BaseException:  # noqa: BLE001 - a child must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(status)
    after = (request["kill"] or {}).get("after")
    ended, status = 0, 0
    if after is not None:
        while not ended and time.monotonic() < began + after:
            time.sleep(0.002)
            ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.kill(child, signal.SIGKILL)
    if not ended:
        _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    code = None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return {"killed": killed, "code": code, "seconds": time.monotonic() - began}


def _child(request: dict[str, Any]) -> None:
    workspace = Workspace.open(Path(request["workspace"]))
    kill = request["kill"] or {}
    for phase, function in WORK.items():
        calls = kill["calls"] if kill.get("phase") == phase else None
        work = getattr(phases, function)
        setattr(phases, function, partial(_work, workspace, Path(request["notes"]), phase, calls, work))
    phases.verdict = lambda *given: _judged(request["verdict"], verdict(*given))  # type: ignore[attr-defined]
    take_step(workspace)


def _work(
    workspace: Workspace, notes: Path, phase: str, calls: int | None, work: Callable[..., Any], *given: Any
) -> Any:
    """Note that the work began, do it, and die in it where that is wanted."""
    step = [entry.body["step"] for entry in workspace.ledger.entries("step-begun")][-1]
    finished = [e.body["phase"] for e in workspace.ledger.entries("phase") if e.body["step"] == step]
    with notes.open("a") as file:
        file.write(json.dumps({"step": step, "phase": phase, "finished": finished}) + "\n")
    if calls:
        sys.setprofile(_dies_at_call(calls))
    result = work(*given)
    sys.setprofile(None)
    if calls == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def _dies_at_call(number: int) -> Callable[[FrameType, str, Any], None]:
    left = number

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal left
        if event == "call":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return profile


def _judged(outcome: Any, said: Verdict) -> Verdict:
    first, *rest = said.checks
    return replace(said, outcome=outcome, checks=(replace(first, outcome=outcome), *rest))


if __name__ == "__main__":
    main()
