"""What a step's phases take from what is known already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from gradatim import __version__, phases
from gradatim.store.blobs import Blobs
from gradatim.types import Question, Verdict

LESSONS = [Question("q", f"Who is number {n}?", (f"name {n}",), "p") for n in range(4)]
KNOWN = dict(zip(map(phases._asked_of, LESSONS), (True, False, True, True), strict=True))
SOME = {key: value for place, (key, value) in enumerate(KNOWN.items()) if place in (0, 2)}
NOW = f"{__version__}, bfloat16"


@pytest.mark.parametrize(
    ("answers", "by", "asked"),
    [
        (KNOWN, NOW, []),
        (SOME, NOW, [1, 3]),
        ({}, "", [0, 1, 2, 3]),
        (KNOWN, f"{__version__}, float32", [0, 1, 2, 3]),
        (KNOWN, "0.0.0, bfloat16", [0, 1, 2, 3]),
    ],
)
def test_the_live_verdict_says_what_was_right_and_the_rest_is_asked(
    tmp_path: Path, answers: dict[str, bool], by: str, asked: list[int]
) -> None:
    (tmp_path / "blobs").mkdir()
    blobs = Blobs(tmp_path / "blobs")
    verdict = blobs.put_json(Verdict("c", "pass", (), {}, answers, by))
    questions: list[str] = []

    def ask_live(texts: Sequence[str]) -> list[str]:
        questions.extend(texts)
        return [f"It is name {text[-2]}." if text != LESSONS[1].text else "Nobody." for text in texts]

    bench = SimpleNamespace(
        live=SimpleNamespace(verdict=verdict),
        workspace=SimpleNamespace(blobs=blobs),
        bank=SimpleNamespace(base=SimpleNamespace(dtype="bfloat16")),
        ask_live=ask_live,
    )
    assert phases._lessons_before(bench, LESSONS) == [True, False, True, True]  # type: ignore[arg-type]
    assert questions == [LESSONS[place].text for place in asked]


def test_the_first_release_has_no_verdict_and_no_lessons() -> None:
    bench = SimpleNamespace(live=SimpleNamespace(verdict=None))
    assert phases._lessons_before(bench, []) == []  # type: ignore[arg-type]


def test_the_same_words_with_another_answer_are_another_question() -> None:
    one, other = (Question("q", "Who is the warden?", (name,), "p") for name in ("Ann", "Bo"))
    elsewhere = Question("q", "Who is the warden?", ("Ann",), "another passage")
    assert len({phases._asked_of(question) for question in (one, other, elsewhere)}) == 3
    assert phases._asked_of(one) == phases._asked_of(Question("another id", one.text, one.accepted, "p"))
