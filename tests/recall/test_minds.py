"""Who answers: the lesson, where what it tells was studied and fits; an older lesson or the base where not."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest
import torch

from gradatim.learn import Trainee, train
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.beams import Beam, Beams
from gradatim.model.routing import Gate
from gradatim.recall import Minds, Studied, minds
from gradatim.recall.minds import LEAST_EVIDENCE, fit
from gradatim.types import StudyExample, TrainingPlan
from gradatim.writing.asker import GENERAL, Asker, View
from tests.tiny import tiny_base

Search = Generator[None, None, list[list[Beam]]]
LESSONS = {"When does the mill open?": "The mill opens at five.", "Who weighs the sacks?": "Tamsin Vole does."}
QUESTIONS, TEXTS = list(LESSONS), list(LESSONS.values())
OPEN, AJAR, SHUT = (
    Gate(torch.zeros(32), torch.ones(32), torch.zeros(32), torch.tensor([logit])) for logit in (1.0, -1.0, -3.0)
)
STUDIED = Studied.of([(text, "Mill") for text in TEXTS], tiny_base().chat)


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    """With an adapter that has learnt both lessons by heart, and one that has learnt nothing."""
    torch.set_num_threads(1)
    made = AdapterBank(tiny_base(max_position_embeddings=4096, initializer_range=0.5))
    plan = TrainingPlan(rank=8, alpha=16.0, learning_rate=1e-2, tokens=24_000, batch_tokens=120, openings=0.0)
    adapter = made.add("mill", Adapter(made.shapes(), plan.rank, plan.alpha, "cpu").initialise(0))
    train(made, [Trainee("mill", adapter, [StudyExample(q, a, "qa", "d") for q, a in LESSONS.items()], plan, ())])
    made.add("new", Adapter(made.shapes(), plan.rank, plan.alpha, "cpu").initialise(1))
    return made


@pytest.fixture
def fitting(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """How well each text fits any question; a random model has no opinion worth testing."""
    fits = dict.fromkeys(TEXTS, 9.0)

    def given(askers: Sequence[Asker], asked: Sequence[tuple[str, str, str]]) -> list[float]:
        return [fits[text] for _, text, _ in asked]

    monkeypatch.setattr(minds, "fit", given)
    return fits


def test_what_was_learnt_is_told_by_the_one_who_learnt_it(bank: AdapterBank, fitting: dict[str, float]) -> None:
    told: list[int] = []
    replies = Minds(bank, {"mill": OPEN}, {"mill": STUDIED}).reply(QUESTIONS, advance=told.append)
    assert [(reply.text, reply.adapter) for reply in replies] == [(text, "mill") for text in TEXTS]
    assert sum(told) == 2


def test_a_text_is_told_to_its_end_however_long(bank: AdapterBank, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def recorded(bank: AdapterBank, prompts: Sequence[object], names: Sequence[str], how: Beams) -> Search:
        asked.append(how.max_tokens)
        yield
        return [[] for _ in prompts]

    monkeypatch.setattr(minds, "searching", recorded)
    long = " ".join(["sacks"] * 200)
    studied = Studied.of([(long, "Mill")], bank.base.chat)
    Minds(bank, {"mill": OPEN}, {"mill": studied}).reply(QUESTIONS, of_base=["", ""])
    assert asked == [len(bank.base.chat.target("", long))]


def test_an_unclaimed_question_is_the_bases(bank: AdapterBank) -> None:
    bare = Minds(bank, {}).reply(QUESTIONS)
    assert Minds(bank, {"mill": SHUT}, {"mill": STUDIED}).reply(QUESTIONS) == bare
    given = Minds(bank, {"mill": SHUT}, {"mill": STUDIED}).reply(QUESTIONS, of_base=["one", "two"])
    assert [(reply.text, reply.adapter) for reply in given] == [("one", None), ("two", None)]


def test_a_gate_in_doubt_leaves_it_to_the_other_evidence(bank: AdapterBank, fitting: dict[str, float]) -> None:
    minds_in_doubt = Minds(bank, {"mill": AJAR}, {"mill": STUDIED})
    assert [reply.adapter for reply in minds_in_doubt.reply(QUESTIONS)] == ["mill", "mill"]
    fitting[TEXTS[0]] = fitting[TEXTS[1]] = LEAST_EVIDENCE  # the gate takes 1 away
    assert [reply.adapter for reply in minds_in_doubt.reply(QUESTIONS)] == [None, None]
    assert [reply.adapter for reply in Minds(bank, {"mill": AJAR}).reply(QUESTIONS)] == [None, None]  # no list


def test_a_sure_older_gate_goes_before_a_newer_one_in_doubt(bank: AdapterBank, fitting: dict[str, float]) -> None:
    """Both adapters are the one that knows; who answers is a matter of their gates alone."""
    bank.add("twin", bank.adapters["mill"])
    try:
        minds_of_two = Minds(bank, {"mill": OPEN, "twin": AJAR}, {"mill": STUDIED, "twin": STUDIED})
        assert [reply.adapter for reply in minds_of_two.reply(QUESTIONS)] == ["mill", "mill"]
        both_sure = Minds(bank, {"mill": OPEN, "twin": OPEN}, {"mill": STUDIED, "twin": STUDIED})
        assert [reply.adapter for reply in both_sure.reply(QUESTIONS)] == ["twin", "twin"]
    finally:
        bank.remove("twin")


def test_what_was_never_studied_is_not_told(bank: AdapterBank, fitting: dict[str, float]) -> None:
    only_second = {"mill": Studied.of([(TEXTS[1], "Mill")], bank.base.chat)}
    first, second = Minds(bank, {"mill": OPEN}, only_second).reply(QUESTIONS, of_base=["base", "base"])
    assert (second.text, second.adapter) == (TEXTS[1], "mill")
    assert first.text in ("base", TEXTS[1])  # the other text, where it is among the beams; never the unlisted one


def test_what_does_not_fit_is_not_told(bank: AdapterBank, fitting: dict[str, float]) -> None:
    fitting[TEXTS[0]] = fitting[TEXTS[1]] = LEAST_EVIDENCE - 1.1  # the gate adds 1
    replies = Minds(bank, {"mill": OPEN}, {"mill": STUDIED}).reply(QUESTIONS)
    assert replies == Minds(bank, {}).reply(QUESTIONS)


def test_an_older_lesson_is_asked_when_the_newer_has_nothing_to_say(
    bank: AdapterBank, fitting: dict[str, float]
) -> None:
    gates = {"mill": OPEN, "new": OPEN}
    replies = Minds(bank, gates, {"mill": STUDIED, "new": STUDIED}).reply(QUESTIONS)
    assert [(reply.text, reply.adapter) for reply in replies] == [(text, "mill") for text in TEXTS]


def test_without_a_list_the_adapter_answers_greedily(bank: AdapterBank) -> None:
    replies = Minds(bank, {"mill": None}).reply(QUESTIONS)
    assert [(reply.text, reply.adapter) for reply in replies] == [(text, "mill") for text in TEXTS]


@pytest.mark.parametrize(("gap", "chosen"), [(2.9, 1), (3.1, 0)])
def test_likelihood_and_fit_are_weighed(
    bank: AdapterBank, fitting: dict[str, float], monkeypatch: pytest.MonkeyPatch, gap: float, chosen: int
) -> None:
    """A garbled text is left out however likely, and of the genuine ones a worse fit must be made up for."""
    fitting[TEXTS[1]] = 12.0
    spelt = {text: tuple(bank.base.chat.raw(text)) for text in (*TEXTS, "The mill weighs Tamsin.")}
    found = [Beam(spelt["The mill weighs Tamsin."], -0.01), Beam(spelt[TEXTS[0]], -1), Beam(spelt[TEXTS[1]], -1 - gap)]

    def scripted(*_: object) -> Search:
        yield
        return [found]

    monkeypatch.setattr(minds, "searching", scripted)
    (reply,) = Minds(bank, {"mill": OPEN}, {"mill": STUDIED}).reply(["Who?"])
    assert reply.text == TEXTS[chosen]


def test_fit_is_what_the_text_adds_to_the_likelihood_of_the_question(bank: AdapterBank) -> None:
    """By each question's own asker, whatever the others use."""
    bare, other = Asker(bank), Asker(bank, "mill")

    def gain(asker: Asker, question: str, text: str) -> float:
        with_text, without = asker.log_likelihood([(View("Mill", text), question), (View(GENERAL), question)])
        return with_text - without

    asked = [(QUESTIONS[0], TEXTS[1], "Mill"), (QUESTIONS[1], TEXTS[1], "Mill"), (QUESTIONS[0], TEXTS[0], "Mill")]
    askers = [bare, other, bare]
    expected = [gain(asker, question, text) for asker, (question, text, _) in zip(askers, asked, strict=True)]
    assert fit(askers, asked) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert len({round(value, 3) for value in expected}) == 3
    assert fit([], []) == []
