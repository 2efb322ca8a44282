"""Grid puzzles: rules against numpy, ARC's files in and out, what self-edits make of a puzzle."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradatim.errors import InputError
from gradatim.model.base import load_base
from gradatim.worlds.grid_edits import BASIC, EPOCHS, MOST, RATES, REPEAT, SIZE, GridEdit, studied
from gradatim.worlds.grids import (
    COLOURS,
    GEOMETRY,
    KNOWN,
    NOVEL,
    SHOWN,
    SIZES,
    Example,
    Grid,
    Puzzle,
    Rule,
    asking,
    beside,
    enlarged,
    headed,
    invented,
    inverted,
    load,
    marked,
    read,
    recoloured,
    shifted,
    written,
)
from gradatim.worlds.grids_lab import EDIT, GridCorpus, GridLabSettings, make_tokenizer, pretrain
from gradatim.worlds.pretraining import UNKNOWN

grids = st.integers(1, 5).flatmap(
    lambda columns: st.lists(
        st.lists(st.integers(0, 9), min_size=columns, max_size=columns), min_size=1, max_size=5
    ).map(lambda rows: tuple(map(tuple, rows)))
)


def grid_of(array: Any) -> Grid:
    return tuple(tuple(int(cell) for cell in row) for row in array)


NUMPY: dict[str, Any] = {
    "flip": np.fliplr,
    "upend": np.flipud,
    "turn": lambda a: np.rot90(a, -1),
    "turn twice": lambda a: np.rot90(a, 2),
    "turn back": np.rot90,
    "transpose": np.transpose,
    "transpose the other way": lambda a: np.rot90(a, 2).T,
}


@given(grids)
def test_geometry_is_numpys(grid: Grid) -> None:
    array = np.array(grid)
    assert NUMPY.keys() == GEOMETRY.keys()
    for name, rule in GEOMETRY.items():
        assert rule(grid) == grid_of(NUMPY[name](array)), name


@given(grids, st.permutations(range(COLOURS)), st.integers(1, 3), st.integers(1, 3))
def test_the_other_changes_are_numpys(grid: Grid, colours: list[int], rows: int, columns: int) -> None:
    array = np.array(grid)
    assert recoloured(grid, colours) == grid_of(np.array(colours)[array])
    assert enlarged(grid, rows, columns) == grid_of(np.kron(array, np.ones((rows, columns), int)))
    assert beside(grid, grid) == grid_of(np.hstack([array, array]))
    assert shifted(grid) == grid_of(np.roll(array, 1, axis=1))
    assert inverted(grid, 7) == grid_of(np.where(array == 0, 7, 0))
    rim, first = np.full_like(array, 4), array.copy()
    rim[1:-1, 1:-1] = array[1:-1, 1:-1]
    assert marked(grid, 4, lambda row, column: row == 0 or column == 0) == grid_of(rim)
    corners, ends = array.copy(), [0, -1]
    corners[np.ix_(ends, ends)] = 5
    assert marked(grid, 5, lambda row, column: row == 0 and column == 0) == grid_of(corners)
    first[0] = 6
    assert headed(grid, 6) == grid_of(first)


@given(grids)
def test_what_is_written_is_read(grid: Grid) -> None:
    assert read(written(grid)) == grid
    assert read(written(grid).replace("", " ")) == grid


@pytest.mark.parametrize("text", ["", "\n", "12\n3", "1a\n23", "in", "1.0", "-1", "١٢"])
def test_what_is_no_grid_is_none(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("families", [KNOWN, NOVEL])
def test_puzzles_show_a_rule_that_changes_something(families: Any) -> None:
    chance = random.Random(0)
    names = set()
    for _ in range(200):
        puzzle = invented(chance, families)
        examples = (*puzzle.train, *puzzle.test)
        names.add(puzzle.name)
        assert (len(puzzle.train), len(puzzle.test)) == (SHOWN, 1)
        assert len(set(examples)) == SHOWN + 1
        assert all(one.input != one.output for one in examples)
        assert all(len(one.input) in SIZES and len(one.input[0]) in SIZES for one in examples)
    assert names == set(families)
    assert invented(random.Random(3), families) == invented(random.Random(3), families)


def test_no_novel_rule_is_a_known_one_without_colours() -> None:
    """What is shown of a novel puzzle is never what a known rule does that knows no colours."""
    chance = random.Random(1)
    puzzles = [invented(chance, NOVEL) for _ in range(150)]
    fixed: list[Rule] = [*GEOMETRY.values(), shifted]
    for puzzle in puzzles:
        for rule in fixed:
            assert any(rule(one.input) != one.output for one in puzzle.train), puzzle.name


# ----------------------------------------------------------------------------------------- ARC's files

TASK = {
    "train": [{"input": [[0, 1]], "output": [[1, 0]]}, {"input": [[2, 3], [4, 5]], "output": [[3, 2], [5, 4]]}],
    "test": [{"input": [[6]], "output": [[6]]}],
}
PUZZLE = Puzzle(
    "abc",
    (Example(((0, 1),), ((1, 0),)), Example(((2, 3), (4, 5)), ((3, 2), (5, 4)))),
    (Example(((6,),), ((6,),)),),
)


def test_a_folder_of_tasks_and_a_file_of_many_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "abc.json").write_text(json.dumps(TASK))
    (tmp_path / "many.json").write_text(json.dumps({"abc": TASK}))
    assert load(tmp_path / "one") == load(tmp_path / "many.json") == load(tmp_path / "one" / "abc.json") == [PUZZLE]


def test_a_test_without_an_output_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps({**TASK, "test": [{"input": [[1]]}, *TASK["test"]]}))
    assert load(tmp_path / "t.json")[0].test == PUZZLE.test


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "holds no ARC task"),
        (b'{"abc": 1}', "task abc: train is not a list"),
        (b'{"train": [1], "test": []}', "train is not a list"),
        (b'{"train": [{"input": [], "output": [[1]]}], "test": []}', "1 to 30 rows"),
        (b'{"train": [{"input": [[1],[1,2]], "output": [[1]]}], "test": []}', "of equal length"),
        (b'{"train": [{"input": [[10]], "output": [[1]]}], "test": []}', "from 0 to 9"),
        (b'{"train": [{"input": [[true]], "output": [[1]]}], "test": []}', "from 0 to 9"),
        (b'{"train": [{"input": [[1.0]], "output": [[1]]}], "test": []}', "from 0 to 9"),
        (b'{"train": [], "test": [{"input": "x", "output": [[1]]}]}', "1 to 30 rows"),
    ],
)
def test_what_is_no_task_is_told_in_a_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        load(tmp_path / "t.json")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(InputError, match="name a"):
            load(path)


@pytest.mark.skipif("GRADATIM_DATA" not in os.environ, reason="GRADATIM_DATA names no folder with ARC's tasks")
def test_arcs_own_training_tasks_are_read() -> None:
    puzzles = load(Path(os.environ["GRADATIM_DATA"]) / "arc" / "training.json")
    assert len(puzzles) == 400
    first = next(one for one in puzzles if one.name == "007bbfb7")
    assert len(first.train) == 5
    assert all(len(one.output) == 9 for one in first.train)


# ------------------------------------------------------------------------------------------ self-edits


def test_an_edit_is_read_as_it_was_written_by_a_model_or_a_person() -> None:
    chance = random.Random(0)
    tokenizer = make_tokenizer()
    for _ in range(50):
        edit = GridEdit.drawn(chance)
        assert GridEdit.read(edit.text()) == edit
        said = tokenizer.decode(tokenizer(edit.text())["input_ids"])
        assert GridEdit.read(str(said)) == edit
    assert json.loads(GridEdit().text()).keys() == {"data_generation", "training"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("true", "1"),
        ("true", '"true"'),
        ("0.003", "-0.003"),
        ("0.003", "2"),
        ("0.003", "NaN"),
        ("0.003", '"0.003"'),
        ('"num_train_epochs": 2', '"num_train_epochs": 2.5'),
        ('"num_train_epochs": 2', '"num_train_epochs": 0'),
        ('"num_train_epochs": 2', '"num_train_epochs": 1000'),
        ("train_using_output_tokens", "train_using_hope"),
        ('"learning_rate": 0.003, ', ""),
        ("}}", "}"),
    ],
)
def test_what_is_no_edit_is_none(old: str, new: str) -> None:
    text = GridEdit(basic=True, learning_rate=0.003, epochs=2).text()
    assert old in text
    assert GridEdit.read(text) is not None
    assert GridEdit.read(text.replace(old, new)) is None


@pytest.mark.parametrize("edit", [GridEdit(), GridEdit(basic=True), GridEdit(size=True), GridEdit(repeat=True)])
def test_what_is_studied_are_the_examples_under_one_change(edit: GridEdit) -> None:
    """Each studied puzzle is the shown examples, all under one augmentation and one renaming of colours."""
    chance = random.Random(2)
    rules = {"basic": BASIC, "size": SIZE, "repeat": REPEAT}
    allowed: list[Rule] = [lambda grid: grid]
    allowed += [rule for name, some in rules.items() if getattr(edit, name) for rule in some]
    puzzle = invented(chance, KNOWN)
    made = studied(puzzle, edit, random.Random(0))
    assert len(made) == min(MOST, 2 * SHOWN * len(allowed))
    assert studied(puzzle, edit, random.Random(0)) == made

    def pattern(examples: Any) -> Any:
        """The examples with colours named in order of appearance."""
        names: dict[int, int] = {}
        return [
            tuple(tuple(names.setdefault(cell, len(names)) for cell in row) for row in grid)
            for one in examples
            for grid in (one.input, one.output)
        ]

    for one in made:
        examples = (*one.train, *one.test)
        assert len(examples) == SHOWN
        orders = [
            pattern([Example(rule(e.input), rule(e.output)) for e in sorted(puzzle.train, key=lambda e: order[e])])
            for rule in allowed
            for order in [_order(examples, puzzle.train, rule)]
            if order
        ]
        assert pattern(examples) in orders


def _order(examples: Any, train: Any, rule: Rule) -> dict[Example, int]:
    """Where each example of the puzzle stands, found by where its ground lies."""

    def ground(one: Example) -> Any:
        return [[[cell == 0 for cell in row] for row in grid] for grid in (one.input, one.output)]

    shapes = [ground(one) for one in examples]
    changed = [ground(Example(rule(one.input), rule(one.output))) for one in train]
    if any(shape not in shapes for shape in changed):
        return {}
    return {one: shapes.index(shape) for one, shape in zip(train, changed, strict=True)}


def test_the_question_is_never_studied() -> None:
    chance = random.Random(4)
    for _ in range(20):
        puzzle = invented(chance, NOVEL)
        other = Puzzle(puzzle.name, puzzle.train, invented(chance, NOVEL).test)
        edit = GridEdit.drawn(chance)
        assert studied(puzzle, edit, random.Random(1)) == studied(other, edit, random.Random(1))


def test_chains_and_everything_together_stay_within_bounds() -> None:
    puzzle = invented(random.Random(5), NOVEL)
    made = studied(puzzle, GridEdit(True, True, True, True), random.Random(0))
    assert len(made) == MOST
    wide = Puzzle("w", tuple(Example(((n,) * 20,) * 20, ((9,) * 20,) * 20) for n in range(3)), puzzle.test)
    assert all(
        len(one.test[0].input) <= 30 for one in studied(wide, GridEdit(size=True, repeat=True), random.Random(0))
    )


def test_one_example_can_not_be_asked() -> None:
    puzzle = invented(random.Random(6), KNOWN, shown=1)
    with pytest.raises(ValueError, match="shows 1 example"):
        studied(puzzle, GridEdit(), random.Random(0))


# ------------------------------------------------------------------------------------------- the lab

SMALL = GridLabSettings(width=32, layers=2, heads=2, inner=48, steps=4, batch=4)


def test_nothing_is_unknown_and_labels_are_outputs_and_edits() -> None:
    tokenizer = make_tokenizer()
    corpus = GridCorpus(GridLabSettings(batch=20), tokenizer)
    unknown, edits, twice = tokenizer.convert_tokens_to_ids(UNKNOWN), 0, 0
    for text in [text for _ in range(8) for text in corpus.batch()]:
        assert unknown not in text.ids
        labelled = [token for token, label in zip(text.ids, text.labelled, strict=True) if label]
        said = str(tokenizer.decode(labelled[:-1])).split(str(tokenizer.eos_token))
        assert labelled[-1] == tokenizer.eos_token_id
        if GridEdit.read(said[0]) is not None:
            edits += 1
            twice += len(said) == 2
            assert [one.strip() for one in said] == [said[0].strip()] * len(said)
            assert len(said) <= 2
        else:
            assert 2 <= len(said) <= SHOWN
            assert all(read(one) is not None for one in said)
    assert 1 <= twice < edits < 60


def test_rates_and_epochs_of_random_edits_can_be_said() -> None:
    tokenizer = make_tokenizer()
    unknown = tokenizer.convert_tokens_to_ids(UNKNOWN)
    for rate in RATES:
        for epochs in EPOCHS:
            ids = tokenizer(GridEdit(learning_rate=rate, epochs=epochs).text())["input_ids"]
            assert unknown not in ids
    assert unknown not in tokenizer(asking(((0, 9),)) + EDIT)["input_ids"]


def test_a_trained_one_loads_as_any_base(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    pretrain(SMALL, tmp_path / "one")
    base = load_base(str(tmp_path / "one"), dtype=torch.float32)
    assert base.chat.raw(asking(((1, 2),))) == make_tokenizer()(asking(((1, 2),)))["input_ids"]
