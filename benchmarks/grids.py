"""SEAL's few-shot half on grids: puzzles solved after training on their examples, by who chose the settings.

    python benchmarks/grids.py [--model DIR] [--puzzles 40] [--seeds 5] [--rounds 2] [--outer 0]
                               [--arc FILE]

Puzzles are of families that the lab model was never trained on. As published, only such are taken as the base fails
with the examples in view and hand-made settings solve, here in three of three trainings, so that luck chooses less; in
context is then 0 % by construction, and those left out are counted. Every arm trains on a puzzle's examples once for
each seed and is asked its question:

- in context: nothing is trained
- random edits: settings drawn at random, all equally likely
- untrained edits: settings that the base writes
- best setting: one for all puzzles, which after the first round is expected to do best; no writer
- oracle again: the hand-made settings, from other seeds than chose the puzzles
- after rl: settings by the writer after `--rounds` rounds on other puzzles

The best setting and the oracle, which say the same for every seed, get two trainings of a puzzle at most.

Intervals are 95 %, by bootstrap over puzzles. With `--arc`, those of ARC's own tasks that fit into the model are tried
too, once each and all of them, whether anything solves them or not; the benchmark does not carry them, they are to be
had from github.com/fchollet/ARC-AGI. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import bootstrap

from gradatim.learn.inner import Trial, try_each
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.model.scoring import grade
from gradatim.recipes.few_shot import KIND, LONGEST, SETTINGS, GridDialect
from gradatim.recipes.forecast import forecast
from gradatim.recipes.rewards import Edit, Rewarded
from gradatim.recipes.seal import SelfEdits, Task
from gradatim.worlds.grid_edits import EPOCHS, RATES, GridEdit
from gradatim.worlds.grids import NOVEL, Family, Puzzle, invented, load

MODEL = Path(__file__).with_name("lab") / "grids"
ORACLE = GridEdit(basic=True, learning_rate=0.003, epochs=4)
"""Made by hand, the best of seven tried on 48 puzzles that are not among these."""
CHOOSING = (1, 2, 3)
"""Seeds by all of which the hand-made settings must solve a puzzle for it to be taken."""
FEWEST = 6
"""Puzzles to choose by, at least: what settings are worth is told by all of them together."""
NO_PUZZLE = -1
"""The number of a puzzle of which nothing was tried."""
CANDIDATES = 24
"""How many puzzles are tried at a time until enough are found."""
MOST_CANDIDATES = 2400


class Grids:
    """The lab model, and the puzzles to choose by and to judge by."""

    def __init__(self, folder: Path, count: int, outer: int, families: Mapping[str, Family] = NOVEL) -> None:
        self.bank = AdapterBank(load_base(str(folder), dtype=torch.float32))
        self.dialect = GridDialect(self.bank.base.chat)
        self.loop = SelfEdits(self.bank, self.dialect, SETTINGS, outer)
        self.families = families
        self.counts: Counter[str] = Counter()
        self.train = self.chosen(max(FEWEST, count // 2), random.Random(2))
        self.test = self.chosen(count, random.Random(3))

    def chosen(self, count: int, chance: random.Random) -> list[Task[Puzzle]]:
        """Puzzles that the base fails and the oracle solves; ValueError when hardly any are to be found."""
        found: list[Task[Puzzle]] = []
        for _ in range(MOST_CANDIDATES // CANDIDATES):
            drawn = [self.dialect.task(invented(chance, self.families)) for _ in range(CANDIDATES)]
            failed = [task for task, right in zip(drawn, self.in_context(drawn), strict=True) if not right]
            self.counts.update(drawn=len(drawn), in_context=len(drawn) - len(failed))
            left = failed
            for seed in CHOOSING:
                solved = self.solved([self.job(task.passage, ORACLE, seed) for task in left])
                left = [task for task, right in zip(left, solved, strict=True) if right]
                self.counts[f"oracle, {seed} of {seed}"] += len(left)
            found += left
            if len(found) >= count:
                return found[:count]
        raise ValueError(f"only {len(found)} of {self.counts['drawn']} puzzles are solved by {ORACLE}")

    def job(self, puzzle: Puzzle, edit: GridEdit, seed: int) -> tuple[Edit | None, Task[Puzzle], int]:
        return self.dialect.edit(puzzle, edit), self.dialect.task(puzzle), seed

    def in_context(self, tasks: Sequence[Task[Puzzle]]) -> list[float]:
        grades = [grade(self.bank, [task.scoring], [None])[0] for task in tasks]
        return [float(all(one.greedy for one in of_task)) for of_task in grades]

    def solved(self, jobs: Sequence[tuple[Edit | None, Task[Puzzle], int]]) -> list[float]:
        """1 for each job whose questions are all answered right; a job without an edit is answered by the base."""
        studied = [(edit, task, seed) for edit, task, seed in jobs if edit is not None]

        def measure(names: list[str], numbers: range) -> list[float]:
            graded = grade(self.bank, [studied[number][1].scoring for number in numbers], names)
            return [float(all(one.greedy for one in grades)) for grades in graded]

        trials = [Trial(edit.pairs, edit.learning_rate, seed, edit.positions) for edit, _, seed in studied]
        found = iter(try_each(self.bank, trials, self.loop.settings.inner, measure))
        bare = iter(self.in_context([task for edit, task, _ in jobs if edit is None]))
        return [next(bare if edit is None else found) for edit, _, _ in jobs]

    def best_setting(self, tried: Sequence[Rewarded]) -> GridEdit:
        """Of all settings the one that is expected to do best for any puzzle."""
        every = [
            GridEdit(basic, size, chain, repeat, all_tokens, rate, epochs)
            for basic, size, chain, repeat, all_tokens in itertools.product((False, True), repeat=5)
            for rate in RATES
            for epochs in EPOCHS
        ]
        asked = [(Edit(one.text(), KIND, (), one.learning_rate), NO_PUZZLE) for one in every]
        expected = forecast(tried, asked, self.dialect.traits)[len(tried) :]
        return max(zip(every, expected, strict=True), key=lambda one: one[1].shrunk)[0]

    def written(self, tasks: Sequence[Task[Puzzle]], each: int) -> list[tuple[Edit | None, Task[Puzzle], int]]:
        """Jobs by the writer as it is, `each` for every task; without an edit where it can't be read."""
        drafts = self.loop.write(tasks, each, seed=7)
        return [
            (edits[number] if number < len(edits) else None, task, 9000 + number)
            for edits, task in zip(drafts, tasks, strict=True)
            for number in range(each)
        ]


def row(solved: Sequence[float], each: int) -> dict[str, float | int]:
    means = np.array(solved).reshape(-1, each).mean(axis=1)
    low, high = bootstrap((means,), np.mean, rng=0).confidence_interval if means.std() else (means[0], means[0])
    shown = {"mean": means.mean(), "low": low, "high": high}
    return {**{name: round(100 * float(value), 1) for name, value in shown.items()}, "n": len(solved)}


def run(folder: Path, count: int, seeds: int, rounds: int, outer: int = 0, arc: Path | None = None) -> dict[str, Any]:
    """Every arm; prints as it goes."""
    began = time.monotonic()
    world = Grids(folder, count, outer)
    tests, numbers = world.test, range(seeds)
    print(dict(world.counts), f"{time.monotonic() - began:.0f} s", flush=True)
    chance = random.Random(5)
    arms: dict[str, Any] = {}

    def tell(name: str, jobs: Sequence[tuple[Edit | None, Task[Puzzle], int]], each: int = seeds) -> None:
        arms[name] = row(world.solved(jobs), each)
        print(f"{name:20} {arms[name]}  {time.monotonic() - began:.0f} s", flush=True)

    tell("in context", [(None, task, 0) for task in tests], 1)
    real = [] if arc is None else fitting(world, arc)
    untrained, of_real, log = world.written(tests, seeds), world.written(real, 1), list[dict[str, Any]]()
    setting = GridEdit()
    for number in range(rounds):
        at = time.monotonic()
        report = world.loop.round(world.train, number)
        kept = [GridEdit.read(one.edit.text) for one in report.kept]
        if number == 0:
            setting = world.best_setting(report.tried)
        log.append({
            "round": number, "trials": report.trials, "reliability": round(report.reliability, 2),
            "rates": dict(Counter(f"{one.learning_rate:g}" for one in kept if one).most_common()),
            "epochs": dict(Counter(one.epochs for one in kept if one).most_common()),
            "basic": sum(one.basic for one in kept if one), "all tokens": sum(one.all_tokens for one in kept if one),
            "seconds": round(time.monotonic() - at),
        })  # fmt: skip
        print(log[-1], flush=True)
        name = "after rl" if number == rounds - 1 else f"after round {number + 1}"
        tell(name, world.written(tests, seeds))
    tell("untrained edits", untrained)
    tell("random edits", [world.job(t.passage, GridEdit.drawn(chance), 9000 + n) for t in tests for n in numbers])
    few = numbers[:2]
    tell("best setting", [world.job(task.passage, setting, 9000 + n) for task in tests for n in few], len(few))
    tell("oracle again", [world.job(task.passage, ORACLE, 9000 + n) for task in tests for n in few], len(few))
    found: dict[str, Any] = {"arms": arms, "puzzles": dict(world.counts), "rounds": log}
    if arc is not None:
        found["arc"] = {"tasks": len(real)}
    if real:
        found["arc"]["in context"] = row(world.in_context(real), 1)
        for name, jobs in {
            "after rl": world.written(real, 1),
            "untrained edits": of_real,
            "oracle": [world.job(task.passage, ORACLE, 9000) for task in real],
        }.items():
            found["arc"][name] = row(world.solved(jobs), 1)
        print("arc", found["arc"], flush=True)
    return {**found, "seconds": round(time.monotonic() - began)}


def fitting(world: Grids, path: Path) -> list[Task[Puzzle]]:
    """ARC's own tasks, as far as they fit."""
    tasks = [world.dialect.task(puzzle) for puzzle in load(path) if len(puzzle.train) > 1 and puzzle.test]
    return [task for task in tasks if max(map(len, task.scoring)) <= LONGEST]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--puzzles", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--outer", type=int, default=0, help="the seed of the outer loop")
    parser.add_argument("--arc", type=Path, help="a file or folder of ARC tasks")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds: without a round there is no writer to judge")
    logging.disable(logging.WARNING)
    print(json.dumps(run(chosen.model, chosen.puzzles, chosen.seeds, chosen.rounds, chosen.outer, chosen.arc)))


if __name__ == "__main__":
    main()
