"""A tiny random model to write with, and passages to write about."""

from __future__ import annotations

import pytest
import torch

from gradatim.model.bank import AdapterBank
from gradatim.types import Passage
from tests.tiny import tiny_base

TEXTS = (
    "The mill at Orrin opens at 5:30 in the morning.",
    "It is run by Tamsin Vole.",
    "Members pay a yearly fee of 40 dollars.",
)


@pytest.fixture(scope="session")
def bank() -> AdapterBank:
    torch.set_num_threads(1)
    return AdapterBank(tiny_base(max_position_embeddings=4096))


@pytest.fixture
def passages() -> list[Passage]:
    return [Passage(f"d:{index}", "d", text, "Mill rules > Hours") for index, text in enumerate(TEXTS)]
