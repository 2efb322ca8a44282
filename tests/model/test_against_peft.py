"""The bank computes and trains what PEFT does, for an adapter alone and for several in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gradatim.model.adapter import Adapter
from gradatim.model.attention import NAME
from gradatim.model.bank import AdapterBank
from tests.model.reference import PEFT_IS_BEHIND, peft_weights, random_ids, trained, with_peft
from tests.tiny import TINY, tiny_base

pytestmark = pytest.mark.filterwarnings(PEFT_IS_BEHIND)

STEPS, WIDTH = 20, 12
# Relative. Losses were seen to agree within 3e-7, weights within 4e-6 once trained. Adam's first steps divide gradients
# that are nearly 0 by their own size, rounding included, so that fresh adapters drift apart a little more: 2e-5.
LOSS, WEIGHTS, FRESH_WEIGHTS = 2e-6, 2e-5, 1e-4


@dataclass(frozen=True)
class Batch:
    names: list[str | None]
    ranks: dict[str, int]
    alpha_per_rank: float = 1.5  # no power of two: a scale that rounds


BATCHES = {
    "alone": Batch(["a", "a", "a"], {"a": 4}),
    "stacked": Batch(["a", "a", "b", "b", "c", "c"], {"a": 4, "b": 4, "c": 4}),
    "unequal": Batch(["a", "a", "a", "b", None, None, "c", "c"], {"a": 2, "b": 8, "c": 4}),
    "ranks": Batch(["a", "a", "b", "b"], {"a": 2, "b": 3}),
}


@pytest.mark.parametrize(
    ("attention", "fresh"), [("sdpa", True), ("sdpa", False), ("eager", True)], ids=["sdpa", "sdpa-trained", "eager"]
)
@pytest.mark.parametrize("batch", BATCHES.values(), ids=list(BATCHES))
@pytest.mark.parametrize("kind", list(TINY))
def test_training_gives_the_losses_and_weights_of_peft(kind: str, attention: str, batch: Batch, fresh: bool) -> None:
    base = tiny_base(kind, attention=attention)
    bank = AdapterBank(base)
    rows = {name: [i for i, other in enumerate(batch.names) if other == name] for name in batch.ranks}
    pairs: dict[str, tuple[Adapter, Any]] = {}
    for seed, (name, rank) in enumerate(batch.ranks.items()):
        adapter = trained(bank, name, rank, batch.alpha_per_rank * rank, seed)
        if fresh:
            adapter.initialise(seed)
        pairs[name] = adapter, with_peft(kind, adapter, attention=attention)
    before = {name: adapter.flat.clone() for name, (adapter, _) in pairs.items()}
    ours = {name: adamw([adapter.flat]) for name, (adapter, _) in pairs.items()}
    theirs = {name: adamw(list(peft_weights(model).values())) for name, (_, model) in pairs.items()}

    for step in range(STEPS):
        ids = random_ids(step, len(batch.names), WIDTH)
        with bank.rows(batch.names):
            logits = base.model(ids).logits
        losses = {name: loss(logits[at], ids[at]) for name, at in rows.items()}
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        for name, (adapter, model) in pairs.items():
            expected = loss(model(ids[rows[name]]).logits, ids[rows[name]])
            expected.backward()  # type: ignore[no-untyped-call]
            torch.testing.assert_close(losses[name], expected, rtol=LOSS, atol=0)
            ours[name].step()
            theirs[name].step()
            adapter.gradient.zero_()
            theirs[name].zero_grad()

    for name, (adapter, model) in pairs.items():
        assert (adapter.flat - before[name]).abs().max() > STEPS / 2 * 1e-3
        for (module, letter), weight in peft_weights(model).items():
            mine = (adapter.A if letter == "A" else adapter.B)[module]
            assert relative(mine, weight) <= (FRESH_WEIGHTS if fresh else WEIGHTS)


@pytest.mark.parametrize("attention", [NAME])
@pytest.mark.parametrize("kind", list(TINY))
def test_rows_without_an_adapter_are_the_bare_base_bit_for_bit(kind: str, attention: str) -> None:
    bank = AdapterBank(tiny_base(kind, attention=attention))
    for seed, name in enumerate("ab"):
        trained(bank, name, 2 + seed, seed=seed)
    ids = random_ids(0, 5, WIDTH)
    with bank.rows(["a", None, None, "b", "b"]), torch.no_grad():
        mixed = bank.base.model(ids).logits
    bare = TINY[kind](attention=attention)(ids[1:3]).logits
    assert torch.equal(mixed[1:3], bare)


def adamw(parameters: list[Tensor]) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)


def loss(logits_RTV: Tensor, ids_RT: Tensor) -> Tensor:
    return F.cross_entropy(logits_RTV[:, :-1].flatten(0, 1), ids_RT[:, 1:].flatten())


def relative(got: Tensor, expected: Tensor) -> float:
    return float(((got - expected).norm() / expected.norm()).detach())
