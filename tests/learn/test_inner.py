"""Many short trainings at once are each what it would be alone, of equal length, and leave nothing behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gradatim.learn.inner import InnerPlan, Trial, _Shown, new_adapter, study, try_each
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from gradatim.model.sampling import Decoding, sample
from gradatim.model.scoring import grade
from tests.model.reference import random_ids
from tests.tiny import tiny_base

PLAN = InnerPlan(rank=4, alpha=8.0, positions=240, step_positions=24, at_once=4)


def pairs(seed: int, count: int) -> tuple[Pair, ...]:
    texts = [random_ids(seed * 100 + i, 1, 5 + (seed + i) % 7)[0].tolist() for i in range(count)]
    return tuple(Pair(tuple(ids[:2]), tuple(ids[2:])) for ids in texts)


TRIALS = [Trial(pairs(seed, 1 + seed % 4), 10 ** -(2 + seed % 2), seed) for seed in range(6)]


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    torch.set_num_threads(1)
    return AdapterBank(tiny_base(max_position_embeddings=512))


def worth(bank: AdapterBank, trials: list[Trial], plan: InnerPlan = PLAN) -> list[float]:
    """The mean log-probability, after each trial, of what it studied."""

    def measure(names: list[str], numbers: range) -> list[float]:
        graded = grade(bank, [trials[number].pairs for number in numbers], names)
        return [sum(one.log_probability for one in grades) / len(grades) for grades in graded]

    return try_each(bank, trials, plan, measure)


def test_together_as_alone(bank: AdapterBank) -> None:
    together = worth(bank, TRIALS)
    alone = [worth(bank, [trial])[0] for trial in TRIALS]
    assert together == pytest.approx(alone, rel=1e-3, abs=1e-3)
    assert not bank.adapters


def test_studying_helps_and_a_higher_rate_helps_more_here(bank: AdapterBank) -> None:
    material = pairs(3, 2)
    untrained, slow, fast = worth(bank, [Trial(material, rate, 0) for rate in (0.0, 1e-3, 1e-2)])
    assert untrained < slow < fast


def test_every_trial_takes_as_many_positions(bank: AdapterBank) -> None:
    long = Trial((Pair((3,), tuple(range(4, 44))),), 1e-3, 0)  # longer than a step is
    for trial in (*TRIALS, long):
        shown, total = _Shown(trial), 0
        for step in range(PLAN.steps(TRIALS[0])):
            batch = shown.batch(PLAN.step_positions * (step + 1))
            total += sum(map(len, batch))
        assert abs(total - PLAN.positions) <= max(map(len, trial.pairs))


def test_each_pair_is_shown_as_often_as_any_other() -> None:
    shown = _Shown(TRIALS[3])
    seen = [pair for step in range(40) for pair in shown.batch(24 * (step + 1))]
    counts = [seen.count(pair) for pair in TRIALS[3].pairs]
    assert max(counts) - min(counts) <= 1


def test_one_that_has_run_ahead_waits_and_its_neighbour_does_not(bank: AdapterBank) -> None:
    trials = [Trial((Pair((3,), tuple(range(4, 44))),), 1e-2, 0), TRIALS[1]]
    assert worth(bank, trials) == pytest.approx([worth(bank, [trial])[0] for trial in trials], rel=1e-3, abs=1e-3)


def test_nothing_stays_in_the_bank_when_measuring_fails(bank: AdapterBank) -> None:
    def fails(names: list[str], numbers: range) -> list[float]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        try_each(bank, TRIALS, PLAN, fails)
    assert not bank.adapters


def test_a_trial_needs_material(bank: AdapterBank) -> None:
    with pytest.raises(ValueError, match="nothing to study"):
        worth(bank, [Trial((), 1e-3, 0)])
    assert worth(bank, []) == []


def test_replay_keeps_what_the_base_says(bank: AdapterBank) -> None:
    """Its own answers stay likelier with replay than without, and a weight of zero changes nothing."""
    chat, prompts = bank.base.chat, [f"What is number {i}?" for i in range(8)]
    replies = sample(bank, [chat.prompt(p) for p in prompts], None, Decoding(max_tokens=6))
    own = [Pair(tuple(chat.prompt(p)), tuple(reply)) for p, reply in zip(prompts, replies, strict=True) if reply]
    trials = [Trial(pairs(seed, 2), 1e-2, seed) for seed in range(3)]

    def left(replay: list[Pair], plan: InnerPlan = PLAN) -> list[float]:
        def measure(names: list[str], numbers: range) -> list[float]:
            return [sum(one.log_probability for one in grades) for grades in grade(bank, [own] * len(names), names)]

        return try_each(bank, trials, plan, measure, replay=replay)

    guarded, bare = left(own), left([])
    assert all(kept > lost for kept, lost in zip(guarded, bare, strict=True))
    weightless = left(own, replace(PLAN, replay_weight=0.0))
    assert weightless == pytest.approx(bare, rel=1e-3)


def test_an_adapter_studies_on_from_where_it_is(bank: AdapterBank) -> None:
    material = Trial(pairs(3, 2), 3e-3, 0)

    def says() -> float:
        (grades,) = grade(bank, [material.pairs], ["one"])
        return sum(one.log_probability for one in grades)

    bank.add("one", new_adapter(bank, PLAN, 0))
    try:
        values = [says()]
        for _ in range(2):
            study(bank, ["one"], [material], PLAN)
            values.append(says())
    finally:
        bank.remove("one")
    assert values[0] < values[1] < values[2]
