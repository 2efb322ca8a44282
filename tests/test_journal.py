"""Phases: a finished one is read back, an unfinished one runs again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from gradatim.errors import IntegrityError
from gradatim.journal import Journal
from gradatim.ledger import Ledger
from gradatim.store.blobs import Blobs
from gradatim.types import Diagnosis, Weakness

WEAK = Diagnosis((Weakness("p:1", 4, 1, "Who?", "Nobody"),), ("p:2",), (), 8, 5)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger")


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def begin(ledger: Ledger, blobs: Blobs, **inputs: object) -> Journal:
    return Journal.begin_or_resume(ledger, blobs, dict(inputs))


def never() -> Diagnosis:
    raise AssertionError("a finished phase ran again")


def test_steps_are_numbered_and_begin_with_their_inputs(ledger: Ledger, blobs: Blobs) -> None:
    journal = begin(ledger, blobs, documents=("a", "b"))
    assert (journal.step, journal.resumed, journal.inputs) == ("step-0001", False, {"documents": ["a", "b"]})
    journal.finish("promoted", blobs.put(b""))
    assert begin(ledger, blobs).step == "step-0002"


def test_an_unfinished_step_is_resumed_with_its_own_inputs(ledger: Ledger, blobs: Blobs) -> None:
    begin(ledger, blobs, seed=1)
    journal = begin(Ledger.open(ledger.folder), blobs, seed=2)
    assert (journal.step, journal.resumed, journal.inputs) == ("step-0001", True, {"seed": 1})
    assert len(list(ledger.entries("step-begun"))) == 1


def test_a_finished_phase_is_read_back(ledger: Ledger, blobs: Blobs) -> None:
    assert begin(ledger, blobs).phase("diagnose", Diagnosis, lambda: WEAK) == WEAK
    assert begin(ledger, blobs).phase("diagnose", Diagnosis, never) == WEAK
    (entry,) = ledger.entries("phase")
    assert (entry.body["step"], entry.body["phase"]) == ("step-0001", "diagnose")
    assert entry.body["seconds"] >= 0


def test_a_phase_that_failed_runs_again(ledger: Ledger, blobs: Blobs) -> None:
    with pytest.raises(AssertionError):
        begin(ledger, blobs).phase("diagnose", Diagnosis, never)
    assert begin(ledger, blobs).phase("diagnose", Diagnosis, lambda: WEAK) == WEAK


def test_the_next_step_has_phases_of_its_own(ledger: Ledger, blobs: Blobs) -> None:
    for number in (1, 2):
        journal = begin(ledger, blobs)
        assert journal.phase("count", int, partial(int, number)) == number
        journal.finish("no change", blobs.put(b""))


def test_the_first_run_computes_with_what_a_resumed_one_reads(ledger: Ledger, blobs: Blobs) -> None:
    made = {"pair": (1, 2)}
    first = begin(ledger, blobs).phase("pair", dict, lambda: made)
    assert first == {"pair": [1, 2]} == begin(ledger, blobs).phase("pair", dict, dict)


def test_a_result_of_the_wrong_type_is_not_recorded(ledger: Ledger, blobs: Blobs) -> None:
    wrong: object = {"title": "no diagnosis"}
    with pytest.raises(IntegrityError, match="does not hold a Diagnosis"):
        begin(ledger, blobs).phase("diagnose", Diagnosis, lambda: wrong)  # type: ignore[arg-type, return-value]
    assert list(ledger.entries("phase")) == []


def test_a_damaged_result_is_not_used(ledger: Ledger, blobs: Blobs) -> None:
    begin(ledger, blobs).phase("diagnose", Diagnosis, lambda: WEAK)
    (entry,) = ledger.entries("phase")
    (blobs.folder / entry.body["result"]).write_bytes(b"{}")
    with pytest.raises(IntegrityError, match=f"blobs/{entry.body['result']} does not match"):
        begin(ledger, blobs).phase("diagnose", Diagnosis, never)


def test_partial_progress_survives_until_the_step_finishes(ledger: Ledger, blobs: Blobs) -> None:
    (begin(ledger, blobs).partial("learn") / "epoch-3").write_text("weights")
    journal = begin(ledger, blobs)
    assert (journal.partial("learn") / "epoch-3").read_text() == "weights"
    assert list(journal.partial("judge").iterdir()) == []
    journal.finish("promoted", blobs.put(b""))
    assert not (ledger.folder.parent / "partial").exists()


def test_progress_that_a_kill_left_behind_goes_when_the_next_step_begins(ledger: Ledger, blobs: Blobs) -> None:
    journal = begin(ledger, blobs)
    journal.finish("promoted", blobs.put(b""))
    journal.partial("learn")
    assert begin(ledger, blobs).step == "step-0002"
    assert not (ledger.folder.parent / "partial").exists()


@pytest.mark.parametrize("name", ["", "../up", ".hidden"])
def test_a_scratch_folder_stays_in_its_place(ledger: Ledger, blobs: Blobs, name: str) -> None:
    with pytest.raises(ValueError, match="can't name a folder"):
        begin(ledger, blobs).partial(name)


def test_finishing_twice_is_finishing_once(ledger: Ledger, blobs: Blobs) -> None:
    journal, result = begin(ledger, blobs), blobs.put(b"")
    journal.finish("promoted", result)
    journal.finish("promoted", result)
    (entry,) = ledger.entries("step-finished")
    assert entry.body == {"step": "step-0001", "outcome": "promoted", "result": result}
