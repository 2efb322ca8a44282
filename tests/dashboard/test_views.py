"""What the control plane tells beyond single records, held against what was put in."""

from __future__ import annotations

import os
import statistics
from typing import Any

import pytest

from gradatim.errors import WorkspaceError
from gradatim.ledger.merkle import leaf_hash
from gradatim.serve.arms import arms_over_time
from gradatim.serve.views import PHASES
from gradatim.store.canonical import canonical
from gradatim.store.rollouts import Rated
from gradatim.workspace import Workspace
from tests.dashboard.conftest import ADMIN, Read
from tests.dashboard.populated import OPEN, SENTENCES
from tests.step.driver import WORK


def get(full: Read, path: str, status: int = 200) -> Any:
    done = full.client.get(f"/api/v1{path}", headers={"authorization": f"Bearer {ADMIN}"})
    assert done.status_code == status, done.text
    return done.json()


def test_the_overview(full: Read) -> None:
    found = get(full, "/overview")
    assert found["waiting"]["documents"] == found["quarantined"]["documents"] == found["studied"]["documents"] == 1
    assert (found["steps"], found["unfinished"], found["running"]) == (3, "step-0003", None)
    assert found["last"]["step"] == "step-0002"
    assert [(one["id"], one["state"]) for one in found["waiting"]["incidents"]] == [(OPEN, "open")]
    assert (found["answered"], found["rollout"]["open"]) == (24 * 16, True)
    assert found["live"] == {
        "release": full.workspace.registry.live_id(),
        "since": full.workspace.registry.history()[-1].at,
        "by": "ada",
    }


def test_the_phases_are_the_corridors() -> None:
    assert list(PHASES) == list(WORK)


def test_progress_of_steps_done_cut_short_and_under_way(full: Read) -> None:
    done = get(full, "/steps/step-0001/progress")
    assert {phase["state"] for phase in done["phases"]} == {"done"}
    assert (done["running"], done["now"]) == (False, None)
    assert done["begun_at"] <= done["ended_at"]
    cut = get(full, "/steps/step-0003/progress")
    assert [phase["state"] for phase in cut["phases"]] == ["done", "done", "interrupted", *["waiting"] * 5]
    with full.workspace.lock():
        runs = get(full, "/steps/step-0003/progress")
    assert runs["running"] is True
    assert runs["phases"][2]["state"] == "running"
    get(full, "/steps/step-0009/progress", 404)


def test_a_step_is_taken_as_long_as_its_lock_is_held(workspace: Workspace) -> None:
    lock = workspace.folder / "lock"
    lock.unlink(missing_ok=True)
    assert workspace.stepping() is None
    with workspace.lock():
        assert workspace.stepping() == str(os.getpid())
        with pytest.raises(WorkspaceError, match=f"process {os.getpid()}"), workspace.lock():
            pass
    for nobody in ("", "words", f"{os.getpid()}"):  # as a kill leaves it
        lock.write_text(nobody)
        assert workspace.stepping() is None


def test_every_sentence_with_what_was_made_from_it(full: Read) -> None:
    found = get(full, "/steps/step-0001/passages?each=3")["passages"]
    assert [one["text"] for one in found] == list(SENTENCES)
    assert [one["state"] for one in found] == ["weak"] * 4 + ["known", "not asked"]
    assert (found[1]["right"], found[1]["asked"], found[4]["asked"]) == (1, 3, None)
    assert [one["made"] for one in found] == [4, 4, 4, 4, 0, 0]
    assert [edit["kind"] for edit in found[0]["edits"]] == ["restatement", "qa", "implication"]
    assert get(full, "/steps/step-0001/passages?each=0")["passages"][0]["edits"] == []


def test_what_a_person_decides_on(full: Read) -> None:
    (release,) = get(full, "/approvals")["awaiting"]
    found = get(full, f"/approvals/{release[:8]}")
    assert (found["release"], found["word"], found["outdated"], found["step"]) == (
        release,
        "awaiting",
        False,
        "step-0002",
    )
    assert [check["name"] for check in found["verdict"]["checks"]][:2] == ["gain", "forgetting"]
    assert found["verdict"]["controls"]["document in context"] == 0.4046
    get(full, "/approvals/000000", 404)


def test_the_quarantine(full: Read) -> None:
    document, word = get(full, "/quarantine")["held"]
    assert (document["kind"], document["about"]) == ("document", "/srv/handbooks/shop.md")
    assert (word["record"], word["kind"], word["about"]) == ("word-2", "correction", "Who weighs the sacks?")
    assert (word["by"], word["reason"]) == ("user 2", "outvoted 3 to 1")


def test_entries_come_in_pages_and_with_proofs(full: Read) -> None:
    size = full.workspace.ledger.size
    first = get(full, "/ledger/entries?last=10")
    assert [entry["index"] for entry in first["entries"]] == list(range(size - 1, size - 11, -1))
    second = get(full, f"/ledger/entries?last=1000&before={first['begin']}")
    assert [entry["index"] for entry in second["entries"]] == list(range(size - 11, -1, -1))
    assert get(full, "/ledger/entries?before=0")["entries"] == []
    one = get(full, f"/ledger/entries/{size - 1}")
    assert one["entry"] == first["entries"][0]
    assert one["leaf"] == leaf_hash(canonical(one["entry"])).hex()
    assert one["holds"] is True
    assert one["root"] == first["head"] == full.workspace.ledger.head
    for nothing in (size, -1):
        get(full, f"/ledger/entries/{nothing}", 404)


def test_a_rollouts_looks_lead_to_what_is_known_now(full: Read) -> None:
    looks = get(full, "/rollouts/rollout-0001/history")["looks"]
    times = [look["at"] for look in looks]
    assert times == sorted(times)
    assert len(looks) > 10
    now = get(full, "/rollouts/rollout-0001")
    names = [each["name"] for each in now["evidence"]]
    assert all([each["name"] for each in look["evidence"]] == names for look in looks)
    decided = [event for event in now["events"] if event["evidence"]]
    assert all(any(look["evidence"] == event["evidence"] for look in looks) for event in decided)
    users = [look["evidence"][0]["canary"] for look in looks if look["stage"] == "step"]
    assert users == sorted(users)
    get(full, "/rollouts/rollout-0009/history", 404)


def test_arms_are_rated_by_first_words(full: Read) -> None:
    found = get(full, "/rollouts/rollout-0001/arms")
    by_arm = {arm["arm"]: arm["points"][-1] for arm in found["arms"]}
    served = {one.id: one for one in full.workspace.records.traffic.interactions()}
    for arm, last in by_arm.items():
        values = [
            (rating.value + 1) / 2
            for rating in full.workspace.records.traffic.ratings()
            if rating.response and served[rating.response].arm == arm and served[rating.response].rollout
        ]
        assert last["users"] == len(values)
        assert last["mean"] == pytest.approx(statistics.mean(values))
        assert last["low"] < last["mean"] < last["high"]
    get(full, "/rollouts/rollout-0009/arms", 404)


def test_nobody_counts_twice_in_an_arm() -> None:
    at = "2026-03-02T08:00:00.000Z"
    rated = [
        Rated(i, "ada" if i < 50 else f"user {i}", "key", 0, None, float(i >= 50), "canary", at) for i in range(100)
    ]
    (arm,) = arms_over_time(rated, lambda value: value)
    assert arm["points"][-1]["users"] == 51
    assert arm["points"][-1]["mean"] == pytest.approx(50 / 51)
    assert arms_over_time([], lambda value: value) == []
