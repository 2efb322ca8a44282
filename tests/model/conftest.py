"""What the tests of the model share: one thread, our attention kernel, and the bundled model loaded once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gradatim.model import attention
from gradatim.model.base import Base, load_base


@pytest.fixture(autouse=True, scope="session")
def one_thread_and_our_kernel() -> Iterator[None]:
    """Tiny matrices are multiplied faster, and always in the same order, by one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    attention.register()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def bundled() -> Base:
    """The bundled model in fp32, from the cache of whoever runs the tests."""
    return load_base("bundled", dtype=torch.float32)
