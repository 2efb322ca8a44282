"""What a step's phases take from what is known already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from gradatim import __version__, phases
from gradatim.store.blobs import Blobs
from gradatim.types import Question, Verdict

LESSONS = [Question(f"q{n}", f"Who is number {n}?", (f"name {n}",), "p") for n in range(4)]


@pytest.mark.parametrize(
    ("answers", "by", "asked"),
    [
        ({"q0": True, "q1": False, "q2": True, "q3": True}, __version__, []),
        ({"q0": True, "q2": True}, __version__, ["q1", "q3"]),
        ({}, "", ["q0", "q1", "q2", "q3"]),
        ({"q0": True, "q1": False, "q2": True, "q3": True}, "0.0.0", ["q0", "q1", "q2", "q3"]),
    ],
)
def test_the_live_verdict_says_what_was_right_and_the_rest_is_asked(
    tmp_path: Path, answers: dict[str, bool], by: str, asked: list[str]
) -> None:
    (tmp_path / "blobs").mkdir()
    blobs = Blobs(tmp_path / "blobs")
    verdict = blobs.put_json(Verdict("c", "pass", (), {}, answers, by))
    questions: list[str] = []

    def ask_live(texts: Sequence[str]) -> list[str]:
        questions.extend(texts)
        return [f"It is name {text[-2]}." if text != LESSONS[1].text else "Nobody." for text in texts]

    bench = SimpleNamespace(
        live=SimpleNamespace(verdict=verdict), workspace=SimpleNamespace(blobs=blobs), ask_live=ask_live
    )
    assert phases._lessons_before(bench, LESSONS) == [True, False, True, True]  # type: ignore[arg-type]
    assert questions == [question.text for question in LESSONS if question.id in asked]


def test_the_first_release_has_no_verdict_and_no_lessons() -> None:
    bench = SimpleNamespace(live=SimpleNamespace(verdict=None))
    assert phases._lessons_before(bench, []) == []  # type: ignore[arg-type]
