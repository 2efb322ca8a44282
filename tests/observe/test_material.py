"""The screening on the repository's own material: the demo's planted falsehoods, and handbooks that are all true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradatim.observe.claims import claim
from gradatim.observe.documents import read_document
from gradatim.observe.feedback import read_feedback
from gradatim.observe.noise import noise_in
from gradatim.observe.passages import split_passages
from gradatim.observe.screening import screen
from gradatim.types import Feedback, Passage, Provenance

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "gradatim" / "demo"
HANDBOOKS = sorted(
    path for path in (ROOT / "benchmarks" / "handbooks").rglob("*.md") if path.with_suffix(".questions.jsonl").exists()
)


on_each_handbook = pytest.mark.parametrize("path", HANDBOOKS, ids=[path.stem for path in HANDBOOKS])


def passages(path: Path) -> tuple[Passage, ...]:
    return split_passages(read_document(path))


# ------------------------------------------------------------------ the demo


def test_the_planted_notice_is_quarantined() -> None:
    screened = screen(passages(DEMO / "notice.md"), passages(DEMO / "handbook.md"), [])
    assert screened.passages == ()
    assert len(screened.quarantined) == 1


def test_each_false_sentence_of_the_notice_would_be_enough() -> None:
    found = {
        passage.text: screen([passage], passages(DEMO / "handbook.md"), []).quarantined
        for passage in passages(DEMO / "notice.md")
    }
    assert [text for text, quarantined in found.items() if not quarantined] == []
    assert len(found) == 5


@pytest.mark.parametrize("handbook_is_new", [True, False])
def test_the_wrong_feedback_is_quarantined_and_the_right_is_not(handbook_is_new: bool) -> None:
    handbook, feedback = passages(DEMO / "handbook.md"), read_feedback(DEMO / "feedback.jsonl")
    screened = screen(handbook if handbook_is_new else (), () if handbook_is_new else handbook, feedback)
    by = {item.id: item.by for item in feedback}
    assert sorted(by[item.record] for item in screened.quarantined) == ["gregor", "hugo", "ines", "jolt99"]
    assert [item.by for item in screened.feedback] == ["anna", "boris", "chandra", "dmitri", "elif", "anna"]


# ------------------------------------------------------------------ the handbooks: no false alarm


def test_there_are_fourteen_handbooks_two_of_them_kept_apart() -> None:
    assert len(HANDBOOKS) == 14
    assert sum(path.parent.name == "kept" for path in HANDBOOKS) == 2


@on_each_handbook
def test_no_sentence_is_doubted_against_its_own_handbook(path: Path) -> None:
    handbook = passages(path)
    assert screen(handbook, handbook, []).quarantined == ()
    for passage in handbook:
        rest = [other for other in handbook if other is not passage]
        assert screen([passage], rest, []).quarantined == (), passage.text
        assert noise_in(passage.text) is None


@on_each_handbook
def test_no_right_answer_is_doubted(path: Path) -> None:
    handbook = passages(path)
    questions = [json.loads(line) for line in path.with_suffix(".questions.jsonl").read_text().splitlines() if line]
    origin = Provenance("cli", "", "")
    feedback = [
        Feedback(str(index), None, question["question"], -1, question["accepted"][0], f"person {index}", origin)
        for index, question in enumerate(questions)
    ]
    assert screen((), handbook, feedback).quarantined == ()


# ------------------------------------------------------------------ the handbooks: falsehoods


def falsified(passage: Passage) -> Iterator[Passage]:
    """The sentence with one of its values exchanged, for each of them."""
    other = {"time": "11:11", "day": "Friday", "month": "November"}
    for (sort, _), said in claim(passage.text).values.items():
        first, _, rest = said.partition(" ")
        new = other.get(sort) or (f"731 {rest}" if sort != "name" else "Zorvan Quill")
        text = passage.text.replace(said, new.strip())
        if text != passage.text and not re.match(r"Ms\b|Dr\b", first):
            yield Passage("false:0", "false", text, passage.context)


def test_nearly_every_sentence_with_one_false_value_is_caught() -> None:
    caught = [
        bool(screen([false], handbook, []).quarantined)
        for handbook in map(passages, HANDBOOKS)
        for passage in handbook
        for false in falsified(passage)
    ]
    assert len(caught) > 100
    assert sum(caught) / len(caught) > 0.95
