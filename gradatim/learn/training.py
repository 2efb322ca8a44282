"""Train several adapters in the same passes over the frozen base, each as if it were alone.

Every trainee brings its own examples, plan, optimizer and schedule; a step packs one batch of each into rows of the
same width and takes one forward and one backward for all. Three things keep a trainee from unlearning what it knew:
replayed answers of the base in every batch, the full-vocabulary divergence from the base on those replies (its logits
are computed once, before the first step), and an early stop as soon as the examples are mastered.

Most examples show only the opening of their target: once a passage is learnt by heart, all that is left to learn is
which passage a question is about, and that is decided in the first few tokens.

Limits: the objective is SFT with token-mean loss. "Mastered" is measured on the stream of study examples, so it says
that they were learnt, not that the lesson was understood; that is the judge's to find out.
"""

from __future__ import annotations

import random
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Packed, Pair, pack, pack_groups
from gradatim.model.scoring import label_logits
from gradatim.types import StudyExample, TrainingPlan

ROW_TOKENS = 256
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
    while active := [run for run in runs if not run.done]:
        if out_of_budget is not None and out_of_budget():
            for run in active:
                run.log.stopped_early = True
            break
        spent = _step(bank, active)
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
        plan = trainee.plan
        self.optimizer = torch.optim.AdamW([trainee.adapter.flat], lr=plan.learning_rate, weight_decay=0.0, fused=True)
        self.chance = random.Random(plan.seed)
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

    def batch(self) -> tuple[list[Pair], list[_Replayed]]:
        """Study pairs, and replies of the base to be kept."""
        study = next(self.batches)
        if not self.replay:
            return study, []
        count = max(1, round(len(study) * REPLAY_SHARE / (1 - REPLAY_SHARE)))
        return study, self.chance.sample(self.replay, min(count, len(self.replay)))

    def apply(self, tokens: int, loss: float, mastered: float) -> None:
        plan, spent = self.trainee.plan, min(1.0, self.log.tokens / self.trainee.plan.tokens)
        rate = plan.learning_rate * min(1.0, (spent + 0.005) / WARMUP) * min(1.0, max(0.03, (1 - spent) / DECAY))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.log.tokens += tokens
        self.log.steps += 1
        self.log.losses.append(loss)
        self.log.mastery.append(mastered)
        self.recent.append(mastered)

    def _stream(self) -> Iterator[list[Pair]]:
        opening = self._bank.base.chat.frame[0]
        examples = list(self.trainee.study)
        while True:
            self.chance.shuffle(examples)
            batch: list[Pair] = []
            size = 0
            for example in examples:
                pair = _pair(self._bank, example)
                if self.trainee.plan.openings and self.chance.random() < self.trainee.plan.openings:
                    pair = Pair(pair.prompt, pair.target[:OPENING_TOKENS])
                if batch and size + len(pair) - opening > self.trainee.plan.batch_tokens:
                    yield batch
                    batch, size = [], 0
                batch.append(pair)
                size += len(pair) - opening
            if batch:
                yield batch


def _step(bank: AdapterBank, runs: Sequence[_Run]) -> int:
    """One forward and backward for all runs; returns the positions computed."""
    batches = [run.batch() for run in runs]
    groups = [[*study, *(replayed.pair for replayed in replays)] for study, replays in batches]
    packed, rows = pack_groups(groups, ROW_TOKENS)
    stack = bank.stack([run.trainee.name for run in runs])
    logits_LV = label_logits(bank, packed, [run.trainee.name for run in runs for _ in range(rows)]).float()
    nll_L = F.cross_entropy(logits_LV, packed.labels_L, reduction="none")
    run_of_pair = torch.tensor([run for run, group in enumerate(groups) for _ in group])
    total = _means(nll_L, run_of_pair[packed.pairs_L], len(runs)).sum()
    for replayed_L, replays in _replayed_labels(packed, batches):
        base_LV = torch.cat([replayed.of_base_TV for replayed in replays]).float()
        order_L = packed.pairs_L[replayed_L].argsort(stable=True)  # rows hold pairs in another order
        total = total + KL_WEIGHT * divergence(base_LV, logits_LV[replayed_L][order_L])
    studied = torch.tensor(
        [number < len(study) for study, replays in batches for number in range(len(study + replays))]
    )
    figures = _figures(nll_L.detach(), packed.pairs_L, run_of_pair, studied, len(runs))
    with warnings.catch_warnings():  # a stack's weights lie apart in memory on purpose
        warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")
        total.backward()  # type: ignore[no-untyped-call]
    gradients = [run.trainee.adapter.gradient for run in runs] if stack is None else [stack.gradient_NP]
    for gradient in gradients:
        norm = gradient.norm(dim=-1, keepdim=True)
        gradient.mul_(torch.clamp(1.0 / (norm + 1e-6), max=1.0))
    for run, loss, mastered in zip(runs, *figures, strict=True):
        run.apply(packed.tokens // len(runs), loss, mastered)
    for gradient in gradients:
        gradient.zero_()
    return packed.tokens


def _means(values_L: Tensor, groups_L: Tensor, count: int) -> Tensor:
    """Mean of the values of each group, [count]; 0 for an empty one."""
    sums = values_L.new_zeros(count).index_add(0, groups_L, values_L)
    return sums / torch.bincount(groups_L, minlength=count).clamp(min=1)


def _replayed_labels(
    packed: Packed, batches: Sequence[tuple[list[Pair], list[_Replayed]]]
) -> Iterator[tuple[Tensor, list[_Replayed]]]:
    """For each run with replays, which labels are theirs."""
    first = 0
    for study, replays in batches:
        stop = first + len(study) + len(replays)
        if replays:
            yield (packed.pairs_L >= first + len(study)) & (packed.pairs_L < stop), replays
        first = stop


def divergence(base_LV: Tensor, logits_LV: Tensor) -> Tensor:
    """Mean KL(base ‖ adapter) over labelled positions, in nats; no gradient to the base."""
    return F.kl_div(logits_LV.log_softmax(-1), base_LV.detach().log_softmax(-1), reduction="batchmean", log_target=True)


@torch.inference_mode()
def _replayed(bank: AdapterBank, examples: Sequence[StudyExample]) -> list[_Replayed]:
    """Each replay example with the base's logits, computed once."""
    made = []
    for start in range(0, len(examples), 16):
        pairs = [_pair(bank, example) for example in examples[start : start + 16]]
        packed = pack(pairs, ROW_TOKENS)
        logits_LV = label_logits(bank, packed, [None] * packed.rows)
        made += [_Replayed(pair, logits_LV[packed.pairs_L == i].clone()) for i, pair in enumerate(pairs)]
    return made


def _figures(
    nll_L: Tensor, pairs_L: Tensor, run_of_pair: Tensor, studied: Tensor, runs: int
) -> tuple[list[float], list[float]]:
    """Per run: mean loss of the study labels, and the share of study pairs with every token more likely than not."""
    mine_L = studied[pairs_L]
    losses = _means(nll_L[mine_L], run_of_pair[pairs_L[mine_L]], runs)
    whole = torch.ones(len(run_of_pair)).scatter_reduce(0, pairs_L, (nll_L < 0.69).float(), "prod")
    mastered = _means(whole[studied], run_of_pair[studied], runs)
    return losses.tolist(), mastered.tolist()


def _pair(bank: AdapterBank, example: StudyExample) -> Pair:
    chat = bank.base.chat
    return Pair(tuple(chat.prompt(example.prompt)), tuple(chat.target(example.prompt, example.target)))
