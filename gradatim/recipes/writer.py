"""A workspace's own writer of study material: SEAL's outer loop on its documents, kept only where it writes better.

    report = train_writer(workspace, WriterOptions(rounds=2), progress)

Nobody has to write questions. The model asks them with each passage in view: those that choose among edits in the voice
of the adapter that asks (`writing/asker.py`), those that judge the writer in the bare base's, so that the two share no
voice; where a person gave questions about a document, these judge too and never choose. Every third document is kept
from the writer and judges it; where there is none, or too little in it, other questions about the same documents do,
and the report says so.

Before and after are measured alike: fresh edits, fresh seeds, as many positions studied. The writer is adopted when the
lower end of the 95 % interval of what it gains, in nats of the answers' log-probability, lies above zero; the next
steps then may study what it writes (the strategy "written"). What it writes is judged in each step like everything
else, so a writer needs no approval of its own.

Killed at any moment, the next call with the same documents and options goes on after the last finished round.

Limits: passages that are studied together are not independent of each other, as the interval takes them to be. The
charter's budget is held against each round, not against all rounds together. Questions are in English.
"""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scipy.stats import ttest_1samp

from gradatim import phases
from gradatim.charter import Charter
from gradatim.errors import CharterError, InputError
from gradatim.learn.replay import base_replies, replay_prompts
from gradatim.model.packing import Pair
from gradatim.observe.passages import split_passages
from gradatim.observe.screening import screen
from gradatim.observe.standing import standing_passages
from gradatim.observe.subject import name_subjects
from gradatim.progress import SILENT, Progress
from gradatim.recipes.passages import SETTINGS, PassageDialect, Told, document
from gradatim.recipes.seal import WRITER, RoundReport, SelfEdits, Settings, Task
from gradatim.store.canonical import canonical, digest_of
from gradatim.store.durable import replace
from gradatim.store.records import load_document
from gradatim.types import Cost, Digest, Passage, Question
from gradatim.watch.cost import Meter, exceeds
from gradatim.workbench import Workbench, prepare
from gradatim.workspace import Workspace
from gradatim.writing.asker import Asker
from gradatim.writing.facts import Fact, find_facts
from gradatim.writing.questions import attribute, title_of, write_questions
from gradatim.writing.words import contains

SCRATCH = "writer"
"""The folder in a workspace that holds the rounds of an unfinished loop."""

REPLAYED = 96
ATTEMPTS = 8  # at a question for every fact
ASKED = 4  # questions of each passage at most, of those that choose and of those that judge
HELD_OUT = 3  # of so many documents one judges
LEAST_JUDGING = 6  # passages with questions that documents kept from the writer must have, to judge alone

OTHER_DOCUMENTS = "other documents"
OTHER_QUESTIONS = "other questions about the same documents"

Books = Mapping[Digest, tuple[Passage, ...]]
Score = tuple[float, float]
"""Of a passage: the mean log-probability of its answers in nats, and the share that is told word for word."""


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """What a caller may ask of the loop."""

    rounds: int = 2
    seeds: int = 2  # trainings before, and after, of every document that judges
    seed: int = 0


@dataclass(frozen=True, slots=True)
class WriterReport:
    """What came of it. Shares are of questions whose passage is told word for word, without gate or check."""

    adapter: Digest
    adopted: bool
    gain: float  # in nats, over the passages that judge
    low: float
    high: float
    right_before: float
    right_after: float
    judged_on: str
    passages: int  # that judge
    rounds: tuple[dict[str, float], ...] = field(default_factory=tuple)
    cost: Cost = field(default_factory=Cost)


def train_writer(
    workspace: Workspace, options: WriterOptions, progress: Progress = SILENT, settings: Settings = SETTINGS
) -> WriterReport:
    """Train a writer on the documents of a workspace, judge it, and enter it in the ledger.

    Raises InputError where there is nothing to learn from, CharterError when a round costs more than a step may,
    WorkspaceError while a step runs, and ModelError.
    """
    charter = Charter.load(workspace.charter_path)
    with workspace.lock():
        if phases.unfinished(workspace):
            raise InputError("A step was cut short: finish it with `gradatim step` first")
        books = _books(workspace, charter)
        prepare(workspace, progress)
        with Meter() as meter:
            bench = Workbench(workspace, charter, meter, progress, workspace.registry.live())
            report = _trained(bench, books, options, settings)
        report = dataclasses.replace(report, cost=meter.cost())
        body = {"adapter": report.adapter, "base": bench.live.base, "adopted": report.adopted}
        workspace.ledger.append("writer", {**body, "report": workspace.blobs.put_json(report)})
        shutil.rmtree(workspace.folder / SCRATCH, ignore_errors=True)
        return report


def _trained(bench: Workbench, books: Books, options: WriterOptions, settings: Settings) -> WriterReport:
    bench.progress.phase("what the base says to other questions", REPLAYED)
    loop = SelfEdits(bench.bank, PassageDialect(bench.bank.base.chat), settings, options.seed, _replay(bench))
    learnt, judged = _tasks(bench, books, options.seed)
    named = canonical([bench.live.base, sorted(books), asdict(options), repr(settings)])
    folder = bench.workspace.folder / SCRATCH / digest_of(named)[:12]
    bench.progress.phase("before", None)
    before = _kept(folder / "before.json", lambda: _scores(loop, judged, options))
    rounds = _rounds(bench, loop, learnt, options, folder)
    bench.progress.phase("after", None)
    after = _kept(folder / "after.json", lambda: _scores(loop, judged, options))
    with tempfile.TemporaryDirectory(dir=folder) as made:
        loop.bank.adapters[WRITER].save(Path(made), base=str(bench.workspace.base["source"]))
        digest = bench.workspace.adapters.add(Path(made))
    others = {task.book for task in learnt}.isdisjoint(task.book for task in judged)
    return _report(digest, before, after, rounds, OTHER_DOCUMENTS if others else OTHER_QUESTIONS)


# ------------------------------------------------------------------ what there is to learn from


def _books(workspace: Workspace, charter: Charter) -> Books:
    """The passages of each document that is believed and may be learnt from, in the order of their digests.

    Nobody has looked at new ones yet, so they are screened here as a step would screen them.
    """
    split: dict[Digest, tuple[Passage, ...]] = {}
    new: set[Digest] = set()
    for record in sorted(workspace.records.documents(), key=lambda one: one.id):
        if record.status in ("new", "studied") and charter.allows_source(record.provenance.source):
            try:
                split[record.id] = split_passages(load_document(record, workspace.blobs))
            except InputError:
                continue
            if record.status == "new":
                new.add(record.id)
    trusted, fresh = (
        [passage for name, passages in split.items() if (name in new) == wanted for passage in passages]
        for wanted in (False, True)
    )
    released = workspace.records.quarantine.released()
    doubted = {one.record for one in screen(fresh, trusted, [], released=released, trust=charter.trust).quarantined}
    books = {
        name: tuple(name_subjects(standing_passages(passages)))
        for name, passages in split.items()
        if name not in doubted
    }
    if sum(map(len, books.values())) < 2:
        raise InputError("A writer learns from documents: add some with `gradatim add FILE` first")
    return books


def _replay(bench: Workbench) -> list[Pair]:
    chat, prompts = bench.bank.base.chat, replay_prompts()
    spread = prompts[:: len(prompts) // REPLAYED][:REPLAYED]
    return [
        Pair(tuple(chat.prompt(one.prompt)), tuple(chat.target(one.prompt, one.target)))
        for one in base_replies(bench.bank, spread, bench.progress.advance)
    ]


def _tasks(bench: Workbench, books: Books, seed: int) -> tuple[list[Task[Told]], list[Task[Told]]]:
    """What the writer learns from, and what judges it. A question that chooses is never one that judges."""
    passages = [passage for of_book in books.values() for passage in of_book]
    bench.progress.phase("questions about each passage", None)
    facts = find_facts(bench.bank, passages)
    choosing = _questions(bench.asker, passages, facts, seed)
    taken = {question.text for of_passage in choosing.values() for question in of_passage}
    judging = _questions(Asker(bench.bank), passages, facts, seed + 1, without=taken)
    text = {passage.id: passage.text for passage in passages}
    for question in phases.questions_by_person(bench.workspace, passages):
        if contains(text[question.passage], question.accepted):
            judging.setdefault(question.passage, []).append(question)
    dialect, tasks = PassageDialect(bench.bank.base.chat), []
    for name, of_book in books.items():
        all_told = document([(title_of(passage), passage.text) for passage in of_book])
        for passage, told in zip(of_book, all_told, strict=True):
            choose, judge = (
                tuple(dialect.pair(question.text, told) for question in found.get(passage.id, [])[-ASKED:])
                for found in (choosing, judging)
            )
            tasks.append(Task(told, choose, judge, name))
    kept_away = {name for number, name in enumerate(books) if number % HELD_OUT == HELD_OUT - 1}
    judged = [task for task in tasks if task.book in kept_away]
    if sum(1 for task in judged if task.scoring) >= LEAST_JUDGING:
        learnt = [task for task in tasks if task.book not in kept_away]
    else:
        learnt, judged = tasks, tasks
    if not any(task.selecting for task in learnt) or sum(1 for task in judged if task.scoring) < 2:
        raise InputError("No question that the model can write about these documents fits them: add longer ones")
    return learnt, judged


def _questions(
    asker: Asker,
    passages: Sequence[Passage],
    facts: Sequence[Sequence[Fact]],
    seed: int,
    without: Iterable[str] = (),
) -> dict[str, list[Question]]:
    """Questions that point at their passage, by passage."""
    written = write_questions(asker, passages, facts, each=ATTEMPTS, seed=seed, temperature=0.85)
    fitting, _ = attribute(asker, passages, facts, written)
    found: dict[str, list[Question]] = {}
    barred = set(without)
    for question in fitting:
        if question.text not in barred:
            found.setdefault(question.passage, []).append(question)
    return found


# ------------------------------------------------------------------ the rounds


def _rounds(
    bench: Workbench, loop: SelfEdits[Told], tasks: Sequence[Task[Told]], options: WriterOptions, folder: Path
) -> tuple[dict[str, float], ...]:
    """Those that are done already are read back; the writer is then in the bank."""
    log_file = folder / "rounds.json"
    done = loop.resume(folder)
    log: list[dict[str, float]] = json.loads(log_file.read_text("utf-8"))[:done] if log_file.is_file() else []
    for number in range(done, options.rounds):
        bench.progress.phase(f"round {number + 1} of {options.rounds}", None)
        with Meter() as meter:
            report = loop.round(tasks, number)
        if over := exceeds(meter.cost(), bench.charter.budget):
            line = bench.charter.line(over.split(":")[0])
            raise CharterError(f"A round of the loop costs more than a step may: {over} ({line})")
        log.append(_told(report, meter.cost()))
        loop.save(folder, report)
        replace(log_file, json.dumps(log).encode())
    return tuple(log)


def _told(report: RoundReport, cost: Cost) -> dict[str, float]:
    tried = [one for one in report.tried if one.rewards]
    return {
        "trials": report.trials,
        "reliability": round(report.reliability, 3),
        "tried": round(statistics.mean(statistics.mean(one.rewards) for one in tried), 3),
        "kept": round(statistics.mean(statistics.mean(one.rewards) for one in report.kept), 3),
        "seconds": round(cost.seconds, 1),
    }


# ------------------------------------------------------------------ before and after


def _scores(loop: SelfEdits[Told], tasks: Sequence[Task[Told]], options: WriterOptions) -> list[Score]:
    """Of each passage that judges, the mean over seeds, after studying what the writer as it is writes."""
    books: dict[str | None, list[int]] = {}
    for number, task in enumerate(tasks):
        books.setdefault(task.book, []).append(number)
    drafts = loop.single(tasks, max(options.seeds, len(loop.settings.kinds)), seed=options.seed * 1000 + 7)
    jobs, whose = [], []
    for numbers in books.values():
        for turn in range(options.seeds):
            chance = random.Random(f"{options.seed} {turn}")  # all kinds alike, whatever could be read
            edits = [chance.choice(drafts[i] or [loop.dialect.plain(tasks[i].passage)]) for i in numbers]
            jobs.append(([(edit, tasks[i]) for edit, i in zip(edits, numbers, strict=True)], 9000 + turn))
            whose.append(numbers)
    found: dict[int, list[Score]] = {}
    for numbers, results in zip(whose, loop.together(jobs, lambda task: task.scoring), strict=True):
        for number, result in zip(numbers, results, strict=True):
            if tasks[number].scoring:
                found.setdefault(number, []).append(result)
    return [
        (statistics.mean(value for value, _ in found[i]), statistics.mean(right for _, right in found[i]))
        for i in sorted(found)
    ]


def _report(
    adapter: Digest, before: Sequence[Score], after: Sequence[Score], rounds: tuple[dict[str, float], ...], judge: str
) -> WriterReport:
    gains = [new - old for (new, _), (old, _) in zip(after, before, strict=True)]
    middle = statistics.mean(gains)
    interval = ttest_1samp(gains, 0.0).confidence_interval(0.95) if len(set(gains)) > 1 else (middle, middle)
    low, high = map(float, interval)
    had, has = (statistics.mean(right for _, right in scores) for scores in (before, after))
    return WriterReport(adapter, low > 0, middle, low, high, had, has, judge, len(gains), rounds)


def _kept(file: Path, make: Callable[[], list[Score]]) -> list[Score]:
    """Worked out once, and then read back."""
    if file.is_file():
        return [(float(value), float(right)) for value, right in json.loads(file.read_text("utf-8"))]
    scores = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    replace(file, json.dumps(scores).encode())
    return scores
