"""Fifty lessons in a row in the lab world: what remains of the first ones, by how they are kept.

The lessons are study material that the trained writer wrote about people nobody has seen, one person a lesson. After
each, its person is asked about; after every tenth, all so far, and people whom the base knew. `kept` is what of the
right answers just after each lesson is still there at the end.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from gradatim.model.scoring import grade
from gradatim.recipes.dialects import LabDialect
from gradatim.recipes.seal import Asking, Edit, SelfEdits, Task
from gradatim.recipes.sequential import Lesson, Merged, Routed, Shared, Strategy, distilled
from gradatim.worlds import lab

EVERY = 10


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
    plan, bank, replay = loop.settings.inner, loop.bank, loop.replay
    strategies: dict[str, tuple[Strategy, Sequence[Lesson]]] = {
        "merged": (Merged(bank, plan, replay), lessons),
        "one adapter": (Shared(bank, plan, replay), lessons),
        "one adapter, rehearsing": (Shared(bank, plan, replay, rehearse=True), lessons),
        "one adapter, distilled": (Shared(bank, plan, replay), seen),
        "one adapter each, routed": (Routed(bank, plan, others, replay), lessons),
        "one adapter each, routed, distilled": (Routed(bank, plan, others, replay), seen),
    }
    before = [_right(loop, [of_one], [None] * len(of_one))[0] for of_one in asked]
    found: dict[str, Any] = {
        "base": {"recall": round(100 * statistics.mean(before), 1)},
        "lessons with questions": round(100 * asking / len(lessons), 1),  # only these can be distilled
    }
    for name, (strategy, taught) in strategies.items():
        began = time.monotonic()
        try:
            found[name] = _stream(loop, strategy, taught, asked, known) | {"seconds": round(time.monotonic() - began)}
            shown = {key: value for key, value in found[name].items() if key != "course"}
            print(f"{name:36} {shown}", flush=True)
        finally:
            strategy.close()
    return found


def _stream(
    loop: SelfEdits[str],
    strategy: Strategy,
    lessons: Sequence[Lesson],
    asked: Sequence[Sequence[Asking]],
    known: Sequence[Asking],
) -> dict[str, Any]:
    after: list[float] = []
    course: list[dict[str, float]] = []
    now: list[float] = []
    for number, (lesson, of_one) in enumerate(zip(lessons, asked, strict=True), 1):
        strategy.learn(lesson)
        after += _right(loop, [of_one], strategy.adapters([one.question for one in of_one]))
        if number % EVERY == 0 or number in (1, 5, len(lessons)):
            every = asked[:number]
            now = _right(loop, every, strategy.adapters([one.question for of_one in every for one in of_one]))
            grades = _graded(loop, known, strategy.adapters([one.question for one in known]))
            course.append({"lessons": number, "recall": statistics.mean(now), "known": statistics.mean(grades)})
    rows = np.array([after, now])
    low = high = rows[1].mean() / max(1e-9, rows[0].mean())
    if (rows[0] != rows[1]).any():
        kept = bootstrap(rows, _ratio, paired=True, rng=0, vectorized=True, method="percentile")
        low, high = kept.confidence_interval
    return {
        "just after": round(100 * float(rows[0].mean()), 1),
        "at the end": round(100 * float(rows[1].mean()), 1),
        "kept": round(100 * float(_ratio(rows[0], rows[1], 0)), 1),
        "low": round(100 * float(low), 1),
        "high": round(100 * float(high), 1),
        "known": round(100 * course[-1]["known"], 1),
        "course": [{key: round(value, 3) for key, value in one.items()} for one in course],
    }


def _written(loop: SelfEdits[str], tasks: Sequence[Task[str]]) -> list[Edit]:
    """The writer's first readable draft for each task; the passage where there is none."""
    drafts = loop.write(tasks, 3, seed=11)
    plain = LabDialect(loop.bank.base.chat).plain
    return [edits[0] if edits else plain(task.passage) for edits, task in zip(drafts, tasks, strict=True)]


def _ratio(after: np.ndarray, now: np.ndarray, axis: int) -> np.ndarray:
    return now.mean(axis) / np.maximum(1e-9, after.mean(axis))


def _cues(edit: Edit) -> tuple[str, ...]:
    """What questions about an edit's lines could look like: its questions, and its sentences."""
    lines = edit.text.replace(". ", ".\n").splitlines()
    told = lines if edit.kind == "passage" else lines[1:]
    return tuple(line.removeprefix("Question:").split("Answer:")[0].strip() for line in told)


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
