"""Learning to ask: people's questions become likelier, most of all those that are about the text in view."""

from __future__ import annotations

import pytest
import torch

from gradatim.learn import asking
from gradatim.learn.asking import learn_to_ask, lessons, positions
from gradatim.learn.replay import replay_prompts
from gradatim.model.bank import AdapterBank
from gradatim.writing.asker import GENERAL, Asker, View, people_ask
from tests.tiny import tiny_base


@pytest.fixture
def bank() -> AdapterBank:
    torch.set_num_threads(1)
    return AdapterBank(tiny_base(max_position_embeddings=4096))


def test_there_is_a_lesson_for_each_question_with_and_without_its_answer_and_for_those_about_nothing(
    bank: AdapterBank,
) -> None:
    learnt = lessons(Asker(bank, "new"))
    assert len(learnt) == len(people_ask()) + len(replay_prompts())
    assert bank.base.chat.text([*learnt[-1].prompt]) == str(View(GENERAL))
    assert positions(learnt) == asking.EPOCHS * sum(len(pair) for pair in learnt)


def test_what_was_learnt_is_expected_after_its_own_text(bank: AdapterBank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "EPOCHS", 60)
    monkeypatch.setattr(asking, "LEARNING_RATE", 1e-2)
    asked = people_ask()[:48:6]  # a question for each of eight texts
    pairs = [Asker(bank, "new").pair(view, question) for view, question in asked]
    told: list[int] = []
    learn_to_ask(bank, "new", pairs, advance=told.append)
    assert sum(told) == positions(pairs)

    def right(asker: Asker) -> int:
        values = asker.log_likelihood([(view, question) for _, question in asked for view, _ in asked])
        table = torch.tensor(values).view(len(asked), -1)
        return int((table.argmax(1) == torch.arange(len(asked))).sum())

    assert right(Asker(bank, "new")) >= 7
    assert right(Asker(bank)) <= 4


def test_the_same_seed_gives_the_same_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "EPOCHS", 1)
    made = []
    for seed in (3, 3, 4):
        bank = AdapterBank(tiny_base(max_position_embeddings=4096))
        made.append(learn_to_ask(bank, "new", lessons(Asker(bank, "new"))[::200], seed).flat.detach().clone())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert made[0].isfinite().all()
