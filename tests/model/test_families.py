"""Modules with one input, computed together: which they are, and that it makes no difference."""

from __future__ import annotations

import torch

from gradatim.model.adapter import Adapter, families
from gradatim.model.bank import AdapterBank
from tests.tiny import tiny_base


def test_only_whole_families_are_put_together() -> None:
    block = "model.layers.0."
    attention = [f"{block}self_attn.{name}_proj" for name in "kovq"]
    assert families(attention) == [tuple(f"{block}self_attn.{name}_proj" for name in "qkv"), (attention[1],)]
    assert families(attention[1:]) == [(name,) for name in attention[1:]]  # without k
    assert families(["h.0.attn.c_attn", f"{block}mlp.up_proj"]) == [("h.0.attn.c_attn",), (f"{block}mlp.up_proj",)]


def test_an_adapter_on_some_of_a_family_beside_one_on_all_of_it() -> None:
    bank = AdapterBank(tiny_base("llama"))
    shapes = bank.shapes()
    some = [shape for shape in shapes if shape.name.endswith(("q_proj", "v_proj", "up_proj"))]
    for seed, (name, on) in enumerate({"all": shapes, "some": some}.items()):
        adapter = bank.add(name, Adapter(on, 4, 8.0, "cpu").initialise(seed))
        adapter.flat.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(seed))
    ids = torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(2))

    def computed(names: list[str], rows: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        for name in names:
            bank.adapters[name].gradient.zero_()
        with bank.rows(names):
            logits = bank.base.model(rows).logits
        logits.square().sum().backward()
        return logits.detach(), [bank.adapters[name].gradient.clone() for name in names]

    both, gradients = computed(["all", "some"], ids)
    for row, name in enumerate(("all", "some")):
        alone, (gradient,) = computed([name], ids[row : row + 1])
        torch.testing.assert_close(both[row], alone[0], rtol=1e-5, atol=1e-5)
        assert (gradients[row] - gradient).abs().max() <= 1e-5 * gradient.abs().max()
    bank.detach()
