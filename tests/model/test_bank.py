"""The bank: rows and their adapters, neighbours that don't matter, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradatim.errors import ModelError
from gradatim.model.adapter import Adapter, ModuleShape
from gradatim.model.attention import NAME
from gradatim.model.bank import AdapterBank, BankLinear
from tests.model.reference import random_ids, trained
from tests.tiny import TINY, tiny_base


@pytest.fixture
def bank() -> AdapterBank:
    bank = AdapterBank(tiny_base())
    trained(bank, "a", seed=0)
    trained(bank, "b", seed=1)
    return bank


def gradients(bank: AdapterBank, names: list[str | None], ids: Tensor) -> dict[str, Tensor]:
    """Each adapter's gradient of the sum of all rows' losses."""
    for adapter in bank.adapters.values():
        adapter.gradient.zero_()
    with bank.rows(names):
        logits = bank.base.model(ids).logits
    F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
    return {name: adapter.gradient.clone() for name, adapter in bank.adapters.items()}


# ------------------------------------------------------------------ neighbours

SHAPES: dict[str, tuple[list[str | None], dict[str, int]]] = {
    "stacked": (["a", "a", "b", "b"], {"a": 4, "b": 4}),
    "unequal": (["a", "b", "b", "b"], {"a": 4, "b": 4}),
    "ranks": (["a", "a", "b", "b"], {"a": 2, "b": 8}),
    "base between": (["a", None, None, "b"], {"a": 4, "b": 4}),
}


@pytest.mark.parametrize(("names", "ranks"), SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", list(TINY))
def test_a_gradient_does_not_depend_on_the_neighbours_data_or_weights(
    kind: str, attention: str, names: list[str | None], ranks: dict[str, int]
) -> None:
    bank = AdapterBank(tiny_base(kind, attention=attention))
    for seed, (name, rank) in enumerate(ranks.items()):
        trained(bank, name, rank, seed=seed)
    mine = [i for i, name in enumerate(names) if name == "a"]
    ids, others = random_ids(0, len(names), 10), random_ids(1, len(names), 10)
    others[mine] = ids[mine]
    before = gradients(bank, names, ids)
    bank.adapters["b"].flat.mul_(-3)
    after = gradients(bank, names, others)
    assert torch.equal(after["a"], before["a"])  # bit for bit
    assert not torch.allclose(after["b"], before["b"])


@pytest.mark.parametrize("kind", list(TINY))
def test_a_gradient_does_not_depend_on_how_many_neighbours_there_are(kind: str) -> None:
    # Not bit for bit: the base's matrix products may be summed in another order when the batch has another size.
    bank = AdapterBank(tiny_base(kind))
    for seed, name in enumerate("abc"):
        trained(bank, name, seed=seed)
    ids = random_ids(0, 6, 10)
    alone = gradients(bank, ["a", "a"], ids[:2])["a"]
    stacked = (
        gradients(bank, ["a", "a", "b", "b", "c", "c"], ids)["a"] * 3
    )  # the mean loss is over three times the rows
    pieces = gradients(bank, ["a", "a", "b", "b", "b", None], ids)["a"] * 3
    for got in (stacked, pieces):
        assert (got - alone).abs().max() <= 1e-5 * alone.abs().max()


def test_no_gradient_falls_on_the_base_or_on_an_absent_adapter(bank: AdapterBank) -> None:
    found = gradients(bank, ["a", "a", None], random_ids(0, 3, 8))
    assert found["a"].abs().max() > 0
    assert found["b"].abs().max() == 0
    assert all(parameter.grad is None for parameter in bank.base.model.parameters())


# ------------------------------------------------------------------ rows


def test_rows_hold_only_within_the_context(bank: AdapterBank) -> None:
    ids = random_ids(0, 2, 8)
    bare = bank.base.model(ids).logits
    with bank.rows(["a", "a"]):
        mine = bank.base.model(ids).logits
        with bank.rows(["b", "b"]):
            inner = bank.base.model(ids).logits
        assert torch.equal(bank.base.model(ids).logits, mine)
    with pytest.raises(RuntimeError, match="on purpose"), bank.rows(["b", "b"]):
        raise RuntimeError("on purpose")
    assert torch.equal(bank.base.model(ids).logits, bare)
    assert torch.equal(TINY["llama"](attention=NAME)(ids).logits, bare)
    assert min((mine - bare).abs().max(), (inner - bare).abs().max(), (inner - mine).abs().max()) > 0.01


@pytest.mark.parametrize("names", [["a", "b", "a"], [None, "a", None]])
def test_rows_of_one_adapter_stand_together(bank: AdapterBank, names: list[str | None]) -> None:
    with pytest.raises(ValueError, match="not contiguous"), bank.rows(names):
        pass


def test_an_unknown_adapter_is_refused_and_names_are_not_reused(bank: AdapterBank) -> None:
    with pytest.raises(ModelError, match="no adapter named c"), bank.rows(["a", "c"]):
        pass
    with pytest.raises(ModelError, match="already holds an adapter named a"):
        bank.add("a", bank.adapters["a"])
    bank.remove("b")
    with pytest.raises(ModelError, match="no adapter named b"), bank.rows(["b"]):
        pass


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "b"], ["a", "a", "b", "b", "b", None]])
def test_a_batch_with_another_number_of_rows_is_refused(bank: AdapterBank, names: list[str | None]) -> None:
    with pytest.raises(ValueError, match=f"got 4 rows, {len(names)} were named"), bank.rows(names):
        bank.base.model(random_ids(0, 4, 8))


@pytest.mark.parametrize("layers", [range(1), range(1, 2)])
def test_an_adapter_may_sit_on_some_layers_only(bank: AdapterBank, layers: range) -> None:
    part = trained(bank, "part", seed=5, layers=layers)
    assert {module.split(".")[2] for module in part.modules} == {str(layers.start)}
    ids = random_ids(0, 4, 8)
    with bank.rows(["a", "a", "part", "part"]):
        mixed = bank.base.model(ids).logits
    for name, rows in (("a", slice(0, 2)), ("part", slice(2, 4))):
        with bank.rows([name, name]):
            torch.testing.assert_close(mixed[rows], bank.base.model(ids[rows]).logits, rtol=0, atol=1e-5)


# ------------------------------------------------------------------ attaching


@pytest.mark.parametrize("kind", list(TINY))
def test_the_bank_attaches_to_every_linear_layer_but_the_head(kind: str) -> None:
    plain = TINY[kind]()
    expected = {
        name: (module.weight.shape[::-1] if kind == "gpt2" else module.weight.shape)
        for name, module in plain.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and name != "lm_head"
    }
    shapes = AdapterBank(tiny_base(kind)).shapes()
    assert {shape.name: (shape.features_out, shape.features_in) for shape in shapes} == expected
    assert {shape.transposed for shape in shapes} == {kind == "gpt2"}


def test_detach_gives_the_base_its_own_layers_back() -> None:
    base = tiny_base()
    before = dict(base.model.named_modules())
    ids = random_ids(0, 2, 8)
    bank = AdapterBank(base)
    trained(bank, "a")
    with pytest.raises(ModelError, match="already has a bank"):
        AdapterBank(base)
    bank.detach()
    assert dict(base.model.named_modules()) == before
    assert not any(isinstance(module, BankLinear) for module in base.model.modules())
    assert torch.equal(base.model(ids).logits, TINY["llama"]()(ids).logits)
    assert AdapterBank(base).shapes()


def test_an_adapter_made_for_another_base_is_refused(bank: AdapterBank) -> None:
    other = AdapterBank(tiny_base("gpt2")).shapes()
    wider = [ModuleShape("model.layers.0.mlp.up_proj", 33, 48)]
    for shapes in (other, wider):
        with pytest.raises(ModelError, match="Adapter c was made for another base"):
            bank.add("c", Adapter(shapes, 4, 8.0, "cpu"))


# ------------------------------------------------------------------ the flat tensor


def test_all_weights_and_gradients_are_views_of_two_tensors(bank: AdapterBank) -> None:
    adapter = bank.adapters["a"]
    assert sum(weight.numel() for weight in adapter.parameters()) == adapter.flat.numel()
    gradients(bank, ["a"], random_ids(0, 1, 8))
    inside = sum(float(weight.grad.square().sum()) for weight in adapter.parameters() if weight.grad is not None)
    assert inside == pytest.approx(float(adapter.gradient.square().sum()), rel=1e-5)
    assert adapter.flat.grad is adapter.gradient
    adapter.flat.fill_(7)
    assert all(bool((weight == 7).all()) for weight in adapter.parameters())


def test_gradients_add_up_over_batches(bank: AdapterBank) -> None:
    ids = random_ids(0, 1, 8)
    once = gradients(bank, ["a"], ids)["a"]
    with bank.rows(["a"]):
        logits = bank.base.model(ids).logits
    F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
    assert torch.equal(bank.adapters["a"].gradient, 2 * once)


def test_initialisation_is_pefts_and_depends_on_the_seed_alone() -> None:
    shapes = [ModuleShape("wide", 400, 30), ModuleShape("narrow", 25, 30)]
    adapter = Adapter(shapes, 50, 50.0, "cpu").initialise(3)
    reference = nn.Linear(400, 50, bias=False)
    nn.init.kaiming_uniform_(reference.weight, a=5**0.5)
    for shape in shapes:
        A, bound = adapter.A[shape.name].detach(), shape.features_in**-0.5
        assert bound * 0.95 < A.abs().max() <= bound
        assert float(A.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
        assert adapter.B[shape.name].abs().max() == 0
    assert float(adapter.A["wide"].detach().std()) == pytest.approx(float(reference.weight.detach().std()), rel=0.05)
    torch.manual_seed(99)
    assert torch.equal(Adapter(shapes, 50, 50.0, "cpu").initialise(3).flat, adapter.flat)
    assert not torch.equal(Adapter(shapes, 50, 50.0, "cpu").initialise(4).flat, adapter.flat)


# ------------------------------------------------------------------ stacks


@pytest.mark.filterwarnings("ignore:grad and param do not obey the gradient layout contract")
@pytest.mark.parametrize("alphas", [(6.0, 6.0, 6.0), (6.0, 2.0, 4.0)])
def test_a_stack_gives_the_gradients_of_its_members(alphas: tuple[float, ...]) -> None:
    bank = AdapterBank(tiny_base())
    for seed, (name, alpha) in enumerate(zip("abc", alphas, strict=True)):
        trained(bank, name, alpha=alpha, seed=seed)
    names: list[str | None] = ["a", "a", "b", "b", "c", "c"]
    ids = random_ids(0, 6, 10)
    apart, weights = gradients(bank, names, ids), {name: bank.adapters[name].flat.clone() for name in "abc"}
    stack = bank.stack(["a", "b", "c"])
    assert stack is not None
    assert stack is bank.stack(["a", "b", "c"])
    together = gradients(bank, names, ids)
    for row, name in enumerate("abc"):
        assert torch.equal(bank.adapters[name].flat, weights[name])
        assert torch.equal(stack.gradient_NP[row], together[name])
        assert (together[name] - apart[name]).abs().max() <= 1e-6 * apart[name].abs().max()
    other_order = gradients(bank, ["c", "c", "a", "a", "b", "b"], ids)  # not the stack's: computed apart
    assert not torch.allclose(other_order["a"], together["a"])


@pytest.mark.filterwarnings("ignore:grad and param do not obey the gradient layout contract")
def test_one_that_leaves_a_stack_takes_its_optimizer_along() -> None:
    ids = random_ids(0, 3, 10)
    left: list[Tensor] = []
    for stacked in (False, True):
        bank = AdapterBank(tiny_base())
        optimizers = {}
        for seed, name in enumerate("abc"):
            optimizers[name] = torch.optim.AdamW([trained(bank, name, seed=seed).flat], lr=1e-2, fused=True)
        for present in ("abc", "abc", "ac", "ac"):
            if stacked:
                bank.stack(list(present))
            gradients(bank, list(present), ids[: len(present)])
            for name in present:
                optimizers[name].step()
        left.append(torch.cat([bank.adapters[name].flat for name in "abc"]))
    assert torch.allclose(left[0], left[1], atol=1e-5)


def test_unlike_adapters_and_a_single_one_are_not_stacked(bank: AdapterBank) -> None:
    trained(bank, "wide", rank=8)
    assert bank.stack(["a", "wide"]) is None
    assert bank.stack(["a"]) is None
