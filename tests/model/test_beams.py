"""Beam search is that of transformers, with the log-probabilities that scoring gives, alone as in company."""

from __future__ import annotations

import pytest
import torch

from gradatim.model.bank import AdapterBank
from gradatim.model.beams import Beam, Beams, beams
from gradatim.model.packing import Pair
from gradatim.model.sampling import Decoding, sample
from gradatim.model.scoring import score
from tests.model.reference import PEFT_IS_BEHIND, random_ids, trained, with_peft
from tests.tiny import tiny_base

PROMPTS = [random_ids(seed, 1, 3 + seed % 5)[0].tolist() for seed in range(6)]
WIDE = Beams(width=4, opening=7, within=float("inf"), max_tokens=7, batch=64)


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    torch.set_num_threads(1)
    made = AdapterBank(tiny_base())
    trained(made, "a", rank=2)
    trained(made, "b", seed=1)
    return made


@pytest.mark.filterwarnings(PEFT_IS_BEHIND)
def test_a_search_to_the_end_is_that_of_transformers(bank: AdapterBank) -> None:
    model = with_peft("llama", bank.adapters["b"])
    compared = 0
    for prompt in PROMPTS:
        (mine,) = beams(bank, [prompt], ["b"], WIDE)
        if any(len(beam.tokens) < 7 for beam in mine):
            continue  # transformers goes on searching when a reply has ended
        theirs = model.generate(
            input_ids=torch.tensor([prompt]),
            num_beams=4,
            num_return_sequences=4,
            max_new_tokens=7,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
            length_penalty=0.0,
        )
        assert [list(beam.tokens) for beam in mine] == theirs.sequences[:, len(prompt) :].tolist()
        torch.testing.assert_close(
            torch.tensor([beam.log_probability for beam in mine]), theirs.sequences_scores, rtol=1e-4, atol=1e-4
        )
        compared += 1
    assert compared >= 3


def test_log_probabilities_are_those_of_scoring(bank: AdapterBank) -> None:
    how = Beams(width=5, opening=3, within=float("inf"), max_tokens=6)
    end = min(bank.base.chat.end_tokens)
    for prompt, found in zip(PROMPTS, beams(bank, PROMPTS, ["a"] * 6, how), strict=True):
        assert len(found) == len({beam.tokens for beam in found}) == 5
        assert [beam.log_probability for beam in found] == sorted((b.log_probability for b in found), reverse=True)
        whole = [(*beam.tokens, end) if len(beam.tokens) < 6 else beam.tokens for beam in found]
        expected = score(bank, [Pair(tuple(prompt), tokens) for tokens in whole], "a")
        torch.testing.assert_close(
            torch.tensor([beam.log_probability for beam in found]), expected, rtol=1e-4, atol=1e-4
        )


def test_one_beam_is_greedy(bank: AdapterBank) -> None:
    names = ["a", None, "b", "a", None, "b"]
    found = beams(bank, PROMPTS, names, Beams(width=1, opening=4, max_tokens=12))
    greedy = sample(bank, PROMPTS, names, Decoding(max_tokens=12))
    assert [list(beam.tokens) for (beam,) in found] == greedy


def test_neighbours_make_no_difference(bank: AdapterBank) -> None:
    names = ["b", None, "a", "b", "a", None]
    how = Beams(width=3, opening=4, within=9.0, max_tokens=10, batch=7)  # two prompts at a time
    told: list[int] = []
    together = beams(bank, PROMPTS, names, how, told.append)
    assert sum(told) == len(PROMPTS)
    for prompt, name, mine in zip(PROMPTS, names, together, strict=True):
        (alone,) = beams(bank, [prompt], [name], how)
        assert [beam.tokens for beam in alone] == [beam.tokens for beam in mine]


def test_unlikely_openings_are_dropped(bank: AdapterBank) -> None:
    def openings(within: float) -> list[Beam]:
        return beams(bank, PROMPTS[:1], ["a"], Beams(width=6, opening=3, within=within, max_tokens=3))[0]

    everything = openings(float("inf"))
    assert len(everything) == 6
    best, middle = everything[0].log_probability, everything[2].log_probability
    assert [beam.tokens for beam in openings(best - middle + 1e-3)] == [beam.tokens for beam in everything[:3]]
    assert [beam.tokens for beam in openings(0.0)] == [everything[0].tokens]


def test_nothing_asked(bank: AdapterBank) -> None:
    assert beams(bank, [], [], WIDE) == []
