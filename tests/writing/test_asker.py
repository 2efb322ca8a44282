"""Who asks: what stands before a question, how likely it is, and what there is to learn from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.propose.filters import fingerprint
from gradatim.writing import fewshot
from gradatim.writing.asker import GENERAL, Asker, View, people_ask
from gradatim.writing.words import contains, stems

VIEW = View("Orrin Mill", "The mill opens at five.", "five")


@pytest.fixture(scope="module")
def trained(bank: AdapterBank) -> Asker:
    """With an adapter that changes what the base says."""
    adapter = bank.add("asker", Adapter(bank.shapes(), 4, 8.0, "cpu").initialise(0))
    with torch.no_grad():
        for name in adapter.modules:
            adapter.B[name].normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    return Asker(bank, "asker")


def test_a_view_is_shown_with_what_it_has() -> None:
    assert str(VIEW) == "Title: Orrin Mill. Text: The mill opens at five.\nAnswer: five\nQuestion:"
    assert str(View("Orrin Mill", "It opens.")) == "Title: Orrin Mill. Text: It opens.\nQuestion:"
    assert str(View(GENERAL)) == "Title: General knowledge.\nQuestion:"


def test_the_bare_base_needs_worked_examples_and_the_adapter_none(bank: AdapterBank, trained: Asker) -> None:
    chat = bank.base.chat
    assert chat.text([*trained.pair(VIEW, "When?").prompt]) == str(VIEW)
    shown = chat.text([*Asker(bank).pair(VIEW, "When?").prompt])
    assert shown == f"{fewshot.POINTING}{VIEW}"
    assert shown.count("Question:") == 3


@pytest.mark.parametrize("adapted", [False, True])
def test_the_likelihood_is_the_models_own_sum_of_log_probabilities(
    bank: AdapterBank, trained: Asker, adapted: bool
) -> None:
    asker = trained if adapted else Asker(bank)
    pair = asker.pair(VIEW, "When does it start?")
    ids = [*pair.prompt, *pair.target]
    with torch.no_grad(), bank.rows([asker.adapter]):
        logits = bank.base.model(torch.tensor([ids])).logits[0, len(pair.prompt) - 1 : -1]
    expected = float(logits.double().log_softmax(-1)[range(len(pair.target)), pair.target].sum())
    assert asker.log_likelihood([(VIEW, "When does it start?")]) == pytest.approx([expected], rel=1e-3)
    assert asker.log_likelihood([]) == []


def test_each_voice_writes_its_own_questions(bank: AdapterBank, trained: Asker) -> None:
    written = [asker.write([VIEW] * 3, temperature=0.9, seed=4) for asker in (trained, Asker(bank), trained)]
    assert written[0] == written[2] != written[1]
    assert [len(lines) for lines in written] == [3, 3, 3]


def test_people_ask_in_other_words_and_never_give_the_answer_away() -> None:
    asked = people_ask()
    assert len(asked) >= 2400
    subjects = Counter(view.subject for view, _ in asked)
    assert len(subjects) >= 40
    shared = []
    for view, question in asked:
        assert view.subject
        assert view.text
        assert len(question) > 8
        assert not view.answer or view.answer in view.text
        assert not view.answer or not contains(question, [view.answer]), question
        shared.append(len((stems(question) & stems(view.text)) - stems(view.subject)))
    assert sum(shared) / len(shared) < 0.1
    assert [view.answer == "" for view, _ in asked[:4]] == [True, False, True, False]


def test_nothing_is_learnt_from_what_the_recall_is_measured_on() -> None:
    shown = {question for _, question in people_ask()}
    books = Path("benchmarks/handbooks")
    measured = [
        json.loads(line)["question"] for f in books.rglob("*.jsonl") for line in f.read_text("utf-8").splitlines()
    ]
    assert len(measured) >= 200
    assert not {fingerprint(text) for text in shown} & {fingerprint(text) for text in measured}
    texts = " ".join(file.read_text("utf-8") for file in books.rglob("*.md"))
    assert not [view.subject for view, _ in people_ask() if view.subject in texts]
