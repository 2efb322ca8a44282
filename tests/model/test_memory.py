"""The formula beside what is really kept: by tensors, by autograd, and by the system's own count of a process."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
import torch

from gradatim.errors import ModelError
from gradatim.learn import Trainer
from gradatim.model import allocation
from gradatim.model.adapter import Adapter, ModuleShape
from gradatim.model.bank import AdapterBank
from gradatim.model.memory import StepCost, _kept, adapter_bytes
from gradatim.model.packing import Pair, pack
from tests.model.reference import random_pairs
from tests.tiny import TINY, tiny_base


def made(kind: str = "llama") -> AdapterBank:
    bank = AdapterBank(tiny_base(kind))
    bank.add("a", Adapter(bank.shapes(), 4, 8.0, "cpu").initialise(0))
    return bank


def test_an_adapter_takes_sixteen_bytes_a_weight() -> None:
    bank = made()
    adapter = bank.adapters["a"]
    optimizer = torch.optim.AdamW([adapter.flat], fused=True)
    adapter.gradient.fill_(1.0)
    optimizer.step()
    tensors = [adapter.flat, adapter.gradient, *(v for v in optimizer.state[adapter.flat].values() if v.numel() > 1)]
    assert sum(tensor.nbytes for tensor in tensors) == adapter_bytes(bank.shapes(), 4) == 16 * adapter.flat.numel()
    assert adapter_bytes(bank.shapes(), 4, trained=False) == 8 * adapter.flat.numel()


@pytest.mark.parametrize("kind", list(TINY))
@pytest.mark.parametrize(("texts", "tokens"), [(20, 10), (3, 100), (40, 20)])
def test_what_a_step_keeps_grows_by_the_formula(kind: str, texts: int, tokens: int) -> None:
    bank = made(kind)
    cost = StepCost.measure(bank, "a")
    packed = pack([Pair((3,), (4 + text, *[5] * (tokens - 2))) for text in range(texts)])
    assert cost.of(packed) - len(packed.labels_L) * cost.label - cost.head == pytest.approx(
        _kept(bank, packed, "a"), rel=0.01
    )


SCRIPT = """
import torch
from gradatim.learn import Trainer
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.memory import StepCost
from gradatim.model.packing import Pair, pack
from tests.tiny import tiny_base

torch.set_num_threads(1)
bank = AdapterBank(tiny_base(hidden_size=256, intermediate_size=512, num_hidden_layers=4, vocab_size=4000))
bank.add("a", Adapter(bank.shapes(), 4, 8.0, "cpu").initialise(0))
trainer = Trainer(bank)
trainer.join("a", learning_rate=1e-3)

def peak(texts):
    pairs = [Pair((3,), (4 + text, *[5] * 30)) for text in range(texts)]
    trainer.step({"a": pairs}, lambda labels: -labels.log_probability_L.sum())
    status = dict(line.split(":") for line in open("/proc/self/status"))  # ru_maxrss would count the parent's
    return int(status["VmHWM"].split()[0]) * 1024, StepCost.measure(bank, "a").of(pack(pairs))

(before, small), (after, large) = peak(32), peak(256)
print((after - before) / (large - small))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_process_grows_by_what_the_formula_says() -> None:
    # Every tensor mapped by itself and given back at once, so that the heap's holes are not counted.
    exact = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=os.environ | exact
    )
    assert 0.75 < float(run.stdout) < 1.25


def test_what_does_not_fit_is_refused_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = [ModuleShape("model.layers.0.mlp.gate_proj", 2**20, 2**20)]
    with pytest.raises(ModelError, match=r"An adapter of rank 1000000 needs 15625\.0 GiB and .* GiB are free"):
        Adapter(huge, 10**6, 1.0, "cpu")
    bank = made()
    trainer = Trainer(bank)
    trainer.join("a", learning_rate=1e-3)
    before = bank.adapters["a"].flat.detach().clone()
    monkeypatch.setattr(allocation, "free_bytes", lambda device: 1000)
    with pytest.raises(ModelError, match=r"A step of 1 adapters on .* take fewer"):
        trainer.step({"a": random_pairs(0, 3, 3)}, lambda labels: -labels.log_probability_L.sum())
    assert torch.equal(bank.adapters["a"].flat, before)
    monkeypatch.undo()
    assert 0 < allocation.free_bytes(torch.device("cpu")) <= psutil.virtual_memory().total
