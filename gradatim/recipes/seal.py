"""SEAL: the model writes its own study material, is rewarded for what a model that studied it can do, and so learns to
write better (Zweiger et al., arXiv 2506.10943).

    outer = SelfEdits(bank, dialect, settings)
    for number in range(rounds):
        report = outer.round(tasks, number)  # drafts, inner trainings, selection, one training of the writer
        outer.save(folder, report)  # `outer.resume(folder)` goes on from there
    outer.write(tasks, 1, seed)  # what the trained writer writes

A *task* is a passage and questions about it; an *edit* is what the model writes after reading the passage: lines to
study and how fast to study them. The outer loop is ReST-EM (Singh et al., arXiv 2312.06585): draft, keep the best,
imitate them from the base on. What differs from the published protocol, and why:

- *Selection is not scoring.* A published round keeps the best of five edits by the mean of three noisy runs, and most
  of the "gain" that it reports for them is the winner's curse. Here edits are chosen by questions in one wording and
  trained from some seeds, and judged by another wording from other seeds.
- *A finer reward.* The mean log-probability of the answers, not the share of right ones: it moves before one tips.
- *Racing.* All drafts get a few seeds, only the better ones more, and means are shrunk towards the task's by how
  reliable they have shown themselves to be (`shrunk`, an analysis of variance).
- *A proxy first.* Of many drafts only those go to training in which the base itself believes most, passage in view.
- *Foresight.* Where edits are settings and not text (`foreseen`), what they have in common with edits of other tasks
  says more than one noisy training: a Gaussian process over their traits (`recipes/forecast.py`) chooses the finalists
  among all drafts, tried or not, and the kept among the finalists.
- *Doubt.* Where `doubt` is set, a line goes that has a token the base, passage in view, finds so many nats less likely
  than its favourite in that place: sampling finds many wordings, and wrong values with them. A forward pass tells them
  apart where a training would have to. The writer imitates what is left.
- *Pools.* What doubt leaves of one draft is little, so an edit is made of several: the first one's settings and the
  lines of all, in the order that the dialect gives them, as they fit. Where lines can be wrong and none is doubted, a
  pool only gathers errors.
- *Forgetting counts.* What a training loses of other answers of the base is taken off its reward, where such are given
  as `guard`. The paper's reward sees only the passage.
- *Equal effort.* Every trial takes equally many positions, so longer edits don't win by being longer; among edits that
  are studied together each has an equal share. Only where effort is itself under search does an edit say how many.

Limits: edits that are studied together are studied at one rate. The writer's imitation is trained on whole edits, so a
kept edit's wrong lines are imitated with the right ones.
"""

from __future__ import annotations

import json
import os
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from gradatim.errors import ModelError
from gradatim.learn.inner import InnerPlan, Trial, try_each
from gradatim.learn.trainer import Labels, Trainer
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.chat import ChatFormat
from gradatim.model.packing import Pair
from gradatim.model.sampling import Decoding, sample
from gradatim.model.scoring import Grade, doubts, grade
from gradatim.recipes.forecast import forecast
from gradatim.recipes.rewards import Edit, Rewarded, best, bundles, shrunk
from gradatim.store.durable import fsync_folder, temporary_folder

WRITER = "writer"


_Read = TypeVar("_Read", contravariant=True)
Source = TypeVar("Source")
"""What a model learns from, as its dialect knows it: the text of a passage, or the examples of a puzzle."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A question and its answer."""

    question: str
    answer: str

    def pair(self, chat: ChatFormat) -> Pair:
        return Pair(tuple(chat.prompt(self.question)), tuple(chat.target(self.question, self.answer)))


@dataclass(frozen=True, slots=True)
class Task(Generic[Source]):
    """A passage to learn from, questions to choose edits by, and others, in other words, to judge them by."""

    passage: Source
    selecting: tuple[Pair, ...]
    scoring: tuple[Pair, ...]
    book: str | None = None  # passages of one book are studied together, by one adapter


class Dialect(Protocol[_Read]):
    """How a model is asked to write study material, and how what it wrote is read."""

    @property
    def stop(self) -> tuple[int, ...]:
        """Token ids that end an edit besides the model's own end tokens."""
        ...

    @property
    def between(self) -> str:
        """What stands between two lines of an edit."""
        ...

    def prompt(self, passage: _Read, kind: str) -> list[int]:
        """Token ids after which the model writes an edit of that kind."""
        ...

    def traits(self, edit: Edit) -> tuple[str, ...]:
        """What edits of different tasks can have in common, each in its place."""
        ...

    def read(self, passage: _Read, text: str, kind: str) -> Edit | None:
        """The edit that a text about the passage is, asked for as that kind; None where nothing can be studied."""
        ...

    def ranked(self, passage: _Read, lines: Sequence[str]) -> list[str]:
        """Lines of several drafts in the order in which an edit made of them takes those that fit."""
        ...

    def plain(self, passage: _Read) -> Edit:
        """The passage itself as study material."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How wide the search is and how the writer is trained."""

    kinds: tuple[str, ...] = ("anything",)
    trained_kind: str | None = None  # what a trained writer is asked for instead
    drafts: int = 16  # texts written for each task
    tried: int = 6  # of which so many are trained on
    seeds: int = 2  # trainings of each, at first
    finalists: int = 2  # which get as many again
    final_seeds: int = 4
    foreseen: bool = False  # finalists come from all drafts, by what edits like them were worth
    doubt: float | None = None  # lines less sure than this many nats are dropped; None: whatever can be read stays
    pooled: int = 1  # drafts that make one edit
    harm: float = 5.0  # nats of reward for each nat that the answers of `guard` lose on average
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 160
    edit_tokens: int | None = None  # of a pool, and of what a trained writer writes in one go
    inner: InnerPlan = field(default_factory=InnerPlan)
    writer_rank: int = 16
    writer_rate: float = 5e-3
    writer_epochs: int = 8
    writer_batch: int = 8

    def __post_init__(self) -> None:
        if self.foreseen and not self.final_seeds:
            raise ValueError("what is foreseen must be tried in the end: final_seeds can't be 0")


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What a round did."""

    number: int
    trials: int
    reliability: float  # of the first heat's means, by an analysis of variance
    kept: tuple[Rewarded, ...]
    tried: tuple[Rewarded, ...] = ()  # all of the first heat


class SelfEdits(Generic[Source]):
    """The outer loop on one base: the writer's adapter is `WRITER` in the bank, or there is none yet."""

    def __init__(
        self,
        bank: AdapterBank,
        dialect: Dialect[Source],
        settings: Settings,
        seed: int = 0,
        replay: Sequence[Pair] = (),
        guard: Sequence[Pair] = (),
    ) -> None:
        self.bank, self.dialect, self.settings, self.seed = bank, dialect, settings, seed
        self.replay = tuple(replay)  # what the base says to other questions, replayed in every inner training
        self.guard = tuple(guard)  # what it says to further ones, asked after every inner training

    # -------------------------------------------------------------- writing

    def write(self, tasks: Sequence[Task[Source]], each: int, seed: int) -> list[list[Edit]]:
        """`each` edits for every task by the writer as it is, fewer where texts can't be read."""
        settings = self.settings
        drafts = self._drafts(tasks, each * settings.pooled, seed)
        if settings.doubt is not None:
            drafts = [self.believable(task, own, settings.doubt) for task, own in zip(tasks, drafts, strict=True)]
        if settings.pooled > 1:
            drafts = [self.pools(task, own) for task, own in zip(tasks, drafts, strict=True)]
        return drafts

    def single(self, tasks: Sequence[Task[Source]], each: int, seed: int) -> list[list[Edit]]:
        """`each` edits for every task as the writer writes them, whatever it doubts and without pools."""
        plain = replace(self.settings, pooled=1, doubt=None)
        return SelfEdits(self.bank, self.dialect, plain, self.seed).write(tasks, each, seed)

    def _drafts(self, tasks: Sequence[Task[Source]], each: int, seed: int) -> list[list[Edit]]:
        settings = self.settings
        kinds = self._kinds(each)
        writer = WRITER if WRITER in self.bank.adapters else None
        most = settings.max_tokens if writer is None else settings.edit_tokens or settings.max_tokens
        how = Decoding(most, settings.temperature, settings.top_p, seed, self.dialect.stop, batch=96)
        found: dict[tuple[int, int], Edit | None] = {}
        for kind in dict.fromkeys(kinds):  # apart, for what stands before a passage is run once for all of a kind
            asked = [(number, turn) for number in range(len(tasks)) for turn, own in enumerate(kinds) if own == kind]
            prompts = [self.dialect.prompt(tasks[number].passage, kind) for number, _ in asked]
            for (number, turn), reply in zip(asked, sample(self.bank, prompts, writer, how), strict=True):
                found[number, turn] = self.dialect.read(tasks[number].passage, self.bank.base.chat.text(reply), kind)
        return [
            [edit for turn in range(len(kinds)) if (edit := found[number, turn]) is not None]
            for number in range(len(tasks))
        ]

    def pools(self, task: Task[Source], drafts: Sequence[Edit]) -> list[Edit]:
        """Drafts put together, `pooled` at a time: the heading of the first, the lines of all that fit.

        Which lines come first is the dialect's to say.
        """
        chat, between, made = self.bank.base.chat, self.dialect.between, []
        most = self.settings.edit_tokens or self.settings.max_tokens
        for start in range(0, len(drafts), self.settings.pooled):
            group = drafts[start : start + self.settings.pooled]
            lines = {line: None for one in group for line in one.text.split(between)[bool(one.heading) :]}
            text, first = group[0].heading, group[0]
            for line in self.dialect.ranked(task.passage, [*lines]):
                longer = f"{text}{between}{line}" if text else line
                if len(chat.raw(longer)) <= most:
                    text = longer
            edit = self.dialect.read(task.passage, text, first.kind)
            made.append(edit or first)
        return made

    def believable(self, task: Task[Source], edits: Sequence[Edit], most: float) -> list[Edit]:
        """The edits without the lines in which the bare base, passage and lines before in view, doubts a token.

        In doubt is a token that is more than `most` nats less likely than the favourite in its place. Headings stay;
        edits of which nothing is left go.
        """
        chat, pairs, whose = self.bank.base.chat, list[Pair](), list[int]()
        between = self.dialect.between
        texts = [edit.text.split(between) for edit in edits]
        for number, (edit, lines) in enumerate(zip(edits, texts, strict=True)):
            asked = self.dialect.prompt(task.passage, edit.kind)
            for place in range(bool(edit.heading), len(lines)):
                before = "".join(f"{line}{between}" for line in lines[:place])
                seen = before.rstrip(" ")  # a space belongs to the word after it
                line = before[len(seen) :] + lines[place]
                pairs.append(Pair((*asked, *chat.raw(seen)), tuple(chat.raw(line))))
                whose.append(number)
        left: list[list[str]] = [[edit.heading] if edit.heading else [] for edit in edits]
        said = (line for edit, lines in zip(edits, texts, strict=True) for line in lines[bool(edit.heading) :])
        for number, line, of_line in zip(whose, said, doubts(self.bank, pairs), strict=True):
            if max(of_line) <= most:
                left[number].append(line)
        found = [
            self.dialect.read(task.passage, between.join(lines), edit.kind)
            for edit, lines in zip(edits, left, strict=True)
        ]
        return [edit for edit in found if edit is not None]

    def _kinds(self, each: int) -> list[str]:
        trained = self.settings.trained_kind
        kinds = self.settings.kinds if trained is None or WRITER not in self.bank.adapters else (trained,)
        return [kinds[i % len(kinds)] for i in range(each)]

    def _entered(self, task: Task[Source], edits: Sequence[Edit]) -> list[Edit]:
        """Which of a task's drafts are trained on."""
        if self.settings.foreseen:  # as various as they come, for the others are told by these
            return [*{edit.text: edit for edit in edits}.values()][: self.settings.tried]
        return self.believed(task, edits, self.settings.tried)

    def believed(self, task: Task[Source], edits: Sequence[Edit], most: int) -> list[Edit]:
        """The edits that the bare base finds likeliest after the passage, by the mean over their tokens."""
        if len(edits) <= most:
            return [*edits]
        chat = self.bank.base.chat
        pairs = [
            Pair(tuple(self.dialect.prompt(task.passage, edit.kind)), tuple(chat.raw(edit.text))) for edit in edits
        ]
        (grades,) = grade(self.bank, [pairs], [None])
        means = [one.log_probability / len(pair.target) for one, pair in zip(grades, pairs, strict=True)]
        order = sorted(range(len(edits)), key=lambda i: -means[i])
        return [edits[i] for i in order[:most]]

    # ------------------------------------------------------------- rewarding

    def trials(
        self, jobs: Sequence[tuple[Edit, Task[Source], int]], which: Callable[[Task[Source]], Sequence[Pair]]
    ) -> list[tuple[float, float]]:
        """For each (edit, task, seed) its reward, and the share of answers that are right.

        The reward is the mean log-probability of the answers, less what those of `guard` have lost.
        """
        return [of_one[0] for of_one in self.together([([(edit, task)], seed) for edit, task, seed in jobs], which)]

    def together(
        self,
        jobs: Sequence[tuple[Sequence[tuple[Edit, Task[Source]]], int]],
        which: Callable[[Task[Source]], Sequence[Pair]],
    ) -> list[list[tuple[float, float]]]:
        """The same for edits of several tasks that one adapter studies, at the first one's rate: a result for each."""
        made = [joint([edit for edit, _ in studied], seed, self.settings.inner) for studied, seed in jobs]

        def measure(names: list[str], numbers: range) -> list[list[tuple[float, float]]]:
            asked = [[self.guard, *(which(task) for _, task in jobs[number][0])] for number in numbers]
            graded = grade(self.bank, [[pair for pairs in of_job for pair in pairs] for of_job in asked], names)
            found = []
            for grades, of_job in zip(graded, asked, strict=True):
                (guarded, _), *of_tasks = _means(grades, of_job)
                harm = self.settings.harm * max(0.0, self._of_base - guarded)
                found.append([(value - harm, right) for value, right in of_tasks])
            return found

        return try_each(self.bank, made, self.settings.inner, measure, replay=self.replay)

    # ---------------------------------------------------------------- a round

    def round(self, tasks: Sequence[Task[Source]], number: int) -> RoundReport:
        """Draft, try, keep the best edit of each task, and train the writer anew on all that were kept.

        Raises ModelError when nothing of what the model wrote can be read.
        """
        settings, seed = self.settings, self.seed * 1000 + number * 100
        drafts = self.write(tasks, settings.drafts, seed)
        entered = [(edit, task) for task, edits in enumerate(drafts) for edit in self._entered(tasks[task], edits)]
        if not any(tasks[task].selecting for _, task in entered):
            raise ModelError("Nothing that the model wrote can be read as study material: it needs another dialect.")
        first = self._heat(tasks, entered, range(seed, seed + settings.seeds))
        rewarded = [Rewarded(edit, task, rewards) for (edit, task), rewards in zip(entered, first, strict=True)]
        rewarded, reliability = shrunk(rewarded)
        tried = tuple(rewarded)
        if settings.foreseen:
            had = {(task, edit.text) for edit, task in entered}
            every = {(task, edit.text): (edit, task) for task, edits in enumerate(drafts) for edit in edits}
            rewarded = forecast(rewarded, [one for key, one in every.items() if key not in had], self.dialect.traits)
        finalists = [one for task in range(len(tasks)) for one in best(rewarded, task, settings.finalists)]
        more = range(seed + settings.seeds, seed + settings.seeds + settings.final_seeds)
        again = self._heat(tasks, [(one.edit, one.task) for one in finalists], more, turn=settings.seeds)
        finalists = [
            Rewarded(one.edit, one.task, one.rewards + rewards) for one, rewards in zip(finalists, again, strict=True)
        ]
        if settings.foreseen:
            among = {(one.task, one.edit.text) for one in finalists}
            others = [one for one in tried if (one.task, one.edit.text) not in among]
            finalists = forecast([*finalists, *others], [], self.dialect.traits)[: len(finalists)]
        else:
            finalists, _ = shrunk(finalists)
        judged = [number for number, task in enumerate(tasks) if task.selecting]  # others are only company
        kept = tuple(one for task in judged for one in best(finalists, task, 1))
        self.imitate([(tasks[one.task], one.edit) for one in kept], seed)
        trials = len(entered) * settings.seeds + len(finalists) * settings.final_seeds
        return RoundReport(number, trials, reliability, kept, tried)

    # ---------------------------------------------------------- kept on disk

    def save(self, folder: Path, report: RoundReport) -> None:
        """Put the writer and what its round did into `folder`, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder) as made:
            self.bank.adapters[WRITER].save(made)
            told = {
                "number": report.number,
                "how": self._how(),
                "trials": report.trials,
                "reliability": report.reliability,
                "kept": [
                    {"task": one.task, "text": one.edit.text, "rewards": one.rewards, "shrunk": one.shrunk}
                    for one in report.kept
                ],
            }
            (made / "round.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
            for file in made.iterdir():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
            made.rename(folder / f"round-{report.number:03}")
            fsync_folder(folder)

    def resume(self, folder: Path) -> int:
        """Take the writer of the last round in `folder` on; returns how many rounds are done.

        Raises ModelError where it is not a writer of this base, or of rounds with other settings or another seed.
        """
        done = sorted(folder.glob("round-*"))
        if done:
            how = json.loads((done[-1] / "round.json").read_text("utf-8")).get("how")
            if how != self._how():
                raise ModelError(f"{done[-1]} was made with {how}, not {self._how()}: go on in another folder.")
            if WRITER in self.bank.adapters:
                self.bank.remove(WRITER)
            self.bank.add(WRITER, Adapter.load(done[-1], self.bank.module_shapes(), self.bank.base.device))
        return len(done)

    @cached_property
    def _of_base(self) -> float:
        """The base's mean log-probability of the answers of `guard`."""
        if not self.guard:
            return 0.0
        (grades,) = grade(self.bank, [self.guard], [None])
        return _means(grades, [self.guard])[0][0]

    def _how(self) -> str:
        return f"seed {self.seed}, {self.settings}"

    def _heat(
        self, tasks: Sequence[Task[Source]], entered: Sequence[tuple[Edit, int]], seeds: Sequence[int], turn: int = 0
    ) -> list[tuple[float, ...]]:
        """The rewards of each edit, a seed each. Edits of one book meet others in company from seed to seed."""
        jobs, whose = [], []
        for number, seed in enumerate(seeds):
            for bundle in bundles([(task, tasks[task].book) for _, task in entered], turn + number):
                jobs.append(([(entered[i][0], tasks[entered[i][1]]) for i, _ in bundle], seed))
                whose.append(bundle)
        rewards: list[list[float]] = [[] for _ in entered]
        for bundle, results in zip(whose, self.together(jobs, lambda task: task.selecting), strict=True):
            for (i, counts), (reward, _) in zip(bundle, results, strict=True):
                if counts:
                    rewards[i].append(reward)
        return [tuple(own) for own in rewards]

    def imitate(self, kept: Sequence[tuple[Task[Source], Edit]], seed: int) -> float:
        """Train the writer anew, from the base on, to write these edits; returns the last epoch's mean loss."""
        settings, chat = self.settings, self.bank.base.chat
        end = min(chat.end_tokens)
        shown = [
            (
                Pair(tuple(self.dialect.prompt(task.passage, kind)), (*chat.raw(edit.text), end)),
                len(chat.raw(edit.heading)) if edit.heading else 0,
            )
            for task, edit in kept
            for kind in ([settings.trained_kind] if settings.trained_kind else dict.fromkeys(settings.kinds))
        ]
        if WRITER in self.bank.adapters:
            self.bank.remove(WRITER)
        adapter = Adapter(self.bank.shapes(), settings.writer_rank, 2.0 * settings.writer_rank, self.bank.base.device)
        self.bank.add(WRITER, adapter.initialise(seed))
        trainer = Trainer(self.bank)
        trainer.join(WRITER, learning_rate=settings.writer_rate)
        chance, steps = random.Random(seed), settings.writer_epochs * -(-len(shown) // settings.writer_batch)
        done, losses = 0, [0.0]
        for _ in range(settings.writer_epochs):
            losses = []
            order = chance.sample(shown, len(shown))
            for start in range(0, len(order), settings.writer_batch):
                batch = order[start : start + settings.writer_batch]
                weights = torch.tensor([weight for pair, heading in batch for weight in _weights(pair, heading)])

                def objective(labels: Labels, weights: Tensor = weights, losses: list[float] = losses) -> Tensor:
                    values_L = labels.log_probability_L
                    losses.append(-float(values_L.detach().mean()))
                    return -(values_L * weights.to(values_L.device)).sum() / sum(labels.counts)

                trainer.set_rate(WRITER, settings.writer_rate * (1 - done / steps))
                trainer.step({WRITER: [pair for pair, _ in batch]}, objective)
                done += 1
        return statistics.mean(losses)


def _weights(pair: Pair, heading: int) -> list[float]:
    """Of each target token: what names the settings weighs as much together as all the rest."""
    rest = len(pair.target) - heading
    return [0.5 / heading] * heading + [0.5 / rest] * rest if heading else [1 / rest] * rest


def joint(edits: Sequence[Edit], seed: int, plan: InnerPlan) -> Trial:
    """One adapter's study of these edits at the first one's rate, each with about as many positions as any other."""
    positions = sum(plan.positions if edit.positions is None else edit.positions for edit in edits)
    sizes = [sum(map(len, edit.pairs)) for edit in edits]
    pairs = [pair for edit, size in zip(edits, sizes, strict=True) for pair in edit.pairs * round(max(sizes) / size)]
    return Trial(tuple(pairs), edits[0].learning_rate, seed, positions)


def _means(grades: Sequence[Grade], asked: Sequence[Sequence[Pair]]) -> list[tuple[float, float]]:
    """Of each task's questions the mean log-probability and the share of right ones; 0 where none is asked."""
    left = iter(grades)
    rows = [[next(left) for _ in pairs] for pairs in asked]
    return [
        (statistics.mean(one.log_probability for one in row), statistics.mean(float(one.greedy) for one in row))
        if row
        else (0.0, 0.0)
        for row in rows
    ]
