"""Questions: written for a fact, kept when they point at its passage and do not give it away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import torch

from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from gradatim.propose.filters import fingerprint
from gradatim.types import Passage, Question
from gradatim.writing import fewshot
from gradatim.writing import questions as module
from gradatim.writing.facts import Fact, Kind, find_facts
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


@pytest.mark.parametrize("style", ["study", "exam"])
def test_written_questions_are_different_and_belong_to_a_fact(
    bank: AdapterBank, passages: list[Passage], style: module.Style
) -> None:
    facts = find_facts(bank, passages)
    advanced: list[int] = []
    made = write_questions(bank, passages, facts, each=3, style=style, seed=1, advance=advanced.append)
    assert sum(advanced) == 3 * sum(map(len, facts))
    assert len({question.text for question in made}) == len({question.id for question in made}) == len(made)
    accepted = {(fact.passage, accepted_answers(fact)) for found in facts for fact in found}
    for question in made:
        assert question.text.endswith("?")
        assert len(words(question.text)) >= 4
        assert (question.passage, question.accepted) in accepted
    assert made == write_questions(bank, passages, facts, each=3, style=style, seed=1)


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
    before = set(words(fewshot.POINTING.lower()))

    def by_words(bank: AdapterBank, pairs: list[Pair], adapter: str | None) -> torch.Tensor:
        texts = [
            [set(words(bank.base.chat.text(list(ids)).lower())) - before for ids in (p.prompt, p.target)] for p in pairs
        ]
        return torch.tensor([float(len(prompt & target)) for prompt, target in texts])

    monkeypatch.setattr(module, "score", by_words)
    monkeypatch.setattr(module, "LEAST_BOOST", 1.0)  # one word
    mine = asked("When does the mill at Orrin open?", "d:0", "5:30")
    moved = asked("How high is the yearly fee members pay?", "d:0", "5:30")
    telling = asked("Is the mill at Orrin open at 5:30?", "d:0", "5:30")
    about_nothing = asked("Which mill has deep seas?", "d:0", "5:30")
    kept, dropped = attribute(bank, passages, find_facts(bank, passages), [mine, moved, telling, about_nothing])
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
    kept, dropped = attribute(bank, passages, facts, questions)
    assert len(kept) + sum(dropped.values()) == len(questions)
    by_text = [question.text for question in kept]
    assert len(by_text) == len(set(by_text)) == 2  # of the same question for three passages, one is at home
    assert attribute(bank, passages[:1], facts[:1], questions[:2]) == (questions[:2], {})  # no rival
    assert attribute(bank, passages, facts, []) == ([], {})


def test_the_likelihood_is_that_after_the_passage_with_its_fact_in_view(
    bank: AdapterBank, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def noted(bank: AdapterBank, pairs: list[Pair], adapter: str | None) -> torch.Tensor:
        seen.extend(bank.base.chat.text(list(pair.prompt)) for pair in pairs)
        return torch.zeros(len(pairs))

    monkeypatch.setattr(module, "score", noted)
    fact = Fact("d:0", "the oven", "", "")
    attribute(bank, passages[:2], [[fact], []], [asked("Who runs it today?", "d:0")])
    with_fact, without, alone = sorted(seen, key=lambda text: ("the oven" not in text, "Vole" not in text))
    assert with_fact.endswith(f"Text: {passages[0].text}\nAnswer: the oven\nQuestion:")
    assert without.endswith(f"Text: {passages[1].text}\nQuestion:")
    assert alone.endswith("Title: Mill rules.\nQuestion:")


def test_worked_examples_show_each_kind_of_answer_and_never_give_it_away() -> None:
    shots = fewshot.by_kind()
    assert set(shots) == set(get_args(Kind))
    for kind, wordings in shots.items():
        assert tuple(wordings) == fewshot.WORDINGS
        for wording, text in wordings.items():
            examples = [example.splitlines() for example in text.strip().split("\n\n")]
            assert len(examples) == 4
            for passage, answer, question in examples:
                wanted = answer.removeprefix("Answer: ")
                before, _, following = passage.partition(wanted)
                assert following, (kind, wording, passage)
                assert wanted.lower() not in question.lower()
                preceding = before.split()[-1].lower() if before.split() else ""
                assert Fact("p", wanted, preceding, following).kind == kind


def test_worked_examples_share_no_question_with_the_handbooks_that_they_are_measured_on() -> None:
    shown = {line.removeprefix("Question: ") for line in _shown().splitlines() if line.startswith("Question: ")}
    asked_there = {
        json.loads(line)["question"]
        for file in Path("benchmarks/handbooks").rglob("*.questions.jsonl")
        for line in file.read_text("utf-8").splitlines()
    }
    assert len(shown) >= 80
    assert not {fingerprint(text) for text in shown} & {fingerprint(text) for text in asked_there}


def _shown() -> str:
    kinds = [text for wordings in fewshot.by_kind().values() for text in wordings.values()]
    return "\n".join([*fewshot.QUESTIONS, fewshot.EXAM_QUESTION, *kinds])
