"""Adapters trained together are each what PEFT and AdamW would have made of them alone, whoever their neighbours were.

AdamW divides by the size of a gradient, so where one nearly vanishes, rounding decides on whole strides, in PEFT as
here.
That is why they start with a B that is not zero, and with a larger epsilon than AdamW's own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gradatim.learn.objectives import sequence_means
from gradatim.learn.trainer import Labels, Trainer
from gradatim.model.adapter import Adapter, ModuleShape
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from tests.model.reference import PEFT_IS_BEHIND, peft_weights, random_pairs, with_peft
from tests.tiny import TINY, tiny_base

STEPS = 12
EPSILON = 1e-4


@dataclass(frozen=True)
class Settings:
    """How one adapter is trained: it takes part in the steps from `start` to before `stop`."""

    rank: int
    rate: float
    clip: float | None
    decay: float
    start: int
    stop: int
    seed: int

    def data(self, step: int) -> list[Pair]:
        return random_pairs(1000 * self.seed + step, 1 + (self.seed + step) % 4, 3)


def drawn(seed: int) -> tuple[str, dict[str, Any], dict[str, Settings]]:
    """A random tiny model, and three to five adapters on it."""
    chance = random.Random(seed)
    kind = chance.choice(list(TINY))
    layers = chance.randint(2, 4)
    sizes: dict[str, Any] = {"n_layer" if kind == "gpt2" else "num_hidden_layers": layers}
    if kind != "gpt2":
        sizes |= {"intermediate_size": chance.choice([40, 64]), "num_key_value_heads": chance.choice([1, 2, 4])}
    adapters = {}
    for number in range(chance.randint(3, 5)):
        start = chance.choice([0, 0, 3, 5])
        adapters[f"adapter {number}"] = Settings(
            chance.choice([2, 4, 4]), chance.choice([1e-3, 3e-3]), chance.choice([None, 1.0, 0.05]),
            chance.choice([0.0, 0.1]), start, chance.choice([STEPS, STEPS, start + 4]), 7 * seed + number,
        )  # fmt: skip
    return kind, sizes, adapters


def begun(shapes: list[ModuleShape], one: Settings) -> Adapter:
    adapter = Adapter(shapes, one.rank, 2.0 * one.rank, "cpu").initialise(one.seed)
    generator = torch.Generator().manual_seed(one.seed)
    for B in adapter.B.values():
        B.data.normal_(0, 0.1, generator=generator)
    return adapter


def token_means(labels: Labels) -> Tensor:
    return sequence_means(-labels.log_probability_L, labels.adapters_L, len(labels.counts)).sum()


def together(kind: str, sizes: dict[str, Any], adapters: dict[str, Settings], lowest: int = 0) -> dict[str, Adapter]:
    bank = AdapterBank(tiny_base(kind, **sizes))
    shapes = bank.shapes(range(lowest, 99))
    for name, one in adapters.items():
        bank.add(name, begun(shapes, one))
    trainer = Trainer(bank)
    for step in range(STEPS):
        for name, one in adapters.items():
            if one.start == step:
                trainer.join(name, learning_rate=one.rate, weight_decay=one.decay, clip=one.clip, epsilon=EPSILON)
            if one.stop == step:
                trainer.leave(name)
        work = {name: one.data(step) for name, one in adapters.items() if one.start <= step < one.stop}
        if work:
            sizes_of = trainer.step(work, token_means)
            assert all(sizes_of[name] <= sum(map(len, pairs)) for name, pairs in work.items())
    return bank.adapters


def alone_with_peft(kind: str, sizes: dict[str, Any], one: Settings, fresh: Adapter) -> Any:
    model = with_peft(kind, fresh, **sizes)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=one.rate, weight_decay=one.decay, eps=EPSILON)
    for step in range(one.start, min(one.stop, STEPS)):
        losses = []
        for pair in one.data(step):
            logits = model(input_ids=torch.tensor([pair.prompt + pair.target])).logits[0]
            first = len(pair.prompt) - 1
            target = torch.tensor(pair.target)
            losses.append(F.cross_entropy(logits[first : first + len(target)], target, reduction="none"))
        torch.cat(losses).mean().backward()  # type: ignore[no-untyped-call]
        if one.clip is not None:
            torch.nn.utils.clip_grad_norm_(weights, one.clip)
        optimizer.step()
        optimizer.zero_grad()
    return peft_weights(model)


@pytest.mark.filterwarnings(PEFT_IS_BEHIND)
@pytest.mark.parametrize("seed", range(8))
def test_each_is_what_peft_makes_of_it_alone(seed: int) -> None:
    kind, sizes, adapters = drawn(seed)
    lowest = seed % 2  # where it is 1, the blocks below are computed once per text
    trained = together(kind, sizes, adapters, lowest)
    bank = AdapterBank(tiny_base(kind, **sizes))
    for name, one in adapters.items():
        fresh = begun(bank.shapes(range(lowest, 99)), one)
        assert apart(fresh.flat, trained[name].flat) > 1e-2
        for (module, letter), weight in alone_with_peft(kind, sizes, one, fresh).items():
            mine = (trained[name].A if letter == "A" else trained[name].B)[module]
            assert apart(mine, weight) <= 1e-5, (name, module, letter)


def apart(got: Tensor, expected: Tensor) -> float:
    return float(((got - expected).norm() / expected.norm()).detach())


def test_neighbours_change_nothing() -> None:
    """Not bit for bit: a matmul's sums may be ordered otherwise in a batch of another size."""
    kind, sizes, adapters = drawn(3)
    name, one = next(iter(adapters.items()))
    alone = together(kind, sizes, {name: one})[name].flat
    company = together(kind, sizes, adapters)[name].flat
    assert apart(company, alone) <= 1e-5


def test_reusing_lower_blocks_changes_nothing() -> None:
    weights = []
    for reuse in (True, False):
        bank = AdapterBank(tiny_base(num_hidden_layers=4))
        bank.add("a", begun(bank.shapes(range(2, 4)), Settings(4, 1e-3, None, 0.0, 0, STEPS, 0)))
        trainer = Trainer(bank, reuse_lower_blocks=reuse)
        trainer.join("a", learning_rate=1e-3)
        pairs = random_pairs(0, 5, 4)
        for _ in range(6):
            trainer.step({"a": pairs}, token_means)
        weights.append(bank.adapters["a"].flat.detach().clone())
    assert apart(*weights) <= 1e-5


def test_an_adapter_that_is_shown_nothing_in_a_step_stands_still() -> None:
    bank = AdapterBank(tiny_base())
    trainer = Trainer(bank)
    for name in "ab":
        bank.add(name, begun(bank.shapes(), Settings(2, 1e-3, None, 0.0, 0, STEPS, 0)))
        trainer.join(name, learning_rate=1e-3)
    trainer.step({"a": random_pairs(0, 2, 3), "b": random_pairs(1, 2, 3)}, token_means)
    before = {name: bank.adapters[name].flat.detach().clone() for name in "ab"}
    assert trainer.step({"a": random_pairs(0, 2, 3), "b": []}, token_means)["b"] == 0
    assert torch.equal(bank.adapters["b"].flat, before["b"])
    assert not torch.equal(bank.adapters["a"].flat, before["a"])


def test_those_without_work_stand_still_and_strangers_are_refused() -> None:
    bank = AdapterBank(tiny_base())
    for name in "abc":
        bank.add(name, Adapter(bank.shapes(), 2, 4.0, "cpu").initialise(0))
    trainer = Trainer(bank)
    for name in "ab":
        trainer.join(name, learning_rate=1e-3)
    before = bank.adapters["b"].flat.detach().clone()
    trainer.step({"a": random_pairs(0, 2, 3)}, token_means)
    assert torch.equal(bank.adapters["b"].flat, before)
    assert not torch.equal(bank.adapters["a"].flat, before)
    for strange in ("c", "d"):
        with pytest.raises(ValueError, match="has not joined"):
            trainer.step({strange: random_pairs(0, 2, 3)}, token_means)
    with pytest.raises(ValueError, match="already"):
        trainer.join("a", learning_rate=1e-3)
    trainer.leave("a")
    with pytest.raises(ValueError, match="has not joined"):
        trainer.step({"a": random_pairs(0, 2, 3)}, token_means)
