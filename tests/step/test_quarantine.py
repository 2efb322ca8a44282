"""What is in quarantine is never trained on; what a person released from it is."""

from __future__ import annotations

import pytest

from gradatim import quarantine
from gradatim.account import account
from gradatim.errors import InputError
from gradatim.types import Feedback, Provenance
from gradatim.workspace import Workspace
from tests.step.conftest import Take, add_document

WRONG = "The mill at Orrin opens at nine."  # the document says at five
ORIGIN = Provenance("cli", "c" * 64, "2026-01-01T00:00:00Z")


def studied(workspace: Workspace, step: str) -> str:
    """All that a step trained on."""
    told = account(workspace, step)
    assert told.studies, "the step had nothing to study"
    return " ".join(f"{one.prompt} {one.target}" for study in told.studies for one in study.examples)


def test_a_step_trains_on_nothing_in_quarantine_until_a_person_releases_it(workspace: Workspace, take: Take) -> None:
    question = "When does the mill at Orrin open?"
    said = Feedback("d" * 64, None, question, -1, WRONG, "eve", ORIGIN)
    workspace.records.add_feedback(said)
    assert take()["code"] == 0
    assert "opens at nine" not in studied(workspace, "step-0001")
    (held,) = quarantine.held(workspace)
    assert (held["record"], held["kind"], held["decision"]) == (said.id, "correction", None)
    assert 'says "at nine" where passage' in held["reason"] or '"nine"' in held["reason"]

    add_document(workspace, 1)
    assert take()["code"] == 0
    assert "opens at nine" not in studied(workspace, "step-0002")

    released = quarantine.decide(workspace, said.id[:8], "released", "lena", "new opening hours")
    assert released.record == said.id
    assert quarantine.held(workspace) == []
    assert take()["code"] == 0
    assert "opens at nine" in studied(workspace, "step-0003")
    (entry,) = workspace.ledger.entries("quarantine")
    assert (entry.body["decision"], entry.body["by"]) == ("released", "lena")


def test_what_was_discarded_stays_away(workspace: Workspace, take: Take) -> None:
    workspace.records.add_feedback(
        Feedback("d" * 64, None, "When does the mill at Orrin open?", -1, WRONG, "eve", ORIGIN), "quarantined", "doubt"
    )
    quarantine.decide(workspace, "d" * 64, "discarded", "lena", "it is wrong")
    assert take()["code"] == 0
    assert "opens at nine" not in studied(workspace, "step-0001")
    with pytest.raises(InputError, match="Nothing called"):
        quarantine.decide(workspace, "d" * 64, "released", "lena", "after all")
    with pytest.raises(InputError, match="needs the name"):
        quarantine.decide(workspace, "d" * 64, "released", "", "")
