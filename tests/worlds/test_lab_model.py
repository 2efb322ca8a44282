"""The lab model that is kept with the benchmarks: it knows its people and reads a passage about a stranger."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.model.packing import Pair
from gradatim.model.scoring import grade
from gradatim.worlds.biographies import HELD_OUT, passage, people, questions
from gradatim.worlds.lab import READ, LabSettings, known_people

FOLDER = Path(__file__).parents[2] / "benchmarks" / "lab" / "one-wording"
SETTINGS = LabSettings(**json.loads((FOLDER / "training.json").read_text())["settings"])


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    return AdapterBank(load_base(str(FOLDER), dtype=torch.float32))


def right(bank: AdapterBank, asked: list[tuple[list[int], str]]) -> float:
    pairs = [Pair(tuple(prompt), tuple(bank.base.chat.target("", answer))) for prompt, answer in asked]
    (grades,) = grade(bank, [pairs], [None])
    return sum(one.greedy for one in grades) / len(grades)


def test_it_is_small_and_was_made_as_it_says(bank: AdapterBank) -> None:
    report = json.loads((FOLDER / "training.json").read_text())
    assert bank.base.model.num_parameters() == report["parameters"] < 6_000_000
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 12 * 2**20


def test_it_answers_about_those_it_was_asked_about_and_not_about_strangers(bank: AdapterBank) -> None:
    known = known_people(SETTINGS)
    strangers = people(40, random.Random(5), {person.name for person in known})
    shares = [
        right(bank, [(bank.base.chat.prompt(q.text), q.answer) for person in group for q in questions(person, 0)])
        for group in (known[:40], strangers)
    ]
    assert shares[0] > 0.9
    assert shares[1] < 0.1


def test_it_reads(bank: AdapterBank) -> None:
    strangers = people(40, random.Random(6), {person.name for person in known_people(SETTINGS)})
    asked = [
        (bank.base.chat.raw(READ.format(passage=passage(person), question=f"Question: {q.text}\nAnswer:")), q.answer)
        for person in strangers
        for q in questions(person, HELD_OUT)
    ]
    assert right(bank, asked) > 0.95
