"""SEAL's outer loop on a tiny model: what is written can be read, noise is told from worth, a round leaves a writer."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gradatim.errors import ModelError
from gradatim.learn.inner import InnerPlan
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.model.packing import Pair
from gradatim.model.scoring import grade, score
from gradatim.recipes import seal
from gradatim.recipes.dialects import LabDialect
from gradatim.recipes.rewards import Edit, Rewarded, best, bundles, shrunk
from gradatim.recipes.seal import WRITER, Asking, SelfEdits, Settings, Task, _weights
from gradatim.worlds.biographies import HELD_OUT, SELECTING, Person, passage, people, questions
from gradatim.worlds.lab import FREE, KINDS, LabSettings, pretrain, study_lines

INNER = InnerPlan(rank=4, positions=120, step_positions=30, at_once=16)
SETTINGS = Settings(drafts=3, tried=2, seeds=2, finalists=1, final_seeds=2, max_tokens=40, inner=INNER, writer_epochs=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("lab") / "model"
    pretrain(LabSettings(known=10, width=32, layers=2, heads=2, inner=48, steps=5, batch=4), made)
    return made


@pytest.fixture
def bank(folder: Path) -> AdapterBank:
    return AdapterBank(load_base(str(folder), dtype=torch.float32))


def task_of(bank: AdapterBank, person: Person) -> Task[str]:
    selecting, scoring = (
        tuple(Asking(one.text, one.answer).pair(bank.base.chat) for one in questions(person, wording))
        for wording in (SELECTING, HELD_OUT)
    )
    return Task(passage(person), selecting, scoring)


def edit_of(dialect: LabDialect, person: Person, kind: str, wrong: float = 0.0) -> Edit:
    edit = dialect.read("", "\n".join([f"{kind} fast", *study_lines(person, kind, random.Random(0), wrong)]), FREE)
    assert edit is not None
    return edit


# ----------------------------------------------------------------- writing


def test_a_line_that_the_base_doubts_is_dropped_and_nothing_else(
    bank: AdapterBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect, person = LabDialect(bank.base.chat), people(1, random.Random(1))[0]
    edits = [edit_of(dialect, person, kind) for kind in KINDS]
    loop, task = SelfEdits(bank, dialect, SETTINGS), task_of(bank, person)
    assert loop.believable(task, edits, 1e9) == edits
    assert loop.believable(task, edits, -1.0) == []
    seen = []

    def third(_bank: AdapterBank, pairs: list[Pair]) -> list[list[float]]:
        seen.extend(pairs)
        return [[0.0, 2.0 if number % 3 == 0 else 0.5] for number in range(len(pairs))]

    monkeypatch.setattr(seal, "doubts", third)
    left = loop.believable(task, edits, 1.0)
    lines = [line for edit in edits for line in edit.text.split("\n")[1:]]
    kept = [line for edit in left for line in edit.text.split("\n")[1:]]
    assert kept == [line for number, line in enumerate(lines) if number % 3]
    assert [edit.heading for edit in left] == [edit.heading for edit in edits]
    whole = bank.base.chat.raw(edits[0].text)
    assert seen[1].prompt + seen[1].target == (*dialect.prompt(task.passage, edits[0].kind), *whole)[: len(seen[1])]


def test_a_pool_has_the_settings_of_its_first_draft_and_the_lines_of_all_that_fit(bank: AdapterBank) -> None:
    dialect, person = LabDialect(bank.base.chat), people(1, random.Random(1))[0]
    drafts = [edit_of(dialect, person, kind) for kind in ("questions", "long", "rewrite", "questions", "active")]
    loop, task = SelfEdits(bank, dialect, replace(SETTINGS, pooled=3, max_tokens=10_000)), task_of(bank, person)
    first, second = loop.pools(task, drafts)
    lines = [line for one in drafts[:3] for line in one.text.split("\n")[1:]]
    assert first.text.split("\n") == [drafts[0].heading, *dict.fromkeys(lines)]
    assert (first.kind, first.learning_rate) == (drafts[0].kind, drafts[0].learning_rate)
    assert second.text.startswith(drafts[3].heading)
    short = SelfEdits(bank, dialect, replace(SETTINGS, pooled=3, max_tokens=60)).pools(task, drafts)[0]
    heading, *left = short.text.split("\n")
    assert heading == drafts[0].heading
    assert [line for line in dict.fromkeys(lines) if line in left] == left
    assert 0 < len(left) < len(set(lines))
    assert len(bank.base.chat.raw(short.text)) <= 60
    gone = next(line for line in dict.fromkeys(lines) if line not in left)  # nothing that fits is left out
    assert len(bank.base.chat.raw("\n".join((short.text, gone)))) > 60


# ----------------------------------------------------------------- reading


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_studied_line_by_line(bank: AdapterBank, kind: str) -> None:
    dialect, chat = LabDialect(bank.base.chat), bank.base.chat
    lines = study_lines(people(1, random.Random(1))[0], kind, random.Random(2))
    spaced = "\n".join([f"{kind} slow", *(line.replace(".", " .").replace("?", " ?") for line in lines), "  "])
    edit = dialect.read("", spaced, FREE)
    assert edit is not None
    assert (edit.kind, edit.learning_rate, len(edit.pairs)) == (kind, 1e-3, len(lines))
    for line, pair in zip(lines, edit.pairs, strict=True):
        if line.startswith("Question"):
            question, answer = line.removeprefix("Question: ").split(" Answer: ")
            assert pair == Pair(tuple(chat.prompt(question)), tuple(chat.target(question, answer)))
        else:
            assert chat.text([*pair.prompt, *pair.target]).replace(" .", ".") == line


@pytest.mark.parametrize(
    "text", ["", "\n\n", "rewrite", "rewrite fast", "rewrite quickly\nAda Abel works.", "Oslo fast\nAda Abel works."]
)
def test_what_names_no_rate_or_nothing_to_study_is_no_edit(bank: AdapterBank, text: str) -> None:
    assert LabDialect(bank.base.chat).read("", text, FREE) is None


def test_an_unknown_kind_is_refused(bank: AdapterBank) -> None:
    with pytest.raises(ValueError, match="writes anything, rewrite"):
        LabDialect(bank.base.chat).prompt("Ada Abel works.", "poem")


# ------------------------------------------------------------------ choosing


def rewarded(values: torch.Tensor) -> list[Rewarded]:
    edit = Edit("", "", (), 0.0)
    return [
        Rewarded(edit, task, tuple(float(x) for x in seeds)) for task, edits in enumerate(values) for seeds in edits
    ]


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0])
def test_reliability_is_the_share_of_true_variance(noise: float) -> None:
    """Against the definition: edits' worths have variance 1, means of 4 trainings add noise² / 4."""
    generator = torch.Generator().manual_seed(0)
    worth = torch.randn(400, 6, 1, generator=generator) + 10 * torch.randn(400, 1, 1, generator=generator)
    seen = worth + noise * torch.randn(400, 6, 4, generator=generator)
    moved, reliability = shrunk(rewarded(seen))
    assert reliability == pytest.approx(1 / (1 + noise**2 / 4), abs=0.05)
    error = torch.tensor([one.shrunk for one in moved]) - worth.flatten()
    raw = seen.mean(-1).flatten() - worth.flatten()
    assert error.square().mean() < raw.square().mean() * (1.02 if noise < 0.5 else 0.9)


def test_equal_edits_are_pulled_together_and_single_trainings_are_taken_as_they_are() -> None:
    moved, reliability = shrunk(rewarded(torch.tensor([[[1.0, 3.0], [3.0, 1.0]]])))
    assert reliability == 0
    assert [one.shrunk for one in moved] == [2, 2]
    moved, reliability = shrunk(rewarded(torch.tensor([[[1.0], [3.0]]])))
    assert (reliability, [one.shrunk for one in moved]) == (1, [1, 3])
    assert shrunk([]) == ([], 0)


def test_where_noise_hides_every_difference_the_means_decide() -> None:
    moved, reliability = shrunk(rewarded(torch.tensor([[[1.0, 3.0], [3.0, 1.5]]])))
    assert reliability == 0
    assert best(moved, 0, 1)[0].rewards == (3, 1.5)


def test_what_a_seed_does_to_all_alike_is_no_noise() -> None:
    seeds = torch.tensor([0.0, 50.0, -20.0])
    moved, reliability = shrunk(rewarded(torch.tensor([[[1.0], [2.0], [3.0]]]) + seeds))
    assert reliability == pytest.approx(1)
    assert [one.shrunk for one in moved] == pytest.approx([11, 12, 13])


def test_the_best_are_those_of_the_task() -> None:
    moved, _ = shrunk(rewarded(torch.tensor([[[1.0], [3.0], [2.0]], [[9.0], [8.0], [7.0]]])))
    assert [one.rewards for one in best(moved, 0, 2)] == [(3,), (2,)]
    assert [one.rewards for one in best(moved, 1, 1)] == [(9,)]


def test_the_base_believes_most_in_what_it_finds_likeliest(bank: AdapterBank) -> None:
    person = people(1, random.Random(3))[0]
    dialect = LabDialect(bank.base.chat)
    edits = [edit_of(dialect, person, kind) for kind in ("rewrite", "questions", "active")]
    loop = SelfEdits(bank, dialect, SETTINGS)

    def mean(edit: Edit) -> float:
        target = tuple(bank.base.chat.raw(edit.text))
        pair = Pair(tuple(dialect.prompt(passage(person), edit.kind)), target)
        return float(score(bank, [pair], None)) / len(target)

    order = sorted(edits, key=mean, reverse=True)
    assert loop.believed(task_of(bank, person), edits, 2) == order[:2]
    assert loop.believed(task_of(bank, person), edits, 3) == edits


# ------------------------------------------------------------------- together


@pytest.mark.parametrize("turn", [0, 1, 2, 5])
def test_edits_of_a_book_are_each_studied_once_beside_one_of_every_other_task(turn: int) -> None:
    entered = [(0, "b"), (0, "b"), (0, "b"), (1, "b"), (1, "b"), (2, None), (2, None), (3, "c")]
    made = bundles(entered, turn)
    counted = [i for bundle in made for i, counts in bundle if counts]
    assert sorted(counted) == list(range(len(entered)))
    for bundle in made:
        assert len({entered[i][1] for i, _ in bundle}) == 1
        assert sorted(entered[i][0] for i, _ in bundle) == (
            [0, 1] if entered[bundle[0][0]][1] == "b" else [entered[bundle[0][0]][0]]
        )
    assert len(made) == 3 + 2 + 1


def test_the_company_changes_with_the_turn() -> None:
    entered = [(task, "b") for task in range(3) for _ in range(4)]
    first, second = ({tuple(i for i, _ in bundle) for bundle in bundles(entered, turn)} for turn in (0, 1))
    assert not first & second


def test_studied_together_is_studied_as_one_and_asked_apart(bank: AdapterBank) -> None:
    """One adapter on the joined material, against the trial of an edit that holds both."""
    one, other = people(2, random.Random(15))
    dialect = LabDialect(bank.base.chat)
    loop = SelfEdits(bank, dialect, Settings(inner=InnerPlan(rank=4, positions=300, step_positions=60)))
    edits, tasks = (
        [edit_of(dialect, person, "questions") for person in (one, other)],
        [task_of(bank, p) for p in (one, other)],
    )
    ((first, second),) = loop.together([(list(zip(edits, tasks, strict=True)), 3)], lambda task: task.scoring)
    whole = Edit("", "questions", edits[0].pairs + edits[1].pairs, edits[0].learning_rate, 600)
    for task, expected in zip(tasks, (first, second), strict=True):
        assert loop.trials([(whole, task, 3)], lambda task: task.scoring)[0] == pytest.approx(expected, rel=1e-4)


# ------------------------------------------------------------------- the loop


def test_the_writer_comes_to_write_what_was_kept(bank: AdapterBank) -> None:
    somebody = people(3, random.Random(4))
    dialect = LabDialect(bank.base.chat)
    kept = [(task_of(bank, person), edit_of(dialect, person, "rewrite")) for person in somebody]
    loop = SelfEdits(bank, dialect, Settings(writer_epochs=80, writer_rate=1e-2))
    pairs = [
        Pair(tuple(dialect.prompt(task.passage, FREE)), tuple(bank.base.chat.raw(edit.text))) for task, edit in kept
    ]
    before = float(score(bank, pairs, None).sum())
    loop.imitate(kept, seed=0)
    assert float(score(bank, pairs, WRITER).sum()) > before + 40
    assert float(score(bank, pairs, None).sum()) == before


@pytest.mark.parametrize(("length", "heading"), [(10, 0), (10, 2), (3, 2)])
def test_settings_weigh_as_much_as_all_the_rest(length: int, heading: int) -> None:
    weights = _weights(Pair((1,), tuple(range(length))), heading)
    assert len(weights) == length
    assert sum(weights) == pytest.approx(1)
    assert sum(weights[:heading]) == pytest.approx(0.5 if heading else 0)


def test_settings_that_were_kept_are_asked_for(bank: AdapterBank) -> None:
    """Every kept edit asks for the slow rate: the writer comes to do so, and sooner than by counting tokens."""
    somebody = people(6, random.Random(14))
    dialect, chat = LabDialect(bank.base.chat), bank.base.chat
    kept = [
        (
            task_of(bank, one),
            dialect.read("", "\n".join(["long slow", *study_lines(one, "long", random.Random(1))]), FREE),
        )
        for one in somebody
    ]
    stranger = task_of(bank, people(7, random.Random(15))[-1])
    asked = Pair((*dialect.prompt(stranger.passage, FREE), *chat.raw("long")), tuple(chat.raw("slow")))
    found = []
    for heading in (True, False):
        loop = SelfEdits(bank, dialect, Settings(writer_epochs=6, writer_rate=1e-2, writer_batch=3))
        loop.imitate(
            [(task, replace(edit, heading=edit.heading if heading else "")) for task, edit in kept if edit], seed=0
        )
        found.append(float(score(bank, [asked], WRITER)))
    assert found[0] > found[1] > float(score(bank, [asked], None))


def test_what_is_forgotten_is_taken_off_the_reward(bank: AdapterBank) -> None:
    """The same trainings, with and without other answers to guard: the difference is what these have lost."""
    one, other = people(2, random.Random(16))
    dialect = LabDialect(bank.base.chat)
    inner = InnerPlan(rank=4, positions=900, step_positions=60)
    job = [(edit_of(dialect, one, "questions"), task_of(bank, one), 0)]
    guard = task_of(bank, other).scoring
    bare = SelfEdits(bank, dialect, Settings(inner=inner))
    (plain,), (left,) = bare.trials(job, lambda task: task.scoring), bare.trials(job, lambda _: guard)
    (grades,) = grade(bank, [guard], [None])
    lost = max(0.0, sum(one.log_probability for one in grades) / len(grades) - left[0])
    for harm in (1.0, 3.0):
        loop = SelfEdits(bank, dialect, Settings(inner=inner, harm=harm), guard=guard)
        (guarded,) = loop.trials(job, lambda task: task.scoring)
        assert guarded[0] == pytest.approx(plain[0] - harm * lost, abs=1e-3)
        assert guarded[1] == plain[1]


def test_studying_the_answers_is_rewarded(bank: AdapterBank) -> None:
    """Questions with answers, in other wordings than those asked, against another person's."""
    one, other = people(2, random.Random(5))
    dialect = LabDialect(bank.base.chat)
    loop = SelfEdits(bank, dialect, Settings(inner=InnerPlan(rank=4, positions=1500, step_positions=60)))
    jobs = [
        (edit_of(dialect, person, "questions"), task_of(bank, one), seed) for person in (one, other) for seed in (0, 1)
    ]
    rewards = [reward for reward, _ in loop.trials(jobs, lambda task: task.selecting)]
    assert min(rewards[:2]) > max(rewards[2:])


def test_a_round_is_the_same_again_and_leaves_a_writer(bank: AdapterBank, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [task_of(bank, person) for person in people(3, random.Random(6))]
    dialect = LabDialect(bank.base.chat)
    chance = random.Random(7)
    drafts = [
        [edit_of(dialect, person, chance.choice(KINDS), 0.4) for _ in range(3)]
        for person in people(3, random.Random(6))
    ]
    reports = []
    for _ in range(2):
        loop = SelfEdits(bank, dialect, SETTINGS)
        monkeypatch.setattr(loop, "write", lambda *_: drafts)  # an untrained model writes nothing that can be read
        reports.append(loop.round(tasks, 0))
        assert set(bank.adapters) == {WRITER}
        weights = bank.adapters[WRITER].flat.clone()
    assert torch.equal(weights, bank.adapters[WRITER].flat)
    assert reports[0] == reports[1]
    assert [one.task for one in reports[0].kept] == [0, 1, 2]
    assert reports[0].trials == 3 * 2 * 2 + 3 * 2
    assert all(len(one.rewards) == 4 for one in reports[0].kept)


def test_what_was_saved_goes_on_from_there(
    bank: AdapterBank, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    person = people(1, random.Random(6))[0]
    dialect = LabDialect(bank.base.chat)
    loop = SelfEdits(bank, dialect, SETTINGS)
    monkeypatch.setattr(loop, "write", lambda *_: [[edit_of(dialect, person, "questions")]])
    rounds = tmp_path / "new" / "rounds"
    assert loop.resume(rounds) == 0
    for number in range(2):
        loop.save(rounds, loop.round([task_of(bank, person)], number))
    again = AdapterBank(load_base(str(folder), dtype=torch.float32))
    assert SelfEdits(again, dialect, SETTINGS).resume(rounds) == 2
    with pytest.raises(ModelError, match="go on in another folder"):
        SelfEdits(again, dialect, SETTINGS, seed=1).resume(rounds)
    loaded, saved = again.adapters[WRITER], bank.adapters[WRITER]
    assert loaded.modules.keys() == saved.modules.keys()
    assert all(torch.equal(loaded.B[name], saved.B[name]) for name in saved.modules)
    told = json.loads((rounds / "round-001" / "round.json").read_text())
    assert told["kept"][0]["text"].startswith("questions fast")
    assert len(told["kept"][0]["rewards"]) == 4
    assert sorted(path.name for path in rounds.iterdir()) == ["round-000", "round-001"]


def test_a_round_in_which_nothing_can_be_read_says_so(bank: AdapterBank, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = SelfEdits(bank, LabDialect(bank.base.chat), SETTINGS)
    monkeypatch.setattr(loop, "write", lambda *_: [[]])
    with pytest.raises(ModelError, match="can be read as study material"):
        loop.round([task_of(bank, people(1, random.Random(6))[0])], 0)
    assert WRITER not in bank.adapters


def test_an_untrained_model_writes_nothing_that_can_be_read_or_something_that_can(bank: AdapterBank) -> None:
    tasks = [task_of(bank, person) for person in people(2, random.Random(8))]
    loop = SelfEdits(bank, LabDialect(bank.base.chat), SETTINGS)
    written = loop.write(tasks, 4, seed=0)
    assert len(written) == 2
    assert all(edit.pairs for edits in written for edit in edits)
    assert [[edit.text for edit in edits] for edits in written] == [
        [edit.text for edit in edits] for edits in loop.write(tasks, 4, seed=0)
    ]
