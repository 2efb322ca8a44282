"""Fifty lessons in a row in the lab world: what remains of the first ones, by how they are kept.

The lessons are study material that the trained writer wrote about people nobody has seen, one person a lesson. After
each, its person is asked about; after every tenth, all so far, and people whom the base knew. `kept` is what of the
right answers just after each lesson is still there at the end.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from gradatim.model.scoring import grade
from gradatim.recipes.dialects import LabDialect
from gradatim.recipes.rewards import Edit
from gradatim.recipes.seal import Asking, SelfEdits, Task
from gradatim.recipes.sequential import Lesson, Merged, Routed, Shared, Strategy, distilled, learn, tokens_of
from gradatim.worlds import lab

EVERY = 10
LEAST = 2.0
"""Log-odds from which a gate that goes by words may claim a question; chosen on other lessons and other people."""


def run(
    loop: SelfEdits[str],
    tasks: Sequence[Task[str]],
    asked: Sequence[Sequence[Asking]],
    known: Sequence[Asking],
    others: Sequence[str],
) -> dict[str, Any]:
    """Every strategy on these tasks. The base answers `known` right, as it does `others`, which the gates may see."""
    chat = loop.bank.base.chat
    edits = _written(loop, tasks)
    lessons = [Lesson(edit.pairs, edit.learning_rate, 9000 + number, _cues(edit)) for number, edit in enumerate(edits)]
    seen, asking = [], 0
    for task, edit, lesson in zip(tasks, edits, lessons, strict=True):
        cues = [cue for cue in lesson.cues if cue.endswith("?")]
        views = [chat.raw(lab.READ.format(passage=task.passage, question=f"Question: {cue}\nAnswer:")) for cue in cues]
        pairs = distilled(loop.bank, list(zip(cues, views, strict=True)))
        asking += bool(pairs)
        seen.append(Lesson(tuple(pairs) or edit.pairs, lesson.learning_rate, lesson.seed, lesson.cues))
    plan, bank = loop.settings.inner, loop.bank
    strategies: dict[str, tuple[Strategy, Sequence[Lesson]]] = {
        "one adapter": (Shared(bank, plan), lessons),
        "one adapter, rehearsing": (Shared(bank, plan, rehearse=True, name="rehearsing"), lessons),
        "one adapter, distilled": (Shared(bank, plan, name="distilled"), seen),
        "one each, routed": (Routed(bank, plan, others), lessons),
        "one each, routed by words": (Routed(bank, plan, others, "by words", tokens_of, LEAST), lessons),
        "one each, routed by words, distilled": (Routed(bank, plan, others, "seen", tokens_of, LEAST), seen),
    }
    before = [_right(loop, [of_one], [None] * len(of_one))[0] for of_one in asked]
    found: dict[str, Any] = {
        "base": {"recall": round(100 * statistics.mean(before), 1)},
        "lessons with questions": round(100 * asking / len(lessons), 1),  # only these can be distilled
    }
    for group in ({"merged": (Merged(bank, plan), lessons)}, strategies):  # what merges changes the base under others
        found |= _streams(loop, group, asked, known)
    return found


def _streams(
    loop: SelfEdits[str],
    strategies: Mapping[str, tuple[Strategy, Sequence[Lesson]]],
    asked: Sequence[Sequence[Asking]],
    known: Sequence[Asking],
) -> dict[str, Any]:
    """Strategies that are taught in the same passes."""
    began = time.monotonic()
    streams = {name: _Stream(loop, strategy, asked, known) for name, (strategy, _) in strategies.items()}
    try:
        for number in range(len(asked)):
            taught = [(strategy, lessons[number]) for strategy, lessons in strategies.values()]
            learn(loop.bank, loop.settings.inner, taught, loop.replay)
            for stream in streams.values():
                stream.ask(number + 1)
    finally:
        for strategy, _ in strategies.values():
            strategy.close()
    for name, stream in streams.items():
        print(f"{name:36} {stream.row()}", flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    return {name: {**stream.row(), "course": stream.course} for name, stream in streams.items()}


@dataclass
class _Stream:
    """What a strategy gets right just after each lesson, and of all lessons now and then."""

    loop: SelfEdits[str]
    strategy: Strategy
    asked: Sequence[Sequence[Asking]]
    known: Sequence[Asking]
    after: list[float] = field(default_factory=list)
    now: list[float] = field(default_factory=list)
    course: list[dict[str, float]] = field(default_factory=list)

    def ask(self, number: int) -> None:
        """After so many lessons."""
        self.after += self._right(self.asked[number - 1 : number])
        if number % EVERY == 0 or number in (1, 5, len(self.asked)):
            self.now = self._right(self.asked[:number])
            known = statistics.mean(
                _graded(self.loop, self.known, self.strategy.adapters([one.question for one in self.known]))
            )
            row = {"lessons": number, "recall": statistics.mean(self.now), "known": known}
            self.course.append({key: round(value, 3) for key, value in row.items()})

    def _right(self, asked: Sequence[Sequence[Asking]]) -> list[float]:
        names = self.strategy.adapters([one.question for of_one in asked for one in of_one])
        return _right(self.loop, asked, names)

    def row(self) -> dict[str, float]:
        rows = np.array([self.after, self.now])
        low = high = rows[1].mean() / max(1e-9, rows[0].mean())
        if (rows[0] != rows[1]).any():
            kept = bootstrap(rows, _ratio, paired=True, rng=0, vectorized=True, method="percentile")
            low, high = kept.confidence_interval
        shown = {"just after": rows[0].mean(), "at the end": rows[1].mean(), "kept": _ratio(rows[0], rows[1], 0)}
        shown |= {"low": low, "high": high, "known": self.course[-1]["known"]}
        return {key: round(100 * float(value), 1) for key, value in shown.items()}


def _written(loop: SelfEdits[str], tasks: Sequence[Task[str]]) -> list[Edit]:
    """An edit by the writer for each task; the passage where nothing of it can be read, hardly ever with pools."""
    drafts = loop.write(tasks, 1, seed=11)
    plain = LabDialect(loop.bank.base.chat).plain
    return [edits[0] if edits else plain(task.passage) for edits, task in zip(drafts, tasks, strict=True)]


def _ratio(after: np.ndarray, now: np.ndarray, axis: int) -> np.ndarray:
    return now.mean(axis) / np.maximum(1e-9, after.mean(axis))


def _cues(edit: Edit) -> tuple[str, ...]:
    """What questions about an edit's lines could look like: its questions, and its sentences."""
    lines = edit.text.replace(". ", ".\n").splitlines()
    told = lines if edit.kind == "passage" else lines[1:]
    cues = (line.removeprefix("Question:").split("Answer:")[0].strip() for line in told)
    return tuple(cue for cue in cues if cue) or (edit.text,)


def _right(loop: SelfEdits[str], asked: Sequence[Sequence[Asking]], names: Sequence[str | None]) -> list[float]:
    """The share of each lesson's questions answered right."""
    right = iter(_graded(loop, [one for of_one in asked for one in of_one], names))
    return [statistics.mean(next(right) for _ in of_one) for of_one in asked]


def _graded(loop: SelfEdits[str], asked: Sequence[Asking], names: Sequence[str | None]) -> list[float]:
    pairs = [one.pair(loop.bank.base.chat) for one in asked]
    groups: dict[str | None, list[int]] = {}
    for number, name in enumerate(names):
        groups.setdefault(name, []).append(number)
    right = [0.0] * len(pairs)
    graded = grade(loop.bank, [[pairs[i] for i in chosen] for chosen in groups.values()], [*groups])
    for chosen, grades in zip(groups.values(), graded, strict=True):
        for i, one in zip(chosen, grades, strict=True):
            right[i] = float(one.greedy)
    return right
