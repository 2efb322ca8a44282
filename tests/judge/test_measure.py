"""What is measured of a candidate, on a tiny model: nothing for one that changes nothing, and the true drift else."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import t as student

from gradatim.judge import answered_in_context, skill_suite
from gradatim.judge.exam import write_exam
from gradatim.judge.measure import drift, measure, right
from gradatim.judge.skills import SkillQuestion
from gradatim.model.bank import AdapterBank
from gradatim.recall import Minds
from gradatim.types import Passage, Question
from gradatim.writing.facts import find_facts
from tests.model.reference import trained
from tests.tiny import tiny_base

PROMPTS = ["Where is the mill?", "Who runs the ferry to Harrow?", "How many steps?"]


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    torch.set_num_threads(1)
    made = AdapterBank(tiny_base(max_position_embeddings=4096))
    trained(made, "far")
    made.add("still", trained(made, "other", seed=3))
    for B in made.adapters["still"].B.values():
        B.data.zero_()
    return made


def direct(bank: AdapterBank, name: str, prompt: str, reply: str) -> float:
    """KL(base ‖ adapter) per token of the reply, one text at a time, from the definition."""
    chat = bank.base.chat
    opening, target = chat.prompt(prompt), chat.target(prompt, reply)
    ids = torch.tensor([opening + target])
    logs = []
    with torch.no_grad():
        for mind in (None, name):
            with bank.rows([mind]):
                logits = bank.base.model(ids).logits[0, len(opening) - 1 : -1]
            logs.append(logits.double().log_softmax(-1))
    base, mine = logs
    return float((base.exp() * (base - mine)).sum(-1).mean())


def test_drift_is_the_divergence_from_the_base(bank: AdapterBank) -> None:
    replies = ["By the river.", "Tamsin Vole", "seven"]
    values = torch.tensor([direct(bank, "far", p, r) for p, r in zip(PROMPTS, replies, strict=True)])
    mean, low, high = drift(bank, ["far"] * 3, PROMPTS, replies, 0.9)
    reach = float(student.ppf(0.95, 2)) * float(values.std()) / 3**0.5
    assert mean == pytest.approx(float(values.mean()), rel=1e-4)
    assert mean > 0.01
    assert high == pytest.approx(mean + reach, rel=1e-3)
    assert low == pytest.approx(max(0, mean - reach), rel=1e-3, abs=1e-6)


def test_an_adapter_that_does_nothing_drifts_nowhere(bank: AdapterBank) -> None:
    mean, low, high = drift(bank, ["still"] * 3, PROMPTS, PROMPTS, 0.95)
    assert (mean, low, high) == pytest.approx((0, 0, 0), abs=1e-6)


def test_drift_of_too_few_prompts_is_unknown(bank: AdapterBank) -> None:
    assert drift(bank, [], [], [], 0.95) == (0.0, 0.0, float("inf"))
    assert drift(bank, ["far"], PROMPTS[:1], ["x y"], 0.95)[2] == float("inf")
    assert drift(bank, ["far"] * 3, PROMPTS, ["", "", ""], 0.95) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("gates", [{}, {"still": None}])
def test_a_mind_that_changes_nothing_loses_nothing(bank: AdapterBank, gates: dict[str, None]) -> None:
    suite = [*skill_suite()[:5], SkillQuestion("mine", "general", "Anything?", {"regex": "."})]
    bare = Minds(bank, {})
    replies = bare.reply([question.question for question in suite], max_tokens=32)
    of_base = [reply.text for reply in replies]
    exam = [Question("q", "Where is the mill?", ("nowhere",), "p"), Question("r", "Who?", (of_base[0],), "p")]
    before = right(exam, bare.ask([question.text for question in exam]))
    advanced: list[int] = []
    measured = measure(
        Minds(bank, gates),
        exam=exam,
        exam_before=before,
        lessons=exam[:1],
        lessons_before=before[:1],
        suite=suite,
        of_base=of_base,
        controls={"no update": 0.0},
        confidence=0.95,
        advance=advanced.append,
    )
    assert measured.exam.after == measured.exam.before == before
    assert measured.lessons.after == measured.lessons.before
    assert measured.skills.after == measured.skills.before
    assert measured.skills.before[-1]
    assert measured.kl[0] == pytest.approx(0, abs=1e-6)
    assert measured.controls == {"no update": 0.0}
    assert sum(advanced) >= len(exam) + 1


def test_right_is_an_accepted_answer_in_the_reply() -> None:
    asked = [Question("a", "?", ("at five", "5"), "p"), Question("b", "?", ("Vole",), "p")]
    assert right(asked, ["It opens At Five.", "voles"]) == [True, False]


def test_an_exam_keeps_a_persons_questions_first_and_few_of_each_passage(bank: AdapterBank) -> None:
    texts = ("The mill opens at five.", "Sacks are weighed by Tamsin Vole.")
    passages = [Passage(f"d:{i}", "d", text, "Mill rules") for i, text in enumerate(texts)]
    mine = Question("m", "When does the mill open?", ("five",), "d:0")
    facts = find_facts(bank, passages)
    exam = write_exam(bank, passages, facts, [mine], seed=3, most=1)
    assert exam.questions[0] == mine
    assert exam.by_person == 1
    written = [question.passage for question in exam.questions[1:]]
    assert len(written) == len(set(written))
    assert set(written) <= {"d:0", "d:1"}
    assert exam == write_exam(bank, passages, facts, [mine], seed=3, most=1)


def test_answers_in_context_are_the_bare_bases_with_the_text_before_the_question(bank: AdapterBank) -> None:
    text = "The mill opens at five."
    said = answered_in_context(bank, text, PROMPTS)
    wanted = Minds(bank, {}).reply([f"{text}\n\n{prompt}" for prompt in PROMPTS], max_tokens=40)
    assert said == [reply.text for reply in wanted]
