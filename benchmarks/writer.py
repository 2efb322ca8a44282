"""SEAL's outer loop on the bundled model: handbooks learnt from what the model writes about them, before and after.

    python benchmarks/writer.py [--seeds 2] [--rounds 1] [--outer 0] [--save DIR]

The writer is trained on eight handbooks, whose questions reward its edits, and judged by the questions of six others.
A handbook's passages are studied together by one adapter, with equally many positions in every arm. Right is a
question after which the adapter begins to tell the passage with the answer, its first seven tokens word for word,
without any gate or check. The arms:

- base: nothing is trained
- passage only: the passages, each as the answer to a request for its subject, which is the same one for all of them
- untrained edits: one edit of the base for each passage and seed, as it was written
- untrained, pooled: one for each made of five drafts, of which the questions are taken first that together mention most
  of what only this passage says; such are tried, chosen and imitated in the rounds
- random edits: prompts about another passage of the same handbook
- after round n: one edit for each passage and seed by the writer after so many rounds, as it was written
- after rl: the same writer after the last round, its edits pooled as above

`kept` is the share of the base skills that the base had right and that are still right behind a gate that is fitted on
the prompts studied, as in a step. Intervals are 95 %, by bootstrap over handbooks. With `--save`, each round is kept
in a folder and taken up from there. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from gradatim.judge import is_right, skill_suite
from gradatim.judge.measure import MAX_SKILL_REPLY
from gradatim.learn.inner import Trial, try_each
from gradatim.learn.replay import base_replies, replay_prompts
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.model.packing import Pair
from gradatim.model.routing import Gate, features
from gradatim.model.scoring import grade
from gradatim.observe.documents import read_document
from gradatim.observe.passages import split_passages
from gradatim.observe.standing import standing_passages
from gradatim.observe.subject import name_subjects
from gradatim.recall import Minds
from gradatim.recipes.passages import SETTINGS, PassageDialect, Told, document
from gradatim.recipes.rewards import Edit
from gradatim.recipes.seal import SelfEdits, Task, joint
from gradatim.writing.questions import title_of
from gradatim.writing.words import contains

HANDBOOKS = Path(__file__).with_name("handbooks")
TRAIN = "copper_kite harrowfen lindqvist marrowby osprey_reach quillbrook saltmere tallow_lane".split()
TEST = "brindlecote juniper_weir kept/nightjar kept/ullenbeck vantry verrin_loam".split()
REPLAYED = 96

Book = list[Task[Told]]
Job = list[tuple[Edit, Task[Told]]]


def book(dialect: PassageDialect, name: str) -> Book:
    """A task for each passage, with the questions that it is the first to answer."""
    path = HANDBOOKS / f"{name}.md"
    passages = name_subjects(standing_passages(split_passages(read_document(path))))
    told = document([(title_of(passage), passage.text) for passage in passages])
    asked: list[list[Pair]] = [[] for _ in told]
    for line in path.with_suffix(".questions.jsonl").read_text().splitlines():
        question = json.loads(line)
        holders = [i for i, one in enumerate(told) if contains(one.text, question["accepted"])]
        if holders:
            asked[holders[0]].append(dialect.pair(question["question"], told[holders[0]]))
    return [Task(one, tuple(own), tuple(own), name) for one, own in zip(told, asked, strict=True)]


class Bench:
    """The bundled model, its handbooks, and what it said before it was taught anything."""

    def __init__(self, outer: int) -> None:
        self.bank = AdapterBank(load_base("bundled"))
        self.dialect = PassageDialect(self.bank.base.chat)
        prompts = replay_prompts()
        chosen = prompts[:: len(prompts) // REPLAYED][:REPLAYED]
        chat = self.bank.base.chat
        replay = [
            Pair(tuple(chat.prompt(one.prompt)), tuple(chat.target(one.prompt, one.target)))
            for one in base_replies(self.bank, chosen)
        ]
        self.loop = SelfEdits(self.bank, self.dialect, SETTINGS, outer, replay)
        self.train = [task for name in TRAIN for task in book(self.dialect, name)]
        self.test = [book(self.dialect, name) for name in TEST]
        self.suite = skill_suite()
        self.asked = [question.question for question in self.suite]
        self.said = [reply.text for reply in Minds(self.bank, {}).reply(self.asked, max_tokens=MAX_SKILL_REPLY)]
        self.against = features(self.bank, prompts)

    def score(self, jobs: Sequence[tuple[Job, int]]) -> list[tuple[float, float]]:
        """For each job the share of right answers and the share of base skills kept."""
        plan = self.loop.settings.inner
        trials = [joint([edit for edit, _ in job], seed, plan) for job, seed in jobs]

        def measure(names: list[str], numbers: range) -> list[tuple[float, float]]:
            groups = [[pair for _, task in jobs[number][0] for pair in task.scoring] for number in numbers]
            right = [statistics.mean(float(one.greedy) for one in of) for of in grade(self.bank, groups, names)]
            return [(share, self.kept(name, trials[i])) for share, name, i in zip(right, names, numbers, strict=True)]

        return try_each(self.bank, trials, plan, measure, replay=self.loop.replay)

    def kept(self, name: str, trial: Trial) -> float:
        chat, frame = self.bank.base.chat, self.bank.base.chat.frame
        prompts = [chat.text([*pair.prompt[frame[0] : len(pair.prompt) - frame[1]]]) for pair in trial.pairs]
        gate = Gate.fit(features(self.bank, list(dict.fromkeys(prompts))), self.against)
        replies = Minds(self.bank, {name: gate}).reply(self.asked, of_base=self.said, max_tokens=MAX_SKILL_REPLY)
        had = [is_right(question, said) for question, said in zip(self.suite, self.said, strict=True)]
        has = [is_right(question, reply.text) for question, reply in zip(self.suite, replies, strict=True)]
        return statistics.mean(float(new) for old, new in zip(had, has, strict=True) if old)

    def written(self, seeds: int, shift: int = 0, *, pooled: bool = False) -> list[tuple[Job, int]]:
        """For each handbook and seed one edit for each passage, of the passage `shift` places on."""
        jobs = []
        for tasks in self.test:
            if pooled:
                drafts = self.loop.write(tasks, seeds, seed=7)
            else:
                drafts = self.loop.single(tasks, max(seeds, len(SETTINGS.kinds)), seed=7)
            for number in range(seeds):
                job, chance = [], random.Random(number)  # all kinds alike, whatever could be read
                for place, task in enumerate(tasks):
                    source = (place + shift) % len(tasks)
                    edit = chance.choice(drafts[source] or [self.dialect.plain(tasks[source].passage)])
                    if shift:
                        asked = [pair.prompt for pair in edit.pairs]
                        target = self.dialect.plain(task.passage).pairs[0].target
                        edit = Edit(edit.text, edit.kind, tuple(Pair(one, target) for one in asked), edit.learning_rate)
                    job.append((edit, task))
                jobs.append((job, 9000 + number))
        return jobs


def row(scores: Sequence[tuple[float, float]], each: int) -> dict[str, float | int]:
    means = np.array([right for right, _ in scores]).reshape(-1, each).mean(axis=1)
    low, high = bootstrap((means,), np.mean, rng=0).confidence_interval if means.std() else (means[0], means[0])
    kept = statistics.mean(kept for _, kept in scores)
    found = {"mean": means.mean(), "low": low, "high": high, "kept": kept}
    return {**{name: round(100 * float(value), 1) for name, value in found.items()}, "n": len(scores)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--outer", type=int, default=0, help="the seed of the outer loop")
    parser.add_argument("--save", type=Path, help="a folder for the rounds; what it holds is not done again")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    began = time.monotonic()
    bench = Bench(chosen.outer)
    arms: dict[str, Any] = {}

    def tell(name: str, jobs: Sequence[tuple[Job, int]]) -> None:
        arms[name] = row(bench.score(jobs), chosen.seeds)
        print(f"{name:16} {arms[name]}  {time.monotonic() - began:.0f} s", flush=True)

    groups = [[pair for task in tasks for pair in task.scoring] for tasks in bench.test]
    print(f"{sum(map(len, bench.test))} passages, {sum(map(len, groups))} questions", flush=True)
    bare = [
        (statistics.mean(float(one.greedy) for one in of), 1.0)
        for of in grade(bench.bank, groups, [None] * len(groups))
    ]
    arms["base"] = row(bare, 1)
    numbers = range(chosen.seeds)
    tell(
        "passage only",
        [([(bench.dialect.plain(t.passage), t) for t in tasks], 9000 + n) for tasks in bench.test for n in numbers],
    )
    tell("untrained edits", bench.written(chosen.seeds))
    tell("untrained, pooled", bench.written(chosen.seeds, pooled=True))
    tell("random edits", bench.written(chosen.seeds, shift=1))
    done = bench.loop.resume(chosen.save) if chosen.save else 0
    log = []
    if done:
        tell(f"after round {done}", bench.written(chosen.seeds))
    for number in range(done, chosen.rounds):
        at = time.monotonic()
        report = bench.loop.round(bench.train, number)
        if chosen.save:
            bench.loop.save(chosen.save, report)
        tried = [one for one in report.tried if bench.train[one.task].selecting]
        log.append({
            "round": number, "trials": report.trials, "reliability": round(report.reliability, 2),
            "tried": round(statistics.mean(x for one in tried for x in one.rewards), 2),
            "kept": round(statistics.mean(statistics.mean(one.rewards) for one in report.kept), 2),
            "kinds": dict(Counter(one.edit.kind for one in report.kept).most_common()),
            "seconds": round(time.monotonic() - at),
        })  # fmt: skip
        print(log[-1], flush=True)
        tell(f"after round {number + 1}", bench.written(chosen.seeds))
    if chosen.rounds:
        tell("after rl", bench.written(chosen.seeds, pooled=True))
    print(json.dumps({"arms": arms, "rounds": log, "seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
