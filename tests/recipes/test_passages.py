"""SEAL on documents: edits are lists of prompts, each answered by the passage itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gradatim.learn.inner import InnerPlan, new_adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from gradatim.recipes.passages import OPENING, SETTINGS, PassageDialect, Told, document
from gradatim.recipes.rewards import Edit
from gradatim.recipes.seal import WRITER, SelfEdits, Settings, Task
from gradatim.writing.studying import FREE, KINDS, MOST_PROMPTS
from tests.tiny import tiny_base

HARBOUR = Told("Port Elms", "The harbour closes at nine.")
LAMP = Told("Port Elms", "Otto Brand lights the lamp.")


@pytest.fixture
def bank() -> AdapterBank:
    torch.set_num_threads(1)
    return AdapterBank(tiny_base())


def test_each_prompt_is_answered_by_the_passage(bank: AdapterBank) -> None:
    dialect, chat = PassageDialect(bank.base.chat), bank.base.chat
    edit = dialect.read(HARBOUR, " When does it close? |  Closing   time? | When does it close? \nTitle: next", "long")
    assert edit is not None
    prompts = ["When does it close?", "Closing time?"]
    assert edit.pairs == tuple(
        Pair(tuple(chat.prompt(prompt)), tuple(chat.target(prompt, HARBOUR.text))[:OPENING]) for prompt in prompts
    )
    whole = PassageDialect(chat, opening=None).pair(prompts[0], HARBOUR)
    assert chat.text([*whole.target]) == HARBOUR.text
    assert edit.kind == "long"
    assert dialect.read(HARBOUR, edit.text, "long") == edit


def test_the_passage_itself_and_single_words_are_no_prompts(bank: AdapterBank) -> None:
    dialect = PassageDialect(bank.base.chat)
    for text in ("", "\n\n", "Harbour", "|||", f"{HARBOUR.text} | x"):
        assert dialect.read(HARBOUR, text, FREE) is None
    many = dialect.read(HARBOUR, " | ".join(f"Question number {n}?" for n in range(50)), FREE)
    assert many is not None
    assert len(many.pairs) == MOST_PROMPTS


def test_worked_examples_are_for_an_untrained_writer(bank: AdapterBank) -> None:
    dialect, chat = PassageDialect(bank.base.chat), bank.base.chat
    case = chat.raw("Title: Port Elms. Text: The harbour closes at nine.\nStudy:")
    assert dialect.prompt(HARBOUR, FREE) == case
    prompts = {kind: dialect.prompt(HARBOUR, kind) for kind in KINDS}
    assert len({tuple(prompt) for prompt in prompts.values()}) == len(KINDS) == 5
    assert all(len(prompt) > len(case) for prompt in prompts.values())
    with pytest.raises(ValueError, match="edits are anything, questions"):
        dialect.prompt(HARBOUR, "song")


def test_a_trained_writer_is_asked_without_examples(bank: AdapterBank, monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = PassageDialect(bank.base.chat)
    loop = SelfEdits(bank, dialect, SETTINGS)
    asked: list[str] = []

    def prompt(passage: Told, kind: str) -> list[int]:
        asked.append(kind)
        return bank.base.chat.raw(passage.text)

    monkeypatch.setattr(dialect, "prompt", prompt)
    tasks = [Task(HARBOUR, (), ())]
    loop.single(tasks, 6, seed=0)
    assert sorted(asked) == sorted([*KINDS, KINDS[0]])
    asked.clear()
    loop.write(tasks, 2, seed=0)
    assert sorted(asked) == sorted([*KINDS, *KINDS])  # a draft of each kind makes an edit
    asked.clear()
    bank.add(WRITER, new_adapter(bank, InnerPlan(), 0))
    loop.single(tasks, 2, seed=0)
    assert asked == [FREE, FREE]
    asked.clear()
    loop.write(tasks, 2, seed=0)
    assert asked == [FREE] * 2 * len(KINDS)


def test_lists_are_put_together_as_one_list(bank: AdapterBank) -> None:
    dialect = PassageDialect(bank.base.chat)
    drafts = [
        dialect.read(HARBOUR, text, kind)
        for text, kind in (
            (" When does it close? | Who may enter? | ", "questions"),
            ("It shuts at nine | Who may enter?", "rewrite"),
        )
    ]
    loop = SelfEdits(bank, dialect, replace(SETTINGS, pooled=2))
    (pool,) = loop.pools(Task(HARBOUR, (), ()), [draft for draft in drafts if draft is not None])
    assert [part.strip() for part in pool.text.split("|")] == [
        "When does it close?",
        "Who may enter?",
        "It shuts at nine",
    ]
    assert pool.pairs == tuple(dialect.pair(part.strip(), HARBOUR) for part in pool.text.split("|"))


def test_a_pool_takes_what_fits_in_the_order_of_what_tells_its_passage_from_the_others(bank: AdapterBank) -> None:
    harbour, lamp = document([(one.subject, one.text) for one in (HARBOUR, LAMP)])
    assert (harbour.others, lamp.others) == ((LAMP.text,), (HARBOUR.text,))
    dialect = PassageDialect(bank.base.chat)
    said = "Who lights the lamp? | When is it that the harbour of which we are told closes? | Until nine?"
    draft = dialect.read(harbour, said, "questions")
    assert draft is not None

    def pooled(most: int) -> list[str]:
        (pool,) = SelfEdits(bank, dialect, replace(SETTINGS, pooled=1, edit_tokens=most)).pools(
            Task(harbour, (), ()), [draft]
        )
        return [part.strip() for part in pool.text.split("|")]

    long, short, strange = dialect.ranked(harbour, said.split(" | "))
    assert (long, short, strange) == (said.split(" | ")[1], "Until nine?", "Who lights the lamp?")
    assert pooled(10_000) == [long, short, strange]
    size = len(bank.base.chat.raw(f" {long}"))
    assert pooled(size + 2) == [long]
    assert pooled(size - 2) == [short, strange]  # what is too long gives way to what fits


def test_a_book_is_studied_by_one_adapter_and_what_is_not_asked_is_company(
    bank: AdapterBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right prompts for a passage are rewarded over prompts about nothing, though both are studied in company."""
    dialect = PassageDialect(bank.base.chat, learning_rate=1e-2)
    asked = (dialect.pair("When is the harbour shut?", HARBOUR),)
    tasks = [Task(HARBOUR, asked, asked, "book"), Task(LAMP, (), (), "book")]
    inner = InnerPlan(rank=4, positions=400, step_positions=60, at_once=4)
    settings = Settings(kinds=KINDS, trained_kind=FREE, tried=2, seeds=2, finalists=1, final_seeds=1, inner=inner)
    loop = SelfEdits(bank, dialect, settings)

    def edit(passage: Told, prompts: str) -> Edit:
        made = dialect.read(passage, prompts, "questions")
        assert made is not None
        return made

    good, poor = edit(HARBOUR, "When is the harbour shut now?"), edit(HARBOUR, "Zebra zebra zebra")
    monkeypatch.setattr(loop, "write", lambda *_: [[poor, good], [edit(LAMP, "Who lights it?")]])
    report = loop.round(tasks, 0)
    assert [(one.task, one.edit) for one in report.kept] == [(0, good)]
    assert WRITER in bank.adapters
    assert [len(one.rewards) for one in report.tried] == [2, 2, 2]
    assert report.tried[2].rewards == (0, 0)
