"""The norm as one node beside transformers' own, under autograd."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from gradatim.model.bank import AdapterBank
from gradatim.model.norms import as_it_was, norms_of, run_as_one_node
from tests.tiny import tiny_base


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-6), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_same_bits_forward_and_the_gradient_of_autograd(dtype: torch.dtype, close: float) -> None:
    torch.manual_seed(0)
    norm = LlamaRMSNorm(24).to(dtype).requires_grad_(False)
    norm.weight.uniform_(0.5, 1.5)
    theirs, ours = (torch.randn(3, 5, 24, dtype=dtype, generator=_seeded()).requires_grad_() for _ in range(2))
    back = torch.randn(3, 5, 24, dtype=dtype, generator=_seeded())
    expected = norm(theirs)
    expected.backward(back)
    run_as_one_node(norm)
    found = norm(ours)
    found.backward(back)
    as_it_was(norm)
    assert torch.equal(found, expected)
    assert "forward" not in vars(norm)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=close, atol=close)


def test_a_bank_gives_its_norms_back() -> None:
    base = tiny_base("llama")
    found = list(norms_of(base.model))
    assert len(found) == 2 * base.model.config.num_hidden_layers + 1
    bank = AdapterBank(base)
    assert all("forward" in vars(norm) for norm in found)
    bank.detach()
    assert not any("forward" in vars(norm) for norm in found)


def test_layer_norms_are_left_alone() -> None:
    assert list(norms_of(tiny_base("gpt2").model)) == []


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)
