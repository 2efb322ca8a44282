"""The scheduler with real children that take real steps: crash, stop, restart, give up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.errors import WorkspaceError
from gradatim.ledger.verify import verify_workspace
from gradatim.schedule import keeping
from gradatim.schedule.keeping import Scheduler, look, resume
from gradatim.schedule.stepping import Share, processors
from gradatim.workspace import Workspace
from tests.schedule.conftest import TAKER, attempts, events
from tests.schedule.taker import SHORT
from tests.step.conftest import add_document
from tests.step.driver import WORK

Say = Callable[..., None]


def outcomes(here: Workspace) -> list[str]:
    return [entry.body["outcome"] for entry in here.ledger.entries("step-finished")]


def test_a_step_is_taken_when_it_is_time_and_once(workspace: Workspace, charter: Say, scheduler: Scheduler) -> None:
    charter("documents = 2")
    decision, ended = scheduler.once()
    assert (decision.start, ended) == (False, None)
    assert decision.why == "1 document and 1 correction wait, a step needs 2 documents or 5 corrections"
    add_document(workspace, 1)
    decision, ended = scheduler.once()
    assert decision.why == "2 documents and 1 correction wait"
    assert ended is not None
    assert (ended.how, ended.step, ended.outcome) == ("finished", "step-0001", "released")
    assert [attempt["nice"] for attempt in attempts(workspace)] == [min(19, os.nice(0) + 10)]
    assert attempts(workspace)[0]["threads"] == max(1, processors() - 1)
    assert attempts(workspace)[0]["leads"]
    group = attempts(workspace)[0]["group"]
    assert not group or group.split()[-2:] == ["nice", "10"]
    assert events(workspace) == []
    assert not look(workspace).start
    assert verify_workspace(workspace.folder).ok


def test_a_step_that_breaks_off_is_taken_up(
    workspace: Workspace, charter: Say, following: Say, scheduler: Scheduler
) -> None:
    following(die="judge")
    _, ended = scheduler.once()
    assert ended is not None
    assert (ended.how, ended.outcome, ended.said[:16]) == ("failed", None, "ended by SIGKILL")
    failed = next(workspace.ledger.entries("schedule")).body
    assert (failed["event"], failed["step"]) == ("failed", "step-0001")
    assert 0 < failed["seconds"] <= ended.seconds
    following()
    decision, ended = scheduler.once()
    assert decision.why == "step-0001 was cut short: it is taken up"
    assert ended is not None
    assert (ended.step, ended.outcome) == ("step-0001", "released")
    assert [entry.body["phase"] for entry in workspace.ledger.entries("phase")] == list(SHORT)  # each once
    # The day holds the step once: what its report says, and what broke off.
    took = look(workspace).situation.cost.seconds
    report = json.loads(workspace.blobs.get(next(workspace.ledger.entries("step-finished")).body["result"]))
    assert took == pytest.approx(report["cost"]["seconds"] + failed["seconds"])


def test_after_failures_in_a_row_it_waits_for_a_person(
    workspace: Workspace, charter: Say, following: Say, scheduler: Scheduler
) -> None:
    charter("most_failures = 2")
    following(exit=7)
    keeping_on = threading.Thread(target=scheduler.keep)
    keeping_on.start()
    wait_for(lambda: "gave-up" in events(workspace))
    time.sleep(0.3)  # several looks
    scheduler.stop()
    keeping_on.join(30)
    assert events(workspace) == ["failed", "failed", "gave-up"]
    assert [entry.body.get("said") for entry in workspace.ledger.entries("schedule")][:2] == ["what went wrong"] * 2
    assert len(attempts(workspace)) == 2
    (incident,) = workspace.incidents.all()
    assert (incident.kind, len(incident.entries)) == ("schedule", 3)  # both failures and its own
    again = Scheduler(workspace, Share(), command=TAKER, every=0.05)  # a restart forgets nothing
    decision, ended = again.once()
    assert ended is None
    assert "a person must look, and say `gradatim run --resume`" in decision.why
    following(verdict="pass")
    resume(workspace, "ada", "the disk was full")
    _, ended = again.once()
    assert ended is not None
    assert ended.outcome == "released"
    assert look(workspace).situation.failures == 0


def test_a_scheduler_killed_as_it_gives_up_is_an_incident_all_the_same(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        workspace.ledger.append("schedule", {"event": "failed", "step": None, "said": "no", "seconds": 1.0})

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(workspace.incidents), "open", killed)
        with pytest.raises(KeyboardInterrupt):
            Scheduler(workspace, Share(0, 1)).once()
    for _ in range(2):
        Scheduler(workspace, Share(0, 1)).once()
    assert [one.kind for one in workspace.incidents.all()] == ["schedule"]
    assert [entry.body["event"] for entry in workspace.ledger.entries("schedule")].count("gave-up") == 1


def test_a_refused_step_is_tried_again_later_and_not_for_ever(
    workspace: Workspace, charter: Say, following: Say, scheduler: Scheduler
) -> None:
    following(verdict="fail")
    before = workspace.registry.live_id()
    for failures in (1, 2):
        _, ended = scheduler.once()
        assert ended is not None
        assert (ended.how, ended.outcome) == ("finished", "rejected")
        assert look(workspace).situation.failures == failures
    workspace.charter_path.write_text("[schedule]\nquiet_minutes = 0\nretry_minutes = 5\n")
    decision = look(workspace)
    assert decision.why.startswith("came to nothing 2 times in a row: tries again")
    failed_at = decision.situation.failed_at
    assert failed_at is not None
    assert decision.again == failed_at + 600
    assert look(workspace, failed_at + 599).start is False
    assert look(workspace, failed_at + 600).start is True
    assert workspace.registry.live_id() == before


def wait_for(what: Callable[[], Any], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


def scheduling(folder: Path, *more: str) -> subprocess.Popen[str]:
    """A scheduler in a process of its own, with the steps of the tests."""
    program = (
        "import sys, gradatim.schedule.keeping as keeping, gradatim.schedule.stepping as stepping\n"
        f"keeping.Scheduler.__init__.__kwdefaults__.update(command={TAKER!r}, every=0.05)\n"
        "from gradatim.cli.main import main\nmain()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, "run", "-w", str(folder), "--json", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_told_to_stop_it_ends_the_step_and_the_next_start_finishes_it(
    workspace: Workspace, charter: Say, following: Say
) -> None:
    following(wait="judge")
    first = scheduling(workspace.folder)
    wait_for(lambda: list(workspace.ledger.entries("phase")))
    holder = workspace.stepping()
    assert holder is not None
    first.send_signal(signal.SIGTERM)
    out, log = first.communicate(timeout=60)
    assert first.returncode == 0, log
    assert json.loads(out)["decision"]["unfinished"] == "step-0001"
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["message"] for line in lines][-2:] == ["a step ended", "stopped"]
    assert {"looks after steps", "decided", "a step begins"} <= {line["message"] for line in lines}
    assert workspace.stepping() is None
    assert not Path(f"/proc/{holder}").exists()
    assert events(workspace) == ["stopped"]
    assert look(workspace).situation.failures == 0  # that was no failure
    following()
    second = scheduling(workspace.folder)
    wait_for(lambda: outcomes(workspace))
    wait_for(lambda: workspace.stepping() is None)
    second.send_signal(signal.SIGINT)
    assert json.loads(second.communicate(timeout=60)[0])["steps"] == 1
    assert outcomes(workspace) == ["released"]


def test_a_real_step_killed_and_stopped_and_finished(workspace: Workspace, charter: Say, following: Say) -> None:
    """On the tiny model: the child is killed while it judges, the scheduler told to stop while it tries again."""
    charter("most_failures = 9")
    following(real=True, die="judge")
    keeper = scheduling(workspace.folder, "--nice", "0")  # a busy machine would starve it, as is meant
    wait_for(lambda: events(workspace), 300)
    following(real=True, wait="release")
    wait_for(lambda: [e for e in workspace.ledger.entries("phase") if e.body["phase"] == "judge"], 300)
    keeper.terminate()
    keeper.communicate(timeout=60)
    assert keeper.returncode == 0
    assert events(workspace)[-1] == "stopped"
    assert set(events(workspace)[:-1]) == {"failed"}
    following(real=True)
    keeper = scheduling(workspace.folder, "--nice", "0")
    wait_for(lambda: outcomes(workspace), 300)
    wait_for(lambda: workspace.stepping() is None)
    keeper.terminate()
    keeper.communicate(timeout=60)
    assert outcomes(workspace) == ["released"]
    assert [entry.body["phase"] for entry in workspace.ledger.entries("phase")] == list(WORK)
    assert workspace.registry.live().step == "step-0001"
    assert verify_workspace(workspace.folder).ok


def test_a_killed_scheduler_leaves_its_step_to_finish_and_the_next_one_waits(
    workspace: Workspace, charter: Say, following: Say, scheduler: Scheduler
) -> None:
    following(wait="judge")
    first = scheduling(workspace.folder)
    wait_for(lambda: list(workspace.ledger.entries("phase")))
    holder = workspace.stepping()
    assert holder is not None
    first.kill()
    first.communicate(timeout=60)
    decision, ended = scheduler.once()
    assert (ended, decision.why) == (None, f"process {holder} takes a step")
    os.kill(int(holder), signal.SIGKILL)
    wait_for(lambda: workspace.stepping() is None)
    following()
    assert scheduler.once()[1] is not None
    wait_for(lambda: outcomes(workspace))
    wait_for(lambda: workspace.stepping() is None)
    assert (outcomes(workspace), events(workspace), len(attempts(workspace))) == (["released"], [], 2)
    assert verify_workspace(workspace.folder).ok


def test_one_scheduler_and_no_step_beside_another(workspace: Workspace, charter: Say, scheduler: Scheduler) -> None:
    with scheduler.alone():
        assert keeping.keeper(workspace) == str(os.getpid())
        other = Scheduler(workspace, Share(), command=TAKER)
        busy = rf"Another `gradatim run` looks after .* \(process {os.getpid()}\)"
        with pytest.raises(WorkspaceError, match=busy), other.alone():
            pass
    assert keeping.keeper(workspace) is None
    with workspace.lock():
        decision = look(workspace)
        assert decision.why == f"process {os.getpid()} takes a step"
        ended = scheduler.step()  # as if it had begun in between
    assert (ended.how, events(workspace)) == ("busy", [])


def test_a_broken_charter_is_waited_out(
    workspace: Workspace, charter: Say, scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    workspace.charter_path.write_text("[schedule]\ndocuments = -1\n")
    keeping_on = threading.Thread(target=scheduler.keep)
    keeping_on.start()
    wait_for(lambda: "can't decide" in caplog.text or keeping_on.is_alive())
    charter()
    wait_for(lambda: outcomes(workspace))
    scheduler.stop()
    keeping_on.join(30)
    assert outcomes(workspace) == ["released"]
