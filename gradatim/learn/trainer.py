"""Adapters trained in the same passes over the frozen base, each with data, rate, clip and optimizer of its own.

    trainer = Trainer(bank)
    trainer.join("a", learning_rate=1e-3)
    trainer.join("b", learning_rate=2e-4, clip=None)
    trainer.step({"a": pairs_of_a, "b": pairs_of_b}, lambda labels: -labels.log_probability_L.sum())

A step takes one forward and one backward for all adapters it is given work for; they join and leave between steps, and
those without work stand still. The objective sees the labelled positions of all of them and returns one number: since
no adapter's positions depend on another's weights, the gradient of a sum of losses is each one's own. So an adapter is
trained as it would be alone, up to the order of sums within a matmul.

Limits: AdamW. Adapters of one rank, on the same modules and with equally many positions each are multiplied at once;
others one after the other, which costs more calls but no more operations.

Shape letters: L labelled positions, V vocabulary, N adapters of a step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.adamw import adamw

from gradatim.model.adapter import Adapter
from gradatim.model.allocation import refuse_what_does_not_fit
from gradatim.model.bank import AdapterBank
from gradatim.model.head import log_probabilities_of
from gradatim.model.lower import LowerBlocks, lowest_block
from gradatim.model.memory import StepCost, adapter_bytes
from gradatim.model.packing import Packed, Pair, pack_groups
from gradatim.model.scoring import label_states


class Shown(NamedTuple):
    """What a step shows of an example, and the whole of it, whose target may be longer."""

    pair: Pair
    whole: Pair


@dataclass(frozen=True)
class Labels:
    """The labelled positions of a step, adapter after adapter and pair after pair, in the order they were given."""

    hidden_LD: Tensor  # what goes into the head
    head: nn.Module
    packed: Packed
    counts: tuple[int, ...]  # pairs of each adapter

    @cached_property
    def logits_LV(self) -> Tensor:
        """In fp32; an objective that needs both takes them before the log-probabilities, which then come from them."""
        logits_LV: Tensor = self.head(self.hidden_LD).float()
        return logits_LV

    @cached_property
    def log_probability_L(self) -> Tensor:
        labels_L = self.packed.labels_L.to(self.hidden_LD.device)
        if "logits_LV" in self.__dict__:
            return -F.cross_entropy(self.logits_LV, labels_L, reduction="none")
        return log_probabilities_of(self.hidden_LD, self.head, labels_L)

    @cached_property
    def pairs_L(self) -> Tensor:
        """The number of the pair, over all adapters."""
        return self.packed.pairs_L.to(self.hidden_LD.device)

    @cached_property
    def adapters_L(self) -> Tensor:
        """The number of the adapter."""
        counts = torch.tensor(self.counts, device=self.hidden_LD.device)
        return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)[self.pairs_L]

    def of_pairs(self, first: int, count: int) -> Tensor:
        """Which labels [L] belong to `count` pairs from number `first` on."""
        return (self.pairs_L >= first) & (self.pairs_L < first + count)


Objective = Callable[[Labels], Tensor]


@dataclass(slots=True)
class _Joined:
    """An adapter under training, with AdamW's state."""

    adapter: Adapter
    settings: _Settings
    clip: float | None
    mean_P: Tensor
    square_P: Tensor
    steps: Tensor  # taken so far, a scalar


class _Settings(NamedTuple):
    """AdamW's; adapters that have them in common are updated by one call."""

    rate: float
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float


class Trainer:
    """Trains adapters of a bank, by name."""

    def __init__(self, bank: AdapterBank, *, reuse_lower_blocks: bool = True, share_prefix: bool = True) -> None:
        self._bank, self._reuse, self._share_prefix = bank, reuse_lower_blocks, share_prefix
        self._joined: dict[str, _Joined] = {}
        self._lower: LowerBlocks | None = None
        self._cost: StepCost | None = None

    def join(
        self,
        name: str,
        *,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip: float | None = 1.0,
    ) -> None:
        """Take an adapter of the bank in; `clip` is the greatest norm of its gradient, None for any."""
        if name in self._joined:
            raise ValueError(f"adapter {name} is in training already")
        adapter = self._bank.adapters[name]
        weights, moments = adapter.flat, adapter_bytes(adapter.modules.values(), adapter.rank) // 2
        refuse_what_does_not_fit(moments, weights.device, f"Training adapter {name}")
        mean_P, square_P, steps = torch.zeros_like(weights), torch.zeros_like(weights), weights.new_zeros(())
        settings = _Settings(learning_rate, betas, epsilon, weight_decay)
        self._joined[name] = _Joined(adapter, settings, clip, mean_P, square_P, steps)
        lowest = min(lowest_block(self._bank.adapters[each]) for each in self._joined)
        if self._lower is None or lowest != self._lower.first:
            self._lower = LowerBlocks(self._bank, lowest)
            self._cost = StepCost.measure(self._bank, name)

    def leave(self, name: str) -> None:
        """Let an adapter go; it stays in the bank."""
        del self._joined[name]

    def set_rate(self, name: str, learning_rate: float) -> None:
        self._joined[name].settings = self._joined[name].settings._replace(rate=learning_rate)

    def step(self, work: Mapping[str, Sequence[Shown | Pair]], objective: Objective) -> dict[str, int]:
        """One step of the adapters in `work` on what each is shown; returns the positions that each computed.

        Raises ValueError when an adapter has not joined or none has a pair, ModelError when memory does not suffice.
        """
        strangers = [name for name in work if name not in self._joined]
        if strangers:
            raise ValueError(f"adapter {strangers[0]} has not joined: call join first")
        names = list(work)
        shown = [[one if isinstance(one, Shown) else Shown(one, one) for one in work[name]] for name in names]
        packed = pack_groups([[one.pair for one in group] for group in shown], share_prefix=self._share_prefix)
        if self._cost is not None:
            what = f"A step of {len(names)} adapters on {packed.tokens} positions"
            refuse_what_does_not_fit(self._cost.of(packed), self._bank.base.device, what)
        wholes = [one.whole for group in shown for one in group]
        self._bank.stack(names)
        lower = self._lower if self._reuse and self._lower is not None and self._lower.supported else None
        hidden_LD = label_states(self._bank, packed, names, lower, wholes, overwrite=True)
        labels = Labels(hidden_LD, self._bank.base.head, packed, tuple(map(len, shown)))
        objective(labels).backward()  # type: ignore[no-untyped-call]
        _update([self._joined[name] for name, size in zip(names, packed.sizes, strict=True) if size])
        return dict(zip(names, packed.sizes, strict=True))


@torch.no_grad()
def _update(trained: Sequence[_Joined]) -> None:
    """Clip each one's gradient by its own norm, then AdamW, adapters of equal settings in one call."""
    alike: defaultdict[_Settings, list[_Joined]] = defaultdict(list)
    for one in trained:
        alike[one.settings].append(one)
        if one.clip is not None:
            gradient_P = one.adapter.gradient
            gradient_P.mul_(torch.clamp(one.clip / (gradient_P.norm() + 1e-6), max=1.0))
    for (rate, betas, epsilon, weight_decay), these in alike.items():
        adamw(
            [one.adapter.flat for one in these],
            [one.adapter.gradient for one in these],
            [one.mean_P for one in these],
            [one.square_P for one in these],
            [],
            [one.steps for one in these],
            fused=True,
            amsgrad=False,
            beta1=betas[0],
            beta2=betas[1],
            lr=rate,
            weight_decay=weight_decay,
            eps=epsilon,
            maximize=False,
        )
