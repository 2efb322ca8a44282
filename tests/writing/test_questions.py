"""Questions: written for a fact, kept when they point at its passage and do not give it away."""

from __future__ import annotations

import pytest

from gradatim.model.bank import AdapterBank
from gradatim.types import Passage, Question
from gradatim.writing import questions as module
from gradatim.writing.asker import Asker, View
from gradatim.writing.facts import Fact, find_facts
from gradatim.writing.fewshot import complete
from gradatim.writing.questions import accepted_answers, attribute, title_of, write_questions
from gradatim.writing.words import words


@pytest.mark.parametrize(
    ("fact", "accepted"),
    [
        ("40 dollars", ("40 dollars", "40")),
        ("seven guests", ("seven guests", "seven")),
        ("Mrs. Tamsin Vole", ("Mrs. Tamsin Vole", "Vole")),
        ("blue cup", ("blue cup",)),
    ],
)
def test_accepted_answers(fact: str, accepted: tuple[str, ...]) -> None:
    assert accepted_answers(Fact("p", fact, "", "")) == accepted


def test_the_title_is_the_first_part_of_the_context(passages: list[Passage]) -> None:
    assert title_of(passages[0]) == "Mill rules"


def test_written_questions_are_different_and_belong_to_a_fact(bank: AdapterBank, passages: list[Passage]) -> None:
    asker, facts = Asker(bank), find_facts(bank, passages)
    advanced: list[int] = []
    made = write_questions(asker, passages, facts, each=3, seed=1, temperature=0.9, advance=advanced.append)
    assert sum(advanced) == 3 * sum(map(len, facts))
    assert len({question.text for question in made}) == len({question.id for question in made}) == len(made)
    accepted = {(fact.passage, accepted_answers(fact)) for found in facts for fact in found}
    for question in made:
        assert question.text.endswith("?")
        assert len(words(question.text)) >= 4
        assert (question.passage, question.accepted) in accepted
    assert made == write_questions(asker, passages, facts, each=3, seed=1, temperature=0.9)


def test_a_completion_is_one_line_and_repeats_with_its_seed(bank: AdapterBank) -> None:
    prompts = ["Answer: five\nQuestion:", "word: mill ->"] * 2
    lines = [complete(bank, prompts, max_tokens=12, temperature=0.9, seed=seed) for seed in (1, 1, 2)]
    assert lines[0] == lines[1] != lines[2]
    assert all("\n" not in line for line in lines[0])


def asked(text: str, passage: str, *accepted: str) -> Question:
    return Question(f"{passage} {text}", text, accepted or ("nowhere",), passage)


def test_a_question_is_kept_where_the_model_expects_it_most(
    bank: AdapterBank, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a scripted likelihood: that of a question after the passage which shares most words with it."""

    def by_words(asker: Asker, asked: list[tuple[View, str]]) -> list[float]:
        texts = [(set(words(f"{v.subject} {v.text} {v.answer}".lower())), set(words(q.lower()))) for v, q in asked]
        return [float(len(shown & question)) for shown, question in texts]

    monkeypatch.setattr(Asker, "log_likelihood", by_words)
    monkeypatch.setattr(module, "LEAST_BOOST", 1.0)  # one word
    mine = asked("When does the mill at Orrin open?", "d:0", "5:30")
    moved = asked("How high is the yearly fee members pay?", "d:0", "5:30")
    telling = asked("Is the mill at Orrin open at 5:30?", "d:0", "5:30")
    about_nothing = asked("Which mill has deep seas?", "d:0", "5:30")
    kept, dropped = attribute(Asker(bank), passages, find_facts(bank, passages), [mine, moved, telling, about_nothing])
    assert kept == [mine]
    assert dropped == {
        "points at another passage": 1,
        "gives the answer away": 1,
        "could be asked without the passage": 1,
    }


def test_attribution_follows_the_models_likelihood(
    bank: AdapterBank, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_BOOST", -1e9)
    questions = [asked(text, p.id) for p in passages for text in ("Who runs the mill?", "What is the fee?")]
    facts = find_facts(bank, passages)
    asker = Asker(bank)
    kept, dropped = attribute(asker, passages, facts, questions)
    assert len(kept) + sum(dropped.values()) == len(questions)
    by_text = [question.text for question in kept]
    assert len(by_text) == len(set(by_text)) == 2  # of the same question for three passages, one is at home
    assert attribute(asker, passages[:1], facts[:1], questions[:2]) == (questions[:2], {})  # no rival
    assert attribute(asker, passages, facts, []) == ([], {})


def test_the_likelihood_is_that_after_the_passage_with_its_fact_in_view(
    bank: AdapterBank, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def noted(asker: Asker, asked: list[tuple[View, str]]) -> list[float]:
        seen.extend(str(view) for view, _ in asked)
        return [0.0] * len(asked)

    monkeypatch.setattr(Asker, "log_likelihood", noted)
    fact = Fact("d:0", "the oven", "", "")
    attribute(Asker(bank), passages[:2], [[fact], []], [asked("Who runs it today?", "d:0")])
    with_fact, without, alone = sorted(seen, key=lambda text: ("the oven" not in text, "Vole" not in text))
    assert with_fact.endswith(f"Text: {passages[0].text}\nAnswer: the oven\nQuestion:")
    assert without.endswith(f"Text: {passages[1].text}\nQuestion:")
    assert alone.endswith("Title: Mill rules.\nQuestion:")
