"""The lab models that are kept with the benchmarks know their people, read about strangers, and see rules of colour."""

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
from gradatim.recipes.dialects import LabDialect
from gradatim.recipes.few_shot import GridDialect
from gradatim.recipes.rewards import Edit
from gradatim.recipes.seal import SelfEdits, Settings, Task
from gradatim.worlds.biographies import HELD_OUT, passage, people, questions
from gradatim.worlds.grids import KNOWN, NOVEL, invented
from gradatim.worlds.lab import READ, LabSettings, known_people

LABS = Path(__file__).parents[2] / "benchmarks" / "lab"


def settings(folder: Path) -> LabSettings:
    return LabSettings(**json.loads((folder / "training.json").read_text())["settings"])


@pytest.fixture(scope="module", params=["one-wording", "six-wordings"])
def folder(request: pytest.FixtureRequest) -> Path:
    return LABS / str(request.param)


@pytest.fixture(scope="module")
def bank(folder: Path) -> AdapterBank:
    return AdapterBank(load_base(str(folder), dtype=torch.float32))


def right(bank: AdapterBank, asked: list[tuple[list[int], str]]) -> float:
    pairs = [Pair(tuple(prompt), tuple(bank.base.chat.target("", answer))) for prompt, answer in asked]
    (grades,) = grade(bank, [pairs], [None])
    return sum(one.greedy for one in grades) / len(grades)


@pytest.mark.parametrize("name", ["one-wording", "six-wordings", "grids"])
def test_it_is_small_and_was_made_as_it_says(name: str) -> None:
    report = json.loads((LABS / name / "training.json").read_text())
    model = load_base(str(LABS / name), dtype=torch.float32).model
    assert model.num_parameters() == report["parameters"] < 6_000_000
    assert sum(file.stat().st_size for file in (LABS / name).iterdir()) < 12 * 2**20


def test_it_answers_about_those_it_was_asked_about_and_not_about_strangers(bank: AdapterBank, folder: Path) -> None:
    known = known_people(settings(folder))
    strangers = people(40, random.Random(5), {person.name for person in known})
    shares = [
        right(bank, [(bank.base.chat.prompt(q.text), q.answer) for person in group for q in questions(person, 0)])
        for group in (known[:40], strangers)
    ]
    assert shares[0] > 0.9
    assert shares[1] < 0.1


def test_it_reads(bank: AdapterBank, folder: Path) -> None:
    strangers = people(40, random.Random(6), {person.name for person in known_people(settings(folder))})
    asked = [
        (bank.base.chat.raw(READ.format(passage=passage(person), question=f"Question: {q.text}\nAnswer:")), q.answer)
        for person in strangers
        for q in questions(person, HELD_OUT)
    ]
    assert right(bank, asked) > 0.95


def test_rules_of_colour_are_seen_in_examples_and_novel_ones_are_not() -> None:
    """What the benchmark rests on: there is something to build on, and something left to learn."""
    bank = AdapterBank(load_base(str(LABS / "grids"), dtype=torch.float32))
    dialect, chance = GridDialect(bank.base.chat), random.Random(7)
    colours = {name: KNOWN[name] for name in ("swap colours", "paint")}
    shares = []
    for families in (colours, NOVEL):
        pairs = [dialect.question(invented(chance, families)) for _ in range(40)]
        (grades,) = grade(bank, [pairs], [None])
        shares.append(sum(one.greedy for one in grades) / len(grades))
    assert shares[0] > 0.7
    assert shares[1] < 0.3


def test_with_the_passage_in_view_it_doubts_what_it_wrote_wrong(bank: AdapterBank, folder: Path) -> None:
    """Of the lines it writes about strangers most wrong ones go and most right ones stay."""
    strangers = people(6, random.Random(6), {person.name for person in known_people(settings(folder))})
    loop = SelfEdits(bank, LabDialect(bank.base.chat), Settings())
    tasks = [Task(passage(person), (), ()) for person in strangers]
    written = loop.write(tasks, 8, seed=1)
    left = [loop.believable(task, edits, 1.0) for task, edits in zip(tasks, written, strict=True)]

    def lines(drafts: list[list[Edit]], right: bool) -> int:
        return sum(
            any(value in line for value in person.facts.values()) == right
            for person, edits in zip(strangers, drafts, strict=True)
            for edit in edits
            for line in edit.text.split("\n")[1:]
        )

    assert lines(written, False) > 50
    assert lines(left, False) < 0.15 * lines(written, False)
    assert lines(left, True) > 0.7 * lines(written, True)
