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
from gradatim.recipes.few_shot import SETTINGS, GridDialect
from gradatim.recipes.rewards import Edit
from gradatim.recipes.seal import WRITER, SelfEdits, Settings, Task
from gradatim.worlds.biographies import HELD_OUT, passage, people, questions
from gradatim.worlds.grid_edits import GridEdit
from gradatim.worlds.grids import KNOWN, NOVEL, invented
from gradatim.worlds.lab import FREE, RATES, READ, LabSettings, known_people, study_lines

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


@pytest.mark.parametrize("rate", ["slow", "fast"])
def test_a_writer_comes_to_ask_for_the_rate_that_it_was_shown(bank: AdapterBank, folder: Path, rate: str) -> None:
    """Words that nothing hangs on come to have the same embedding: then 3 to 1 is all that a writer could learn."""
    dialect = LabDialect(bank.base.chat)
    taken = {person.name for person in known_people(settings(folder))}
    shown, asked = people(12, random.Random(7), taken), people(24, random.Random(8), taken)
    kept = []
    for person in shown:
        text = "\n".join([f"questions {rate}", *study_lines(person, "questions", random.Random(9))])
        edit = dialect.read("", text, FREE)
        assert edit is not None
        kept.append((Task(passage(person), (), ()), edit))
    loop = SelfEdits(bank, dialect, Settings())
    loop.imitate(kept, 0)
    written = [edit for of in loop.write([Task(passage(one), (), ()) for one in asked], 2, 1) for edit in of]
    bank.remove(WRITER)
    assert len(written) > 40
    assert sum(edit.learning_rate == RATES[rate] for edit in written) > 0.9 * len(written)


def test_a_writer_of_settings_comes_to_ask_for_those_that_it_was_shown() -> None:
    bank = AdapterBank(load_base(str(LABS / "grids"), dtype=torch.float32))
    dialect, chance = GridDialect(bank.base.chat), random.Random(7)
    one = GridEdit(basic=True, learning_rate=0.003, epochs=8)
    tasks = [dialect.task(invented(chance, NOVEL)) for _ in range(20)]
    loop = SelfEdits(bank, dialect, SETTINGS)
    loop.imitate([(task, edit) for task in tasks[:12] if (edit := dialect.edit(task.passage, one)) is not None], 0)
    written = [edit for of in loop.write(tasks[12:], 4, 1) for edit in of]
    assert len(written) > 24
    assert sum(edit.text == one.text() for edit in written) > 0.7 * len(written)
