"""The few-shot half of SEAL: puzzles become pairs as the lab model was taught them, edits choose what is studied."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from gradatim.learn.inner import InnerPlan
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.model.packing import Pair
from gradatim.model.scoring import grade
from gradatim.recipes.few_shot import KIND, LONGEST, MOST_POSITIONS, SETTINGS, GridDialect
from gradatim.recipes.rewards import Edit
from gradatim.recipes.seal import WRITER, SelfEdits, Settings
from gradatim.worlds.grid_edits import GridEdit
from gradatim.worlds.grids import KNOWN, NOVEL, Example, Puzzle, asking, invented, written
from gradatim.worlds.grids_lab import EDIT, GridLabSettings, pretrain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("lab") / "model"
    pretrain(GridLabSettings(width=32, layers=2, heads=2, inner=48, steps=8, batch=4), made)
    return made


@pytest.fixture
def bank(folder: Path) -> AdapterBank:
    return AdapterBank(load_base(str(folder), dtype=torch.float32))


PUZZLE = invented(random.Random(0), KNOWN)


def said(bank: AdapterBank, ids: object) -> str:
    return " ".join(bank.base.chat._tokenizer.convert_ids_to_tokens(list(ids)))  # type: ignore[call-overload]


def spelt(text: str) -> str:
    """Tokens of a grid text, apart."""
    return " ".join(word for line in text.split("\n") for word in (*(line if line.isdigit() else line.split()), "\n"))


def test_a_question_is_told_as_the_lab_model_was_taught(bank: AdapterBank) -> None:
    pair = GridDialect(bank.base.chat).question(PUZZLE)
    shown = "".join(
        spelt(asking(one.input))[:-1] + spelt(written(one.output))[:-1] + "<|end|> " for one in PUZZLE.train
    )
    asked = PUZZLE.test[0]
    tokens = said(bank, (*pair.prompt, *pair.target)).split(" ")
    expected = (shown + spelt(asking(asked.input))[:-1] + spelt(written(asked.output))[:-1] + "<|end|>").split(" ")
    assert tokens == expected
    assert said(bank, pair.target).split(" ") == (spelt(written(asked.output))[:-1] + "<|end|>").split(" ")


def test_all_tokens_are_the_same_text_with_other_labels(bank: AdapterBank) -> None:
    dialect = GridDialect(bank.base.chat)
    few, all_tokens = dialect.question(PUZZLE), dialect.question(PUZZLE, all_tokens=True)
    assert (*few.prompt, *few.target) == (*all_tokens.prompt, *all_tokens.target)
    assert len(all_tokens.prompt) == 1


def test_the_writer_sees_examples_and_not_the_question(bank: AdapterBank) -> None:
    dialect = GridDialect(bank.base.chat)
    other = Puzzle("other", PUZZLE.train, invented(random.Random(1), NOVEL).test)
    assert dialect.prompt(PUZZLE) == dialect.prompt(other)
    assert said(bank, dialect.prompt(PUZZLE)).replace(" ", "").endswith("<|end|>" + EDIT)


def test_an_edit_says_how_long_and_how_fast(bank: AdapterBank) -> None:
    dialect = GridDialect(bank.base.chat)
    once, twice = (dialect.edit(PUZZLE, GridEdit(epochs=epochs, learning_rate=0.01)) for epochs in (1, 2))
    assert once is not None
    assert twice is not None
    assert once.learning_rate == 0.01
    assert once.positions == sum(map(len, once.pairs))
    assert sum(map(len, twice.pairs)) * 2 == twice.positions
    longest = dialect.edit(PUZZLE, GridEdit(True, True, True, True, epochs=100))
    assert longest is not None
    assert longest.positions == MOST_POSITIONS
    assert dialect.read(PUZZLE, GridEdit(basic=True).text()) == dialect.edit(PUZZLE, GridEdit(basic=True))
    assert dialect.read(PUZZLE, "slow and steady") is None


def test_what_is_too_long_is_left_out_or_refused(bank: AdapterBank) -> None:
    dialect = GridDialect(bank.base.chat)
    wide = tuple(Example(((n,) * 12,) * 12, ((9,) * 12,) * 12) for n in range(2))
    puzzle = Puzzle("wide", wide, PUZZLE.test)
    assert dialect.edit(puzzle, GridEdit(basic=True)) is None
    with pytest.raises(ValueError, match=f"{LONGEST} tokens or fewer"):
        dialect.plain(puzzle)
    assert dialect.edit(Puzzle("one", PUZZLE.train[:1], PUZZLE.test), GridEdit()) is None
    assert dialect.plain(PUZZLE) == dialect.edit(PUZZLE, GridEdit())


def test_longer_edits_are_studied_longer(bank: AdapterBank) -> None:
    """On its own pairs: the same material, once and eight times over, at a rate that teaches."""
    dialect = GridDialect(bank.base.chat)
    edits = [dialect.edit(PUZZLE, GridEdit(learning_rate=0.01, epochs=epochs)) for epochs in (1, 8)]
    loop = SelfEdits(bank, dialect, SETTINGS)
    task = dialect.task(PUZZLE)
    jobs = [(edit, task, 0) for edit in edits if isinstance(edit, Edit)]

    def losses() -> list[float]:
        return [reward for reward, _ in loop.trials(jobs, lambda _: jobs[0][0].pairs)]

    once, eight = losses()
    (bare,) = grade(bank, [jobs[0][0].pairs], [None])
    assert eight > once > sum(one.log_probability for one in bare) / len(bare)
    assert losses() == pytest.approx([once, eight], rel=1e-4)


def test_a_round_on_puzzles_leaves_a_writer(bank: AdapterBank, monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = GridDialect(bank.base.chat)
    chance = random.Random(2)
    tasks = [dialect.task(invented(chance, NOVEL)) for _ in range(2)]
    settings = Settings(
        kinds=(KIND,), tried=3, seeds=1, finalists=1, final_seeds=1, inner=InnerPlan(rank=2, step_positions=280)
    )
    loop = SelfEdits(bank, dialect, settings)
    rates = (0.0003, 0.03)
    drafts = [[dialect.edit(task.passage, GridEdit(learning_rate=rate, epochs=1)) for rate in rates] for task in tasks]
    monkeypatch.setattr(loop, "write", lambda *_: drafts)  # an untrained model writes nothing that can be read
    report = loop.round(tasks, 0)
    assert WRITER in bank.adapters
    assert [one.task for one in report.tried] == [0, 0, 1, 1]
    assert all(one.edit.learning_rate in rates for one in report.kept)
    before, after = (
        [grades[0].log_probability for grades in grade(bank, [[pair] for pair in _written(dialect, report)], names)]
        for names in ([None, None], [WRITER, WRITER])
    )
    assert all(new > old for old, new in zip(before, after, strict=True))


def test_what_was_tried_on_some_chooses_among_untried_edits_of_others(
    bank: AdapterBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every puzzle tries two edits; slow ones are always better, and each puzzle has a slow one that it never tried."""
    dialect, chance = GridDialect(bank.base.chat), random.Random(2)
    tasks = [dialect.task(invented(chance, NOVEL)) for _ in range(4)]
    settings = Settings(kinds=(KIND,), tried=2, seeds=1, finalists=1, final_seeds=2, foreseen=True)
    loop = SelfEdits(bank, dialect, settings)
    rates = [(0.03, 0.01, 0.0003), (0.03, 0.0003, 0.01), (0.01, 0.0003, 0.03), (0.03, 0.01, 0.0003)]
    drafts = [
        [dialect.edit(task.passage, GridEdit(learning_rate=rate)) for rate in (own[0], *own)]
        for task, own in zip(tasks, rates, strict=True)
    ]
    monkeypatch.setattr(loop, "write", lambda *_: drafts)

    def heat(_: object, entered: list[tuple[Edit, int]], seeds: range, turn: int = 0) -> list[tuple[float, ...]]:
        return [tuple(-1000 * edit.learning_rate - seed / 100 for seed in seeds) for edit, _ in entered]

    monkeypatch.setattr(loop, "_heat", heat)
    report = loop.round(tasks, 0)
    assert [one.edit.learning_rate for one in report.tried] == [rate for own in rates for rate in own[:2]]
    assert {one.edit.learning_rate for one in report.kept} == {0.0003}
    assert [len(one.rewards) for one in report.kept] == [2, 3, 3, 2]
    assert report.trials == 4 * 2 + 4 * 2


def test_traits_are_the_settings(bank: AdapterBank) -> None:
    dialect = GridDialect(bank.base.chat)
    edit = dialect.edit(PUZZLE, GridEdit(size=True, learning_rate=0.003, epochs=4))
    assert isinstance(edit, Edit)
    assert dialect.traits(edit) == ("False", "True", "False", "False", "False", "0.003", "4")


def _written(dialect: GridDialect, report: object) -> list[Pair]:
    chat_ids = dialect._raw
    tried = report.kept  # type: ignore[attr-defined]
    assert all(one.task < other.task for one, other in pairwise(tried))
    chance = random.Random(2)
    puzzles = [invented(chance, NOVEL) for _ in range(2)]
    return [Pair(tuple(dialect.prompt(puzzles[one.task])), chat_ids(one.edit.text)) for one in tried]
