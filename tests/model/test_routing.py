"""Gates: which questions an adapter claims, and who answers when several do or none does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gradatim.errors import ModelError
from gradatim.model.bank import AdapterBank
from gradatim.model.routing import GATE_FILE, Gate, Router, features
from tests.model.reference import trained
from tests.tiny import tiny_base


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    torch.set_num_threads(1)
    made = AdapterBank(tiny_base())
    trained(made, "a")
    trained(made, "b", seed=1)
    return made


def cluster(centre: float, count: int, seed: int) -> Tensor:
    noise = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    return noise + centre * torch.tensor([1.0, -1.0] * 4)


def constant(logit: float) -> Gate:
    """A gate as sure of every question."""
    return Gate(torch.zeros(8), torch.ones(8), torch.zeros(8), torch.tensor([logit]))


def test_a_gate_parts_two_clusters_it_has_not_seen() -> None:
    gate = Gate.fit(cluster(2, 60, 0), cluster(-2, 200, 1))
    assert (gate(cluster(2, 100, 2)) > 0).float().mean() > 0.98
    assert (gate(cluster(-2, 100, 3)) > 0).float().mean() < 0.02


def test_the_classes_weigh_the_same_however_many_there_are() -> None:
    """Alike clusters, one of them ten times the other: half of each is claimed, not none of the smaller."""
    gate = Gate.fit(cluster(0, 40, 0), cluster(0, 400, 1), penalty=10.0)
    assert gate(cluster(0, 200, 2)).abs().max() < 0.5


def test_a_gate_survives_its_file(tmp_path: Path) -> None:
    gate = Gate.fit(cluster(1, 20, 0), cluster(-1, 20, 1))
    gate.save(tmp_path)
    loaded = Gate.load(tmp_path)
    inputs = cluster(0, 10, 2)
    assert torch.equal(loaded(inputs), gate(inputs))
    assert not loaded.weight.requires_grad


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_broken_gate_says_so(tmp_path: Path, damage: str) -> None:
    if damage == "cut":
        constant(0).save(tmp_path)
        file = tmp_path / GATE_FILE
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ModelError, match="not a readable gate"):
        Gate.load(tmp_path)


def test_no_gates_is_the_base(bank: AdapterBank) -> None:
    assert Router(bank, {}).claims(["Who?", "Where?"]) == [[], []]
    assert Router(bank, {}).claims_of(torch.zeros(3, 8)) == [[]] * 3
    assert Router(bank, {"a": constant(1)}).claims([]) == []


@pytest.mark.parametrize(
    ("logits", "taken"),
    [((1, 2), "ba"), ((2, 1), "ba"), ((1, 1), "ba"), ((0, 0), ""), ((-1, -2), ""), ((-1, 1), "b"), ((1, -1), "a")],
)
def test_gates_claim_the_newest_first_and_what_none_claims_is_the_bases(
    bank: AdapterBank, logits: tuple[float, float], taken: str
) -> None:
    router = Router(bank, {"a": constant(logits[0]), "b": constant(logits[1])})
    assert [[one.adapter for one in own] for own in router.claims_of(torch.randn(4, 8))] == [[*taken]] * 4


def test_an_adapter_without_a_gate_takes_everything(bank: AdapterBank) -> None:
    assert Router(bank, {"a": None, "b": constant(9)}).claims(["Who?"]) == [[("a", math.inf)]]
    assert Router(bank, {"a": None, "b": None}).claims(["Who?"]) == [[("b", math.inf)]]


def test_features_do_not_depend_on_company_and_are_those_of_the_base(bank: AdapterBank) -> None:
    asked = ["Who?", "Where is the ferry to Harrow?", "When does the mill open, and why at five?"]
    together = features(bank, asked)
    assert together.dtype == torch.float32
    torch.testing.assert_close(features(bank, asked[::-1]).flip(0), together, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.cat([features(bank, [one]) for one in asked]), together, rtol=0, atol=1e-5)
    opening, closing = bank.base.chat.frame
    ids = bank.base.chat.prompt(asked[1])
    with torch.no_grad():
        hidden = bank.base.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[1][0]
    torch.testing.assert_close(together[1], hidden[opening : len(ids) - closing].mean(0), rtol=0, atol=1e-5)
    with bank.rows(["a"]):
        torch.testing.assert_close(features(bank, asked[:1]), together[:1], rtol=0, atol=1e-5)


def test_a_question_is_routed_by_what_it_is_about(bank: AdapterBank) -> None:
    mine = [f"When does the mill open on day {i}?" for i in range(12)]
    others = [f"{i} apples and pears?" for i in range(12)]
    gate = Gate.fit(features(bank, mine[:8]), features(bank, others[:8]))
    claims = Router(bank, {"a": gate}).claims([*mine[8:], *others[8:]])
    assert [[one.adapter for one in own] for own in claims] == [["a"]] * 4 + [[]] * 4
    logits = gate(features(bank, mine[8:])).tolist()
    assert [own[0].logit for own in claims[:4]] == pytest.approx(logits, rel=1e-4)
