"""Many short trainings at once: an adapter for each piece of study material, all in the same passes, thrown away after.

    results = try_each(bank, trials, plan, measure)   # called with the adapters' names

This is the inner loop of a search over study material (SEAL, arXiv 2506.10943): what a piece is worth is what a model
that has studied it can do. Every trial takes as many positions as every other, whatever it studies, so what is
compared is the material and not its length; short material is gone through more often. Only where the effort is
itself under search does a trial name its own.

What the base knew is guarded by replay: its own answers to other questions stand beside every batch, with a weight of
their own, since one word of an answer is little beside thirty of a passage.

Limits: next-token loss over each pair's target, AdamW, a rate that falls to nothing. What comes out is measured and
dropped, never released.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from gradatim.learn.objectives import sequence_means
from gradatim.learn.trainer import Labels, Objective, Trainer
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Trial:
    """What one adapter studies, how fast, and the seed of its start and of its order."""

    pairs: tuple[Pair, ...]
    learning_rate: float
    seed: int
    positions: int | None = None  # instead of the plan's
    rehearse: tuple[Pair, ...] = ()  # what the adapter studied earlier, to be shown beside


@dataclass(frozen=True, slots=True)
class InnerPlan:
    """What all trials have in common."""

    rank: int = 8
    frozen: float = 0.0  # share of the blocks, from below, that are left as they are
    alpha: float = 16.0
    positions: int = 3600  # of each trial that doesn't say otherwise
    step_positions: int = 30
    at_once: int = 96
    replays: int = 1  # pairs of what the base knew beside each batch, where there are any, on top of `positions`
    replay_weight: float = 1.0  # of their mean loss

    def steps(self, trial: Trial) -> int:
        positions = self.positions if trial.positions is None else trial.positions
        return max(1, positions // self.step_positions)


def try_each(
    bank: AdapterBank,
    trials: Sequence[Trial],
    plan: InnerPlan,
    measure: Callable[[list[str], range], list[Result]],
    advance: Callable[[int], None] | None = None,
    replay: Sequence[Pair] = (),
) -> list[Result]:
    """Train an adapter for each trial, measure it, drop it. `measure` gets names in the bank and numbers of trials.

    `replay` holds prompts with the base's own answers, the guard against forgetting: each step shows some of them.

    Raises ValueError for a trial without material.
    """
    if not all(trial.pairs for trial in trials):
        raise ValueError("a trial without pairs has nothing to study")
    results: list[Result] = []
    for start in range(0, len(trials), plan.at_once):
        chosen = trials[start : start + plan.at_once]
        names = [f"trial {start + number}" for number in range(len(chosen))]
        try:
            for name, trial in zip(names, chosen, strict=True):
                bank.add(name, new_adapter(bank, plan, trial.seed))
            study(bank, names, chosen, plan, replay)
            results += measure(names, range(start, start + len(chosen)))
        finally:
            for name in names:
                if name in bank.adapters:
                    bank.remove(name)
        if advance is not None:
            advance(len(chosen))
    return results


def new_adapter(bank: AdapterBank, plan: InnerPlan, seed: int) -> Adapter:
    """One that has learnt nothing yet."""
    blocks = bank.base.model.config.num_hidden_layers
    shapes = bank.shapes(range(int(plan.frozen * blocks), blocks))
    return Adapter(shapes, plan.rank, plan.alpha, bank.base.device).initialise(seed)


def study(
    bank: AdapterBank,
    names: Sequence[str],
    trials: Sequence[Trial],
    plan: InnerPlan,
    replay: Sequence[Pair] = (),
) -> None:
    """Train adapters of the bank, each on its trial, from where they are.

    Beside each batch stand `plan.replays` pairs of `replay`, and as many of what the trial rehearses.
    """
    trainer = Trainer(bank)
    for name, trial in zip(names, trials, strict=True):
        trainer.join(name, learning_rate=trial.learning_rate)
    shown = [_Shown(trial) for trial in trials]
    chances = [random.Random(f"replay {trial.seed}") for trial in trials]
    steps = [plan.steps(trial) for trial in trials]
    for step in range(max(steps, default=0)):
        upto = plan.step_positions * (step + 1)
        work: dict[str, list[Pair]] = {}
        shares: list[tuple[int, ...]] = []
        for name, trial, last, pairs, chance in zip(names, trials, steps, shown, chances, strict=True):
            trainer.set_rate(name, trial.learning_rate * max(0.0, 1 - step / last))
            batch = pairs.batch(upto) if step < last else []
            if batch:
                parts = [
                    batch,
                    *(chance.sample(pool, min(plan.replays, len(pool))) for pool in (replay, trial.rehearse)),
                ]
                work[name] = [pair for part in parts for pair in part]
                shares.append(tuple(map(len, parts)))
        if work:
            trainer.step(work, _objective(shares, plan.replay_weight))


def _objective(shares: Sequence[tuple[int, ...]], weight: float) -> Objective:
    """Each adapter's mean loss over what it studies, replays and rehearses, weighed and summed over the adapters.

    `shares` holds how many pairs an adapter has of each.
    """
    sizes = [size for of_one in shares for size in of_one]
    kinds = [kind for kind, size in enumerate(sizes) for _ in range(size)]
    weights = [1.0, weight, weight] * len(shares)

    def loss(labels: Labels) -> Tensor:
        kinds_L = torch.tensor(kinds, device=labels.pairs_L.device)[labels.pairs_L]
        means = sequence_means(-labels.log_probability_L, kinds_L, len(weights))  # 0 where there is nothing
        return (means * means.new_tensor(weights)).sum()

    return loss


class _Shown:
    """A trial's pairs over and over, in a new order each time."""

    def __init__(self, trial: Trial) -> None:
        self._pairs, self._chance = trial.pairs, random.Random(trial.seed)
        self._waiting: list[Pair] = []
        self._positions = 0

    def batch(self, upto: int) -> list[Pair]:
        """As many pairs as bring all positions so far nearest to `upto`; none where a long one has run ahead."""
        batch: list[Pair] = []
        while self._positions + len(self._next()) / 2 < upto:
            batch.append(self._next())
            self._positions += len(self._waiting.pop())
        return batch

    def _next(self) -> Pair:
        if not self._waiting:
            self._waiting = self._chance.sample(self._pairs, len(self._pairs))
        return self._waiting[-1]
