"""SEAL in the lab worlds: what is learnt from a passage or a puzzle, by who wrote what is studied.

    python benchmarks/seal.py [--only arms sequence augmented grids] [--people 4] [--seeds 5] [--rounds 2]
                              [--outer 0] [--lessons 50] [--puzzles 4] [--doubt 1] [--pooled 8]
                              [--unguarded]

`arms` are about people, on `benchmarks/lab/one-wording`; `augmented` are the same on `six-wordings`, a base that knows
its people in many wordings. Their `training.json` says how they were made. Every arm trains an adapter on each of
`--people` unseen people, once for each seed, with equally many positions, and is asked in a wording that no study
material was written in or chosen by:

- base: nothing is trained; passage in context: the base, the passage before the question
- passage only: the passage itself, at the best of the rates on other people
- untrained edits: one edit of the base for each seed, as it was written
- untrained, pooled: each edit made of `--pooled` drafts, without the lines that the base, passage in view, doubts by
  more than `--doubt` nats
- random edits: an edit about somebody else, as it was written
- best of n: the best of the base's drafts for that person, chosen by labelled questions about the same facts in another
  wording and by other seeds; no training of the writer. It sees the answers, which no other arm does
- after round n: one draft for each seed by the writer after so many rounds on other people, as in the paper
- after rl: the same writer after the last round, its edits pooled as above; with `--doubt -1 --pooled 1` single drafts

`known` is what remains of questions about people whom the base knew, on average, and in the worst training; others of
these are replayed in every training, and further ones count in the reward, except with `--unguarded`. Intervals are
95 %, by bootstrap over people.

For `sequence`, the trained writer writes about `--lessons` more people, who are learnt one after the other
(`benchmarks/sequence.py`); `grids` is `benchmarks/grids.py`. The parts run beside each other where there are cores for
it. The defaults are meant for twenty minutes of two cores that do nothing else; the tables in docs/papers/seal.md name
the sizes they were made with. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import grids
import numpy as np
import sequence
import torch
from scipy.stats import bootstrap

from gradatim.learn.inner import Trial, try_each
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.model.packing import Pair
from gradatim.model.scoring import Grade, grade
from gradatim.recipes.dialects import LabDialect
from gradatim.recipes.rewards import Edit, Rewarded, best, shrunk
from gradatim.recipes.seal import Asking, SelfEdits, Settings, Task
from gradatim.worlds import lab
from gradatim.worlds.biographies import ATTRIBUTES, HELD_OUT, SELECTING, Person, passage, people, questions

LABS = Path(__file__).with_name("lab")
KNOWN_ASKED, REPLAYED, GUARDED = 100, 200, 60


@dataclass(frozen=True)
class Scored:
    """For each person and seed the share of right answers, and the share of known answers kept, [P, S] both."""

    right_PS: np.ndarray
    known_PS: np.ndarray

    def row(self) -> dict[str, float | int]:
        means = self.right_PS.mean(axis=1)
        low, high = bootstrap((means,), np.mean, rng=0).confidence_interval if means.std() else (means[0], means[0])
        known = {"known": self.known_PS.mean(), "least known": self.known_PS.min()}
        found = {"mean": means.mean(), "low": low, "high": high, **known}
        return {**{name: round(100 * float(value), 1) for name, value in found.items()}, "n": self.right_PS.size}


class Lab:
    """One lab model, people to choose by and people to judge by."""

    def __init__(self, folder: Path, count: int, seeds: int, outer: int, guarded: bool, use: Settings) -> None:
        self.bank = AdapterBank(load_base(str(folder), dtype=torch.float32))
        made = lab.LabSettings(**json.loads((folder / "training.json").read_text())["settings"])
        known = lab.known_people(made)
        taken = {person.name for person in known}
        self.train = people(count, random.Random(1), taken)
        self.test = people(count, random.Random(2), taken | {person.name for person in self.train})
        self.taken = taken | {person.name for person in (*self.train, *self.test)}
        self.seeds = range(9000, 9000 + seeds)
        self.dialect = LabDialect(self.bank.base.chat)
        self.loop = SelfEdits(self.bank, self.dialect, Settings(), outer)
        self.use = use  # how edits are made that are not to be chosen among
        self.chat = self.bank.base.chat
        sure = [one for person in known for one in askings(person, 0)]
        (grades,) = grade(self.bank, [[one.pair(self.chat) for one in sure]], [None])
        right = [one for one, of_base in zip(sure, grades, strict=True) if of_base.greedy]
        random.Random(3).shuffle(right)
        self.known, right = right[:KNOWN_ASKED], right[KNOWN_ASKED:]
        others, guard = right[:REPLAYED], right[REPLAYED : REPLAYED + GUARDED]
        self.others = [one.question for one in others]
        if guarded:
            self.loop.replay, self.loop.guard = self.asked(others), self.asked(guard)

    def tasks(self, group: Sequence[Person]) -> list[Task[str]]:
        return [
            Task(passage(one), self.asked(askings(one, SELECTING)), self.asked(askings(one, HELD_OUT))) for one in group
        ]

    def asked(self, some: Sequence[Asking]) -> tuple[Pair, ...]:
        return tuple(one.pair(self.chat) for one in some)

    def score(self, jobs: Sequence[tuple[Edit | None, Task[str], int]], each: int) -> Scored:
        """Jobs in order of people, `each` a person."""
        studied = [(edit, task, seed) for edit, task, seed in jobs if edit is not None]
        known = self.asked(self.known)

        def measure(names: list[str], numbers: range) -> list[tuple[float, float]]:
            groups = [[*studied[number][1].scoring, *known] for number in numbers]
            return [_shares(grades, len(ATTRIBUTES)) for grades in grade(self.bank, groups, names)]

        trials = [Trial(edit.pairs, edit.learning_rate, seed) for edit, _, seed in studied]
        found = iter(try_each(self.bank, trials, self.loop.settings.inner, measure, replay=self.loop.replay))
        asked = [task.scoring for edit, task, _ in jobs if edit is None]
        bare = iter(grade(self.bank, asked, [None] * len(asked)) if asked else [])
        shares = [
            next(found) if edit is not None else (_shares(next(bare), len(ATTRIBUTES))[0], 1.0) for edit, _, _ in jobs
        ]
        return Scored(*(np.array(one).reshape(-1, each) for one in zip(*shares, strict=True)))

    def pooled(self, tasks: Sequence[Task[str]], each: int) -> list[list[Edit]]:
        """`each` edits for every task, as they are made for use."""
        settings, self.loop.settings = self.loop.settings, self.use
        try:
            return self.loop.write(tasks, each, seed=7)
        finally:
            self.loop.settings = settings

    def without_training(self, prompts: Sequence[Sequence[Pair]]) -> Scored:
        graded = grade(self.bank, prompts, [None] * len(prompts))
        right = np.array([[statistics.mean(float(one.greedy) for one in grades)] for grades in graded])
        return Scored(right, np.ones_like(right))


def askings(person: Person, wording: int) -> list[Asking]:
    return [Asking(one.text, one.answer) for one in questions(person, wording)]


def _shares(grades: Sequence[Grade], asked: int) -> tuple[float, float]:
    right = [float(one.greedy) for one in grades]
    return statistics.mean(right[:asked]), statistics.mean(right[asked:] or [0.0])


def arms(world: Lab, rounds: int) -> tuple[dict[str, Scored], dict[str, Any]]:
    loop, chat = world.loop, world.bank.base.chat
    tests, seeds, count = world.tasks(world.test), world.seeds, len(world.seeds)
    found: dict[str, Scored] = {}
    found["base"] = world.without_training([task.scoring for task in tests])
    found["passage in context"] = world.without_training(
        [
            [
                Pair(
                    tuple(
                        chat.raw(lab.READ.format(passage=task.passage, question=f"Question: {one.question}\nAnswer:"))
                    ),
                    tuple(chat.target(one.question, one.answer)),
                )
                for one in askings(person, HELD_OUT)
            ]
            for task, person in zip(tests, world.test, strict=True)
        ]
    )
    others = world.tasks(world.train)
    rates: dict[str, float] = {}
    for rate in lab.RATES:
        dialect = LabDialect(chat, rate)
        jobs = [(dialect.plain(task.passage), task, 1) for task in others]
        rates[rate] = statistics.mean(reward for reward, _ in loop.trials(jobs, lambda task: task.selecting))
    world.dialect = LabDialect(chat, max(rates, key=lambda rate: rates[rate]))
    plain = [(world.dialect.plain(task.passage), task, seed) for task in tests for seed in seeds]
    found["passage only"] = world.score(plain, count)
    each = max(count, loop.settings.tried)
    found["untrained, pooled"] = world.score(_spread(world.pooled(tests, count), tests, seeds), count)
    drafts = loop.write(tests, each, seed=7)
    found["untrained edits"] = world.score(_spread(drafts, tests, seeds), count)
    shifted = drafts[1:] + drafts[:1]
    found["random edits"] = world.score(_spread(shifted, tests, seeds), count)
    chosen = [_best(loop, tests, number, edits) for number, edits in enumerate(drafts)]
    found["best of n"] = world.score(
        [(edit, task, seed) for edit, task in zip(chosen, tests, strict=True) for seed in seeds], count
    )
    log = []
    for number in range(rounds):
        began = time.monotonic()
        report = loop.round(others, number)
        log.append({
            "round": number, "trials": report.trials, "reliability": round(report.reliability, 2),
            "kept": round(statistics.mean(one.shrunk for one in report.kept), 3),
            "kinds": dict(Counter(one.edit.kind for one in report.kept).most_common()),
            "rates": dict(Counter(f"{one.edit.learning_rate:g}" for one in report.kept).most_common()),
            "seconds": round(time.monotonic() - began),
        })  # fmt: skip
        written = loop.write(tests, each, seed=7)
        found[f"after round {number + 1}"] = world.score(_spread(written, tests, seeds), count)
    found["after rl"] = world.score(_spread(world.pooled(tests, count), tests, seeds), count)
    return found, {"passage rates": {name: round(value, 3) for name, value in rates.items()}, "rounds": log}


def _spread(
    drafts: Sequence[Sequence[Edit]], tasks: Sequence[Task[str]], seeds: Sequence[int]
) -> list[tuple[Edit | None, Task[str], int]]:
    """A draft for each seed; None, which learns nothing, where the model wrote too few that can be read."""
    return [
        (edits[number] if number < len(edits) else None, task, seed)
        for edits, task in zip(drafts, tasks, strict=True)
        for number, seed in enumerate(seeds)
    ]


def _best(loop: SelfEdits[str], tasks: Sequence[Task[str]], number: int, edits: Sequence[Edit]) -> Edit | None:
    """The draft whose trainings, on other questions and seeds than it is judged by, did best."""
    seeds = range(50, 50 + loop.settings.seeds + loop.settings.final_seeds)
    jobs = [(edit, tasks[number], seed) for edit in edits for seed in seeds]
    rewards = [reward for reward, _ in loop.trials(jobs, lambda task: task.selecting)]
    each = len(seeds)
    moved, _ = shrunk([Rewarded(edit, 0, tuple(rewards[i * each : (i + 1) * each])) for i, edit in enumerate(edits)])
    return best(moved, 0, 1)[0].edit if moved else None


PARTS = ("arms", "sequence", "augmented", "grids")


def show(found: Mapping[str, Scored], told: Mapping[str, Any]) -> None:
    print(f"{'arm':20} {'right':>6} {'95 %':>14} {'known':>6} {'least':>6} {'n':>4}")
    for name, scored in found.items():
        row = scored.row()
        known = f"{row['known']:6} {row['least known']:6}"
        print(f"{name:20} {row['mean']:6} {row['low']:6} – {row['high']:5} {known} {row['n']:4}")
    for one in told["rounds"]:
        print(one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--outer", type=int, default=0, help="the seed of the outer loop")
    parser.add_argument("--lessons", type=int, default=50, help="how many in a row")
    parser.add_argument("--puzzles", type=int, default=4)
    parser.add_argument("--doubt", type=float, default=1.0, help="nats; below 0: no line is dropped")
    parser.add_argument("--pooled", type=int, default=8, help="drafts that make an edit")
    parser.add_argument("--unguarded", action="store_true", help="no replay of what the base knew")
    chosen = parser.parse_args()
    if chosen.people < 2:
        parser.error("--people must be at least 2: random edits are about somebody else")
    if chosen.lessons < 2:
        parser.error("--lessons must be at least 2: one can't displace another")
    whole: dict[str, Any] = {}
    seconds: dict[str, int] = {}
    failures: list[BaseException] = []
    jobs = _jobs(chosen.only)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(jobs))
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (cores // workers,)) as pool:
        running = {pool.submit(_job, parts, chosen): parts for parts in jobs}
        for done in as_completed(running):
            if error := done.exception():
                print(f"{' and '.join(running[done])} failed: {error}", file=sys.stderr)
                failures.append(error)
                continue
            found, took = done.result()
            whole |= found
            seconds |= took
    print(json.dumps({**whole, "seconds": seconds}))
    if failures:
        raise failures[0]


# ------------------------------------------------------------------ parts beside each other

Found = tuple[dict[str, Any], dict[str, int]]  # what a job found, and the seconds of each of its parts


def _jobs(only: Collection[str]) -> list[tuple[str, ...]]:
    """What is run beside what, a process with its share of the cores each: a second one would help each of them less.

    Lessons in a row need the writer of `arms`.
    """
    together = (("grids",), ("arms", "sequence"), ("augmented",))
    return [chosen for parts in together if (chosen := tuple(part for part in parts if part in only))]


def _job(parts: tuple[str, ...], chosen: argparse.Namespace) -> Found:
    logging.disable(logging.WARNING)
    if parts != ("grids",):
        return _biographies(parts, chosen)
    with _headed("grids"):
        found = grids.run(grids.MODEL, chosen.puzzles, chosen.seeds, chosen.rounds, chosen.outer)
    return {"grids": found}, {"grids": found["seconds"]}


def _biographies(parts: tuple[str, ...], chosen: argparse.Namespace) -> Found:
    began = time.monotonic()
    use = Settings(
        doubt=chosen.doubt if chosen.doubt >= 0 else None,
        pooled=chosen.pooled,
        max_tokens=160 if chosen.pooled == 1 else 320,
    )
    part = parts[0]
    model = LABS / ("six-wordings" if part == "augmented" else "one-wording")
    world = Lab(model, chosen.people, chosen.seeds, chosen.outer, not chosen.unguarded, use)
    whole, seconds = dict[str, Any](), dict[str, int]()
    if part == "sequence":  # a trained writer is all that lessons in a row need
        for number in range(chosen.rounds):
            world.loop.round(world.tasks(world.train), number)
    else:
        with _headed(part):
            found, told = arms(world, chosen.rounds)
            show(found, told)
        whole |= {part: {name: scored.row() for name, scored in found.items()}, f"{part}: rounds": told}
        seconds[part] = round(time.monotonic() - began)
    if "sequence" in parts:
        strangers = people(chosen.lessons, random.Random(3), world.taken)
        asked = [askings(one, HELD_OUT) for one in strangers]
        world.loop.settings = world.use
        with _headed("sequence"):
            whole["sequence"] = sequence.run(world.loop, world.tasks(strangers), asked, world.known, world.others)
        seconds["sequence"] = round(time.monotonic() - began) - seconds.get(part, 0)
    return whole, seconds


@contextmanager
def _headed(part: str) -> Iterator[None]:
    """What is printed inside comes out in whole lines, each after the part's name."""
    lines = _Lines(part)
    with redirect_stdout(lines):
        yield
    if lines.begun:
        lines.write("\n")


class _Lines(io.TextIOBase):
    def __init__(self, part: str) -> None:
        self._out, self._part, self.begun = sys.stdout, part, ""

    def write(self, text: str, /) -> int:
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            self._out.write(f"{self._part:9} | {line}\n")
        self._out.flush()
        return len(text)


if __name__ == "__main__":
    main()
