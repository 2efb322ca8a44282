"""`kill -9` of a process that takes a real step: the next one finishes the same step and repeats nothing finished."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gradatim.ledger.verify import verify_workspace
from gradatim.types import StepReport
from gradatim.workspace import Workspace
from tests.step.conftest import Take, add_document
from tests.step.driver import WORK

KILLS = 30


def reports(workspace: Workspace) -> list[StepReport]:
    """What the ledger keeps of each finished step."""
    finished = workspace.ledger.entries("step-finished")
    return [workspace.blobs.get_json(entry.body["result"], StepReport) for entry in finished]


def statuses(workspace: Workspace) -> Counter[str]:
    documents, feedback = workspace.records.documents(), workspace.records.feedback()
    return Counter([*(record.status for record in documents), *(record.status for record in feedback)])


def check(folder: Path, steps: int) -> Workspace:
    """Each step was begun and finished once, each of its phases once, and every byte is what was signed."""
    assert verify_workspace(folder).ok, verify_workspace(folder).problem
    workspace = Workspace.open(folder)
    names = [f"step-{number:04d}" for number in range(1, steps + 1)]
    for kind in ("step-begun", "step-finished"):
        assert [entry.body["step"] for entry in workspace.ledger.entries(kind)] == names
    phases = [(entry.body["step"], entry.body["phase"]) for entry in workspace.ledger.entries("phase")]
    assert phases == [(step, phase) for step in names for phase in WORK]
    assert not (folder / "partial").exists()
    notes = folder.parent / "notes"
    for note in map(json.loads, notes.read_text().splitlines()):
        assert note["finished"] == list(WORK)[: list(WORK).index(note["phase"])]  # no finished phase was begun again
    return workspace


def check_released(workspace: Workspace, steps: int) -> None:
    """One release and one promotion a step, each with one adapter more; the last is live, and all was studied."""
    said = reports(workspace)
    assert [report.outcome for report in said] == ["released"] * steps
    bare, *releases = workspace.registry.releases()
    assert [release.id for release in releases] == [report.release for report in said]
    assert [move.release for move in workspace.registry.history()] == [bare.id, *(r.id for r in releases)]
    assert [len(release.adapters) for release in releases] == list(range(1, steps + 1))
    assert [release.parent for release in releases] == [bare.id, *(r.id for r in releases)][:-1]
    assert workspace.registry.live() == releases[-1]
    assert set(statuses(workspace)) == {"studied"}
    assert len(workspace.records.outcomes()) == steps


def test_a_step_that_nobody_kills(workspace: Workspace, take: Take, tmp_path: Path) -> None:
    assert take()["code"] == 0
    done = check(workspace.folder, 1)
    check_released(done, 1)
    assert [json.loads(line)["phase"] for line in (tmp_path / "notes").read_text().splitlines()] == list(WORK)
    assert take()["code"] == 0
    check(workspace.folder, 1)  # nothing is waiting: nothing was begun


def test_killed_inside_each_phase_and_after_its_work(workspace: Workspace, take: Take, tmp_path: Path) -> None:
    chance = random.Random(0)
    for phase in WORK:
        for calls in (chance.randrange(1, 100), 0):
            assert take({"phase": phase, "calls": calls})["killed"], (phase, calls)
            assert Workspace.open(workspace.folder).ledger.size >= workspace.ledger.size
            assert verify_workspace(workspace.folder).ok
    assert not take()["killed"]
    check_released(check(workspace.folder, 1), 1)
    begun = Counter(json.loads(line)["phase"] for line in (tmp_path / "notes").read_text().splitlines())
    assert begun == dict.fromkeys(WORK, 3)  # killed twice, and once not


def test_killed_all_through_the_release(workspace: Workspace, take: Take) -> None:
    assert take({"phase": "release", "calls": 1})["killed"]
    calls = 1
    while take({"phase": "release", "calls": calls})["killed"]:
        calls += 50
        assert len(workspace.registry.releases()) <= 2  # the bare base's, and this step's
    assert calls > 300
    check_released(check(workspace.folder, 1), 1)


def test_killed_at_thirty_random_moments(workspace: Workspace, take: Take) -> None:
    """From outside, between the start and a whole step's time; a step that ends before is followed by another."""
    whole = take()["seconds"]
    chance, killed, steps = random.Random(1), 0, 1
    while killed < KILLS:
        if steps == len(reports(Workspace.open(workspace.folder))):
            add_document(workspace, steps)
            steps += 1
        killed += take({"after": chance.uniform(0, whole)})["killed"]
        Workspace.open(workspace.folder)  # mends what a kill left half written
        assert verify_workspace(workspace.folder).ok
    take()
    check_released(check(workspace.folder, steps), steps)


@pytest.mark.parametrize("kill", [{"phase": "judge", "calls": 0}, {"phase": "watch", "calls": 40}])
def test_a_rejected_step_leaves_its_records_new(workspace: Workspace, take: Take, kill: dict[str, Any]) -> None:
    before = workspace.registry.live()
    assert take(kill, verdict="fail")["killed"]
    assert not take(verdict="fail")["killed"]
    done = check(workspace.folder, 1)
    assert [report.outcome for report in reports(done)] == ["rejected"]
    assert reports(done)[0].release is None
    assert done.registry.live() == before
    assert done.registry.releases() == [before]
    assert set(statuses(done)) == {"new"}
    assert take(verdict="fail")["code"] == 0  # so that the next step tries again
    check(workspace.folder, 2)


@pytest.mark.parametrize("phase", ["judge", "release"])  # before the step's own promotion, and after it
def test_a_rollback_between_kill_and_resume_stands(workspace: Workspace, take: Take, phase: str) -> None:
    before = workspace.registry.live()
    assert take()["code"] == 0
    add_document(workspace, 1)
    assert take({"phase": phase, "calls": 0})["killed"]
    Workspace.open(workspace.folder).registry.rollback(before.id, "a person's word", by="ada")
    assert take()["code"] == 0
    done = check(workspace.folder, 2)
    assert [report.outcome for report in reports(done)] == ["released", "inconclusive"]
    assert done.registry.live() == before
    assert take()["code"] == 0  # what was not released is studied again, on what is live now
    again = check(workspace.folder, 3)
    assert reports(again)[-1].outcome == "released"
    assert again.registry.live().parent == before.id
