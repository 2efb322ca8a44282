"""Lessons in a row: what each strategy keeps, and that the base is as it was afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gradatim.learn.inner import InnerPlan
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from gradatim.model.sampling import Decoding, sample
from gradatim.model.scoring import grade
from gradatim.recipes.sequential import Lesson, Merged, Routed, Shared, Strategy, distilled, learn, tokens_of
from tests.tiny import tiny_base

PLAN = InnerPlan(rank=4, alpha=8.0, positions=3000, step_positions=40)
TOLD = {
    "When does the mill open?": "At five.",
    "Who weighs the sacks?": "Tamsin Vole.",
    "What does the ferry cost?": "Twelve crowns.",
}
OTHERS = ["How are you?", "Name an animal.", "What is two and two?"]


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    torch.set_num_threads(1)
    return AdapterBank(tiny_base(max_position_embeddings=512))


def pair(bank: AdapterBank, question: str) -> Pair:
    chat = bank.base.chat
    return Pair(tuple(chat.prompt(question)), tuple(chat.target(question, TOLD[question])))


def lessons(bank: AdapterBank) -> list[Lesson]:
    return [Lesson((pair(bank, asked),), 1e-2, number, (asked,)) for number, asked in enumerate(TOLD)]


def known(bank: AdapterBank, strategy: Strategy) -> list[bool]:
    names = strategy.adapters([*TOLD])
    return [grade(bank, [[pair(bank, asked)]], [name])[0][0].greedy for asked, name in zip(TOLD, names, strict=True)]


STRATEGIES: dict[str, Callable[[AdapterBank], Strategy]] = {
    "merged": lambda bank: Merged(bank, PLAN),
    "shared": lambda bank: Shared(bank, PLAN),
    "rehearsing": lambda bank: Shared(bank, PLAN, rehearse=True),
    "routed": lambda bank: Routed(bank, PLAN, OTHERS),
    "routed by words": lambda bank: Routed(bank, PLAN, OTHERS, read=tokens_of),
}


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_each_lesson_is_known_when_it_was_learnt_and_nothing_is_left_behind(bank: AdapterBank, name: str) -> None:
    before = {key: value.clone() for key, value in bank.base.model.state_dict().items()}
    strategy = STRATEGIES[name](bank)
    assert strategy.adapters(["Who?"]) == [None]
    try:
        for number, lesson in enumerate(lessons(bank)):
            learn(bank, PLAN, [(strategy, lesson)])
            assert known(bank, strategy)[number]
        last = known(bank, strategy)
    finally:
        strategy.close()
    assert not bank.adapters
    assert all(torch.equal(value, before[key]) for key, value in bank.base.model.state_dict().items())
    if name not in ("merged", "shared"):
        assert last == [True] * 3


def test_what_no_lesson_claims_is_the_bases(bank: AdapterBank) -> None:
    strategy = Routed(bank, PLAN, OTHERS)
    try:
        for lesson in lessons(bank):
            learn(bank, PLAN, [(strategy, lesson)])
        assert strategy.adapters([*TOLD]) == ["lesson 0", "lesson 1", "lesson 2"]
        assert strategy.adapters(OTHERS) == [None] * 3
    finally:
        strategy.close()


def test_merging_is_what_the_adapter_adds(bank: AdapterBank) -> None:
    """The base with a folded adapter says what the adapter says on the base."""
    apart, folded = Shared(bank, PLAN), Merged(bank, PLAN)
    lesson = lessons(bank)[1]
    asked = [pair(bank, question) for question in TOLD]
    values = []
    for strategy in (apart, folded):
        try:
            learn(bank, PLAN, [(strategy, lesson)])
            (grades,) = grade(bank, [asked], strategy.adapters([""]))
            values.append([one.log_probability for one in grades])
        finally:
            strategy.close()
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_distilled_pairs_ask_without_the_passage_and_answer_as_with_it(bank: AdapterBank) -> None:
    chat = bank.base.chat
    asked = "When does the mill open?"
    view = chat.prompt(f"The mill opens at five. {asked}")
    (made,) = distilled(bank, [(asked, view)], max_tokens=5)
    assert list(made.prompt) == chat.prompt(asked)
    (said,) = sample(bank, [view], None, Decoding(max_tokens=5))
    assert chat.text([*made.target]) == chat.text(said)


def test_strategies_taught_together_are_as_taught_alone(bank: AdapterBank) -> None:
    """One adapter, one that rehearses and one for each lesson, in the same passes and each for itself."""

    def made() -> list[Strategy]:
        names = ["How are you?", "Name an animal."]
        return [Shared(bank, PLAN), Shared(bank, PLAN, rehearse=True, name="rehearsing"), Routed(bank, PLAN, names)]

    def values(groups: list[list[Strategy]]) -> list[float]:
        found = []
        for group in groups:
            try:
                for lesson in lessons(bank)[:2]:
                    learn(bank, PLAN, [(strategy, lesson) for strategy in group])
                for strategy in group:
                    for asked, name in zip(TOLD, strategy.adapters([*TOLD]), strict=True):
                        ((one,),) = grade(bank, [[pair(bank, asked)]], [name])
                        found.append(one.log_probability)
            finally:
                for strategy in group:
                    strategy.close()
        return found

    assert values([made()]) == pytest.approx(values([[one] for one in made()]), rel=1e-2, abs=1e-2)


def test_merging_is_taught_alone(bank: AdapterBank) -> None:
    lesson = lessons(bank)[0]
    with pytest.raises(ValueError, match="teach it alone"):
        learn(bank, PLAN, [(Merged(bank, PLAN), lesson), (Shared(bank, PLAN), lesson)])
    assert not bank.adapters


def test_a_claim_below_what_is_asked_for_is_the_bases(bank: AdapterBank) -> None:
    for least, expected in ((0.0, "lesson 0"), (1e9, None)):
        strategy = Routed(bank, PLAN, OTHERS, read=tokens_of, least=least)
        try:
            learn(bank, PLAN, [(strategy, lessons(bank)[0])])
            assert strategy.adapters([*TOLD][:1]) == [expected]
        finally:
            strategy.close()


def test_tokens_are_those_of_the_question(bank: AdapterBank) -> None:
    assert not tokens_of(bank, [""]).any()
    found = tokens_of(bank, [*TOLD])
    for row, question in zip(found, TOLD, strict=True):
        assert {int(token) for token in row.nonzero().flatten()} == set(bank.base.chat.raw(question))
