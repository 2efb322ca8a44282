"""Puzzles on coloured grids, as ARC's: some inputs with their outputs show a rule, which is to be applied to another.

    chance = random.Random(0)
    puzzle = invented(chance, NOVEL)         # a rule of a novel family, shown on four grids and asked on a fifth
    puzzles = load(Path("arc/training.json"))  # ARC's own, one task a file or many by their ids
    asking(puzzle.test[0].input), written(puzzle.test[0].output)

Form and terms are those of the Abstraction and Reasoning Corpus (Chollet, arXiv 1911.01547): colours are the digits 0
to 9, 0 is the ground. The rules here are far fewer and simpler than ARC's, and grids measure `SIZES`, so that a model
of a million parameters can live among them. `KNOWN` families are for a base to be trained on, `NOVEL` ones are kept
from it. A novel rule can look like a known one by chance: a ground that is filled, like two colours that are swapped.

Limits: a rule may be told by fewer examples than are shown, or by more; nothing checks that it is the only one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradatim.errors import InputError

COLOURS, LARGEST = 10, 30
"""As in ARC: the digits, and the most rows or columns a grid has."""

SIZES = (3, 4)
"""Rows and columns of invented inputs."""

SHOWN = 4
"""Examples of an invented puzzle."""

Grid = tuple[tuple[int, ...], ...]
Rule = Callable[[Grid], Grid]


@dataclass(frozen=True, slots=True)
class Example:
    """A grid and what the rule makes of it."""

    input: Grid
    output: Grid


@dataclass(frozen=True, slots=True)
class Puzzle:
    """Examples of a rule, and others to be asked: ARC's `train` and `test`."""

    name: str
    train: tuple[Example, ...]
    test: tuple[Example, ...]


def written(grid: Grid) -> str:
    """A line of digits for each row."""
    return "\n".join("".join(map(str, row)) for row in grid)


def asking(grid: Grid) -> str:
    """The text after which the output of an input is to follow."""
    return f"in\n{written(grid)}\nout\n"


def read(text: str) -> Grid | None:
    """The grid that a text is, spaces aside; None where it is none."""
    rows = [line.replace(" ", "") for line in text.strip().splitlines()]
    square = rows and rows[0] and all(len(row) == len(rows[0]) for row in rows)
    if not square or not all(row.isascii() and row.isdigit() for row in rows):
        return None
    return tuple(tuple(map(int, row)) for row in rows)


# ------------------------------------------------------------------------- what can be done to a grid


def transposed(grid: Grid) -> Grid:
    return tuple(zip(*grid, strict=True))


def flipped(grid: Grid) -> Grid:
    """Left for right."""
    return tuple(row[::-1] for row in grid)


def upended(grid: Grid) -> Grid:
    """Top for bottom."""
    return grid[::-1]


def turned(grid: Grid) -> Grid:
    """A quarter turn clockwise."""
    return flipped(transposed(grid))


def recoloured(grid: Grid, colours: Sequence[int]) -> Grid:
    """Colour c becomes `colours[c]`."""
    return tuple(tuple(colours[cell] for cell in row) for row in grid)


def enlarged(grid: Grid, rows: int, columns: int) -> Grid:
    """Each cell becomes a block of so many rows and columns."""
    return tuple(tuple(cell for cell in row for _ in range(columns)) for row in grid for _ in range(rows))


def beside(left: Grid, right: Grid) -> Grid:
    return tuple((*one, *other) for one, other in zip(left, right, strict=True))


def shifted(grid: Grid) -> Grid:
    """One column to the right, the last one comes first."""
    return tuple((row[-1], *row[:-1]) for row in grid)


def marked(grid: Grid, colour: int, where: Callable[[int, int], bool]) -> Grid:
    """Cells in one colour where `where` is true of how far they are from the nearest edge: of rows, and of columns."""
    rows, columns = len(grid), len(grid[0])
    return tuple(
        tuple(colour if where(min(r, rows - 1 - r), min(c, columns - 1 - c)) else cell for c, cell in enumerate(row))
        for r, row in enumerate(grid)
    )


def headed(grid: Grid, colour: int) -> Grid:
    """The first row in one colour."""
    return ((colour,) * len(grid[0]), *grid[1:])


def inverted(grid: Grid, colour: int) -> Grid:
    """Ground where there was something, `colour` where there was ground."""
    return tuple(tuple(0 if cell else colour for cell in row) for row in grid)


GEOMETRY: Mapping[str, Rule] = {
    "flip": flipped,
    "upend": upended,
    "turn": turned,
    "turn twice": lambda grid: upended(flipped(grid)),
    "turn back": lambda grid: transposed(flipped(grid)),
    "transpose": transposed,
    "transpose the other way": lambda grid: upended(turned(grid)),
}

# ------------------------------------------------------------------------------------ families of rules

Family = Callable[[random.Random], Rule]


def _swap(chance: random.Random) -> Rule:
    one, other = chance.sample(range(COLOURS), 2)
    colours = [*range(COLOURS)]
    colours[one], colours[other] = other, one
    return lambda grid: recoloured(grid, colours)


def _paint(chance: random.Random) -> Rule:
    colour = chance.randrange(1, COLOURS)
    return lambda grid: recoloured(grid, [0, *[colour] * (COLOURS - 1)])


def _after(chance: random.Random, first: Family, then: Family) -> Rule:
    one, other = first(chance), then(chance)
    return lambda grid: other(one(grid))


def _geometry(chance: random.Random) -> Rule:
    return GEOMETRY[chance.choice([*GEOMETRY])]


def _mark(where: Callable[[int, int], bool]) -> Family:
    def made(chance: random.Random) -> Rule:
        colour = chance.randrange(1, COLOURS)
        return lambda grid: marked(grid, colour, where)

    return made


def _head(chance: random.Random) -> Rule:
    colour = chance.randrange(1, COLOURS)
    return lambda grid: headed(grid, colour)


def _invert(chance: random.Random) -> Rule:
    colour = chance.randrange(1, COLOURS)
    return lambda grid: inverted(grid, colour)


def _fill(chance: random.Random) -> Rule:
    colour = chance.randrange(1, COLOURS)
    return lambda grid: recoloured(grid, [colour, *range(1, COLOURS)])


def _rename(chance: random.Random) -> Rule:
    """All colours, each becomes another one."""
    colours = chance.sample(range(1, COLOURS), COLOURS - 1)
    step = chance.randrange(1, COLOURS - 1)
    renamed = dict(zip(colours, colours[step:] + colours[:step], strict=True))
    return lambda grid: recoloured(grid, [0, *(renamed[colour] for colour in range(1, COLOURS))])


KNOWN: Mapping[str, Family] = {
    **{name: lambda _, rule=rule: rule for name, rule in GEOMETRY.items()},  # type: ignore[misc]
    "swap colours": _swap,
    "paint": _paint,
    "shift": lambda _: shifted,
}

NOVEL: Mapping[str, Family] = {
    "frame": _mark(lambda row, column: row == 0 or column == 0),
    "corners": _mark(lambda row, column: row == 0 and column == 0),
    "middle": _mark(lambda row, column: row > 0 and column > 0),
    "head": _head,
    "invert": _invert,
    "fill": _fill,
    "rename": _rename,
    "swap, then frame": lambda chance: _after(chance, _swap, _mark(lambda row, column: row == 0 or column == 0)),
    "swap, then fill": lambda chance: _after(chance, _swap, _fill),
}


def scattered(chance: random.Random) -> Grid:
    """A grid of one of the `SIZES`, some of it ground and the rest in a few colours."""
    colours = [0, *chance.sample(range(1, COLOURS), chance.randint(2, 4))]
    rows, columns = chance.choice(SIZES), chance.choice(SIZES)
    return tuple(tuple(chance.choice(colours) for _ in range(columns)) for _ in range(rows))


def invented(chance: random.Random, families: Mapping[str, Family], shown: int = SHOWN) -> Puzzle:
    """A puzzle of one of the families: `shown` examples and one to be asked, all of which the rule changes."""
    name = chance.choice([*families])
    rule, made = families[name](chance), list[Example]()
    while len(made) <= shown:
        grid = scattered(chance)
        example = Example(grid, rule(grid))
        if example.output != grid and example not in made:
            made.append(example)
    return Puzzle(name, tuple(made[:-1]), tuple(made[-1:]))


# ------------------------------------------------------------------------------------------- ARC's files


def load(path: Path) -> list[Puzzle]:
    """Puzzles of a file or a folder of files in ARC's JSON: one task a file, or an object of tasks by their ids.

    Tests without outputs, as competitions hand them out, are left out. Raises InputError for anything else.
    """
    if not path.exists():
        raise InputError(f"There is no {path}: name a JSON file of ARC tasks, or a folder of such files.")
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} has no JSON files in it: name a folder of ARC tasks.")
    return [puzzle for file in files for puzzle in _file(file)]


def _file(path: Path) -> Iterator[Puzzle]:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}.") from error
    if not isinstance(told, dict):
        raise InputError(f"{path} holds no ARC task: an object with train and test is needed, or one of such by id.")
    tasks = {path.stem: told} if "train" in told else told
    for name, task in tasks.items():
        yield Puzzle(name, _examples(task, "train", name, path), _examples(task, "test", name, path))


def _examples(task: Any, part: str, name: str, path: Path) -> tuple[Example, ...]:
    found = task.get(part) if isinstance(task, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) and "input" in one for one in found):
        raise InputError(f"{path}, task {name}: {part} is not a list of examples with an input each.")
    return tuple(
        Example(_grid(one["input"], name, path), _grid(one["output"], name, path)) for one in found if "output" in one
    )


def _grid(rows: Any, name: str, path: Path) -> Grid:
    whole = isinstance(rows, list) and 0 < len(rows) <= LARGEST and all(isinstance(row, list) for row in rows)
    if not whole or not 0 < len(rows[0]) <= LARGEST or any(len(row) != len(rows[0]) for row in rows):
        raise InputError(f"{path}, task {name}: a grid has 1 to {LARGEST} rows of equal length.")
    if any(type(cell) is not int or not 0 <= cell < COLOURS for row in rows for cell in row):
        raise InputError(f"{path}, task {name}: a cell is a whole number from 0 to {COLOURS - 1}.")
    return tuple(tuple(row) for row in rows)
