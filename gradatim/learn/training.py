"""Train several adapters in the same passes over the frozen base, each as if it were alone.

Every trainee brings its own examples, plan and schedule; a step takes one batch of each. Three things keep a trainee
from unlearning what it knew: replayed answers of the base in every batch, the full-vocabulary divergence from the base
on those replies (its logits are computed once, before the first step), and an early stop as soon as the examples are
mastered.

Most examples show only the opening of their target: once a passage is learnt by heart, all that is left to learn is
which passage a question is about, and that is decided in the first few tokens.

Limits: the objective is SFT with token-mean loss. "Mastered" is measured on the stream of study examples, so it says
that they were learnt, not that the lesson was understood; that is the judge's to find out.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradatim.learn.objectives import kl_exact, sequence_means
from gradatim.learn.trainer import Labels, Shown, Trainer
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair, pack
from gradatim.model.scoring import label_logits
from gradatim.types import StudyExample, TrainingPlan

OPENING_TOKENS = 5
REPLAY_SHARE = 0.1
KL_WEIGHT = 0.5
WARMUP, DECAY = 0.05, 0.5
MASTERED = 0.985
CURVE_POINTS = 24


@dataclass(frozen=True, slots=True)
class Trainee:
    """One adapter to be trained, with what it studies and replays."""

    name: str
    adapter: Adapter
    study: Sequence[StudyExample]
    plan: TrainingPlan
    replay: Sequence[StudyExample] = ()


@dataclass(slots=True)
class TrainingLog:
    """What a training did."""

    tokens: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)
    mastery: list[float] = field(default_factory=list)  # share of a batch's examples with every token likely
    stopped_early: bool = False

    def curve(self) -> tuple[float, ...]:
        """The loss in at most `CURVE_POINTS` means."""
        size = max(1, -(-len(self.losses) // CURVE_POINTS))
        chunks = [self.losses[i : i + size] for i in range(0, len(self.losses), size)]
        return tuple(sum(chunk) / len(chunk) for chunk in chunks)


def train(
    bank: AdapterBank,
    trainees: Sequence[Trainee],
    advance: Callable[[int], None] | None = None,
    out_of_budget: Callable[[], bool] | None = None,
) -> dict[str, TrainingLog]:
    """Train all, in the bank under their names, until each has spent its tokens or mastered its examples."""
    runs = [_Run(bank, trainee) for trainee in trainees]
    trainer = Trainer(bank)
    for run in runs:
        trainer.join(run.trainee.name, learning_rate=run.rate)
    while active := [run for run in runs if not run.done]:
        if out_of_budget is not None and out_of_budget():
            for run in active:
                run.log.stopped_early = True
            break
        spent = _step(trainer, active)
        if advance is not None:
            advance(spent)
    return {run.trainee.name: run.log for run in runs}


@dataclass(frozen=True, slots=True)
class _Replayed:
    """A reply of the base, and the base's logits [T, V] over it."""

    pair: Pair
    of_base_TV: Tensor


class _Run:
    """A trainee under way: its stream of batches, its optimizer, its log."""

    def __init__(self, bank: AdapterBank, trainee: Trainee) -> None:
        self.trainee, self.log = trainee, TrainingLog()
        self._bank = bank
        self.chance = random.Random(trainee.plan.seed)
        self.batches = self._stream()
        self.recent: deque[float] = deque(maxlen=12)
        self.replay = _replayed(bank, trainee.replay)

    @property
    def done(self) -> bool:
        if self.log.tokens >= self.trainee.plan.tokens:
            return True
        full = len(self.recent) == self.recent.maxlen
        if full and sum(self.recent) / len(self.recent) >= MASTERED and self.log.tokens > self.trainee.plan.tokens / 3:
            self.log.stopped_early = True
            return True
        return False

    @property
    def rate(self) -> float:
        """The learning rate now: a short rise, and a straight fall over the second half."""
        spent = min(1.0, self.log.tokens / self.trainee.plan.tokens)
        rise, fall = min(1.0, (spent + 0.005) / WARMUP), min(1.0, max(0.03, (1 - spent) / DECAY))
        return self.trainee.plan.learning_rate * rise * fall

    def batch(self) -> tuple[list[Shown], list[_Replayed]]:
        """Study pairs, and replies of the base to be kept."""
        study = next(self.batches)
        if not self.replay:
            return study, []
        count = max(1, round(len(study) * REPLAY_SHARE / (1 - REPLAY_SHARE)))
        return study, self.chance.sample(self.replay, min(count, len(self.replay)))

    def record(self, tokens: int, loss: float, mastered: float) -> None:
        self.log.tokens += tokens
        self.log.steps += 1
        self.log.losses.append(loss)
        self.log.mastery.append(mastered)
        self.recent.append(mastered)

    def _stream(self) -> Iterator[list[Shown]]:
        opening = self._bank.base.chat.frame[0]
        examples = list(self.trainee.study)
        while True:
            self.chance.shuffle(examples)
            batch: list[Shown] = []
            size = 0
            for example in examples:
                pair = whole = _pair(self._bank, example)
                if self.trainee.plan.openings and self.chance.random() < self.trainee.plan.openings:
                    pair = Pair(pair.prompt, pair.target[:OPENING_TOKENS])
                if batch and size + len(pair) - opening > self.trainee.plan.batch_tokens:
                    yield batch
                    batch, size = [], 0
                batch.append(Shown(pair, whole))
                size += len(pair) - opening
            if batch:
                yield batch


def _step(trainer: Trainer, runs: Sequence[_Run]) -> int:
    """One step of all runs; returns the positions computed."""
    batches = [run.batch() for run in runs]
    figures: list[tuple[float, float]] = []

    def objective(labels: Labels) -> Tensor:
        logits_LV = labels.logits_LV if any(replays for _, replays in batches) else None
        figures.extend(_figures(labels, [len(study) for study, _ in batches]))
        total = sequence_means(-labels.log_probability_L, labels.adapters_L, len(runs)).sum()
        first = 0
        for study, replays in batches:
            if logits_LV is not None and replays:
                mine_L = labels.of_pairs(first + len(study), len(replays))
                base_LV = torch.cat([replayed.of_base_TV for replayed in replays]).float()
                total = total + KL_WEIGHT * kl_exact(base_LV, logits_LV[mine_L]).mean()
            first += len(study) + len(replays)
        return total

    work: dict[str, list[Shown]] = {}
    for run, (study, replays) in zip(runs, batches, strict=True):
        trainer.set_rate(run.trainee.name, run.rate)
        work[run.trainee.name] = [*study, *(Shown(replay.pair, replay.pair) for replay in replays)]
    sizes = trainer.step(work, objective)
    for run, (loss, mastered) in zip(runs, figures, strict=True):
        run.record(sizes[run.trainee.name], loss, mastered)
    return sum(sizes.values())


@torch.inference_mode()
def _replayed(bank: AdapterBank, examples: Sequence[StudyExample]) -> list[_Replayed]:
    """Each replay example with the base's logits, computed once."""
    made = []
    for start in range(0, len(examples), 16):
        pairs = [_pair(bank, example) for example in examples[start : start + 16]]
        packed = pack(pairs)
        logits_LV = label_logits(bank, packed, [None])
        made += [_Replayed(pair, logits_LV[packed.pairs_L == i].clone()) for i, pair in enumerate(pairs)]
    return made


def _figures(labels: Labels, studied: Sequence[int]) -> list[tuple[float, float]]:
    """Per run: mean loss of the study labels, and the share of study pairs with every token more likely than not.

    The first `studied[i]` pairs of run i are study; the others are replays.
    """
    loss_L = -labels.log_probability_L.detach()
    likely = torch.ones(sum(labels.counts)).scatter_reduce(0, labels.pairs_L, (loss_L < 0.69).float(), "prod")
    found, first = [], 0
    for count, study in zip(labels.counts, studied, strict=True):
        mastered = float(likely[first : first + study].mean())
        found.append((float(loss_L[labels.of_pairs(first, study)].mean()), mastered))
        first += count
    return found


def _pair(bank: AdapterBank, example: StudyExample) -> Pair:
    chat = bank.base.chat
    return Pair(tuple(chat.prompt(example.prompt)), tuple(chat.target(example.prompt, example.target)))
