"""Strategies: what they are made of, and which is taken next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from gradatim.errors import InputError
from gradatim.propose import STRATEGIES, Material, build, choose_strategy
from gradatim.propose.strategies import PRIOR_GAIN, WRITTEN


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_builds_grounded_examples_the_same_for_a_seed(strategy: str, material: Material) -> None:
    examples = build(strategy, material, seed=3)
    assert examples == build(strategy, material, seed=3)
    assert examples != build(strategy, material, seed=4)
    for example in examples:
        assert example.passage is not None
        assert example.target == material.passage(example.passage).text


def test_kinds(material: Material) -> None:
    kinds = {name: set(Counter(e.kind for e in build(name, material, 0))) for name in STRATEGIES}
    assert kinds["mixed"] == {"qa", "correction", "cloze", "restatement", "implication"}
    assert kinds["interview"] == {"qa", "correction"}
    assert kinds["rewrite"] == kinds["mixed"]


def test_what_the_model_asked_is_studied_as_written_and_reworded(material: Material) -> None:
    prompts = Counter(example.prompt for example in build("rewrite", material, 0))
    assert prompts["When does the mill open?"] >= 2
    assert prompts["What do members pay?"] >= 4  # a person's question counts twice


def test_an_unknown_strategy_is_refused_with_the_known_ones(material: Material) -> None:
    with pytest.raises(
        InputError, match="No strategy is named magic: choose one of written, mixed, interview, rewrite"
    ):
        build("magic", material, 0)


def test_the_vetted_strategy_is_taken_first() -> None:
    assert choose_strategy([]) == "mixed"
    assert PRIOR_GAIN["mixed"] == max(PRIOR_GAIN.values())
    assert PRIOR_GAIN.keys() == STRATEGIES.keys()


def test_what_a_writer_writes_is_taken_first_where_there_is_one_and_left_where_it_disappoints() -> None:
    assert choose_strategy([], writer=True) == WRITTEN
    assert choose_strategy([(WRITTEN, 0.0)] * 3, writer=True) == "mixed"
    assert choose_strategy([(WRITTEN, 1.0)] * 9) != WRITTEN


def test_what_a_writer_writes_is_studied_beside_the_vetted_mixture(material: Material) -> None:
    studied = Counter((e.prompt, e.kind) for e in build(WRITTEN, material, 0))
    assert all(studied[prompt, "self-edit"] == 1 for _, prompt in material.written)
    assert {kind for _, kind in studied} == {"self-edit", *(e.kind for e in build("mixed", material, 0))}
    with pytest.raises(InputError, match="train one with `gradatim seal` first"):
        build(WRITTEN, replace(material, written=()), 0)


def test_a_strategy_that_gains_is_kept_and_one_that_does_not_is_left() -> None:
    assert choose_strategy([("mixed", 0.95)] * 3) == "mixed"
    taken: list[tuple[str, float]] = []
    true_gain = {"mixed": 0.1, "interview": 0.6, "rewrite": 0.2}
    for _ in range(60):
        name = choose_strategy(taken)
        taken.append((name, true_gain[name]))
    assert taken[0][0] == "mixed"
    assert Counter(name for name, _ in taken[20:]).most_common(1)[0][0] == "interview"
    assert {name for name, _ in taken} >= {"mixed", "interview"}


def test_outcomes_of_what_is_no_strategy_are_ignored() -> None:
    assert choose_strategy([("raw text", 1.0)] * 50) == choose_strategy([])
