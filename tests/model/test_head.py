"""Log-probabilities and their slopes beside torch's own cross entropy."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradatim.model import head as heads
from gradatim.model.head import log_probabilities_of


@pytest.mark.parametrize("labels", [1, 7, 8, 50])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_cross_entropy(
    labels: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "chunk_labels", lambda vocabulary: 8)
    torch.manual_seed(0)
    head = nn.Linear(16, 40, bias=bias).requires_grad_(False)
    hidden, labels_L, weights = torch.randn(labels, 16), torch.randint(0, 40, (labels,)), torch.randn(labels)
    ours, theirs = (hidden.clone().requires_grad_() for _ in range(2))
    values = log_probabilities_of(ours, head, labels_L)
    expected = -F.cross_entropy(head(theirs), labels_L, reduction="none")
    torch.testing.assert_close(values, expected)
    (values * weights).sum().backward()  # type: ignore[no-untyped-call]
    (expected * weights).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_label_that_is_all_but_impossible_keeps_its_value() -> None:
    head = nn.Linear(2, 3, bias=False).requires_grad_(False)
    head.weight.copy_(torch.tensor([[400.0, 0.0], [0.0, 0.0], [-300.0, 0.0]]))
    values = log_probabilities_of(torch.tensor([[1.0, 0.0]] * 3), head, torch.tensor([0, 1, 2]))
    assert values.tolist() == [0.0, -400.0, -700.0]


def test_in_bf16_the_value_is_that_of_the_rounded_logits() -> None:
    torch.manual_seed(0)
    head = nn.Linear(32, 500, bias=False).to(torch.bfloat16).requires_grad_(False)
    hidden, labels_L = torch.randn(9, 32).to(torch.bfloat16), torch.randint(0, 500, (9,))
    expected = -F.cross_entropy(head(hidden).float(), labels_L, reduction="none")
    torch.testing.assert_close(log_probabilities_of(hidden, head, labels_L), expected, rtol=0, atol=2e-5)
