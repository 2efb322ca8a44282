"""Known or weak, by what a scripted model replies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gradatim.diagnose import diagnose
from gradatim.types import Diagnosis, Passage, Question

PASSAGES = [Passage(f"d:{i}", "d", f"Text {i}.", "Title") for i in range(3)]


def questions(passage: str, count: int) -> list[Question]:
    return [Question(f"{passage}-{i}", f"{passage} question {i}?", ("five", "5"), passage) for i in range(count)]


def knowing(*right: str) -> Callable[[list[str]], list[str]]:
    """A model that knows the answer to these questions only."""
    return lambda asked: ["It is FIVE." if text in right else f"no idea of {text}" for text in asked]


@pytest.mark.parametrize(
    ("asked", "right", "known"),
    [
        (3, 3, True),
        (3, 2, True),
        (3, 1, False),
        (3, 0, False),
        (2, 2, True),
        (2, 1, False),
        (1, 1, True),
        (1, 0, False),
    ],
)
def test_two_in_three_are_enough(asked: int, right: int, known: bool) -> None:
    written = questions("d:0", asked)
    said = diagnose(PASSAGES[:1], written, knowing(*(q.text for q in written[:right])))
    assert (said.asked, said.right) == (asked, right)
    assert said.known == (("d:0",) if known else ())
    assert [(w.passage, w.asked, w.right) for w in said.weaknesses] == ([] if known else [("d:0", asked, right)])


def test_a_weakness_shows_the_first_failed_question_and_its_reply() -> None:
    written = questions("d:0", 3)
    (weak,) = diagnose(PASSAGES[:1], written, knowing(written[0].text)).weaknesses
    assert (weak.example, weak.reply) == (written[1].text, f"no idea of {written[1].text}")


def test_a_passage_without_questions_is_weak() -> None:
    said = diagnose(PASSAGES, [], lambda asked: [])
    assert [(w.passage, w.asked, w.right, w.example, w.reply) for w in said.weaknesses] == [
        (passage.id, 0, 0, "", "") for passage in PASSAGES
    ]
    assert diagnose([], [], lambda asked: []) == Diagnosis((), (), (), 0, 0)


def test_the_first_questions_of_each_passage_are_asked_at_once_in_order() -> None:
    written = [*questions("d:1", 5), *questions("d:0", 2)]
    heard: list[list[str]] = []

    def ask(asked: list[str]) -> list[str]:
        heard.append(asked)
        return ["5"] * len(asked)

    said = diagnose(PASSAGES, written, ask, each=3)
    assert heard == [[q.text for q in (*written[5:], *written[:3])]]
    assert said.questions == tuple(written)  # kept for study, asked or not
    assert said.known == ("d:0", "d:1")
    assert [weakness.passage for weakness in said.weaknesses] == ["d:2"]
    assert (said.asked, said.right) == (5, 5)


def test_a_reply_counts_by_whole_words() -> None:
    (written,) = questions("d:0", 1)
    assert diagnose(PASSAGES[:1], [written], lambda _: ["fiveteen or 55"]).right == 0
    assert diagnose(PASSAGES[:1], [written], lambda _: ["At 5:00."]).right == 1


def test_a_model_that_does_not_answer_everything_is_a_bug() -> None:
    with pytest.raises(ValueError, match="shorter"):
        diagnose(PASSAGES[:1], questions("d:0", 2), lambda _: ["5"])
