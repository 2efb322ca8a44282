"""Training on a tiny model: it learns by heart, alone as in company, and stays near the base where it replays."""

from __future__ import annotations

import pytest
import torch

from gradatim.learn import Trainee, base_replies, replay_prompts, train
from gradatim.learn.objectives import kl_exact
from gradatim.learn.training import CURVE_POINTS, TrainingLog, _pair
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import pack
from gradatim.model.scoring import label_logits
from gradatim.recall import Minds
from gradatim.types import StudyExample, TrainingPlan
from tests.tiny import tiny_base

LESSONS = [
    StudyExample("When does the mill open?", "At five.", "qa", "d:0"),
    StudyExample("Who weighs the sacks?", "Tamsin Vole.", "qa", "d:1"),
    StudyExample("Where is the ferry?", "At Harrow.", "qa", "d:2"),
]
PLAN = TrainingPlan(rank=8, alpha=16.0, learning_rate=1e-2, tokens=24_000, batch_tokens=120, openings=0.0)


@pytest.fixture
def bank() -> AdapterBank:
    """Its weights are wide: else the frozen output head can't be sure of any token."""
    torch.set_num_threads(1)
    return AdapterBank(tiny_base(max_position_embeddings=512, initializer_range=0.5))


def trainee(
    bank: AdapterBank,
    name: str,
    plan: TrainingPlan = PLAN,
    replay: tuple[StudyExample, ...] = (),
    study: list[StudyExample] = LESSONS,
) -> Trainee:
    adapter = bank.add(name, Adapter(bank.shapes(), plan.rank, plan.alpha, "cpu").initialise(plan.seed))
    return Trainee(name, adapter, study, plan, replay)


def short(tokens: int, **settings: object) -> TrainingPlan:
    values: dict[str, object] = {"rank": 8, "alpha": 16.0, "learning_rate": 1e-2, "tokens": tokens, "batch_tokens": 120}
    return TrainingPlan(**values | settings)  # type: ignore[arg-type]


def drift(bank: AdapterBank, name: str | None, examples: tuple[StudyExample, ...]) -> float:
    packed = pack([_pair(bank, example) for example in examples])
    with torch.no_grad():
        base, mine = (label_logits(bank, packed, [mind]).float() for mind in (None, name))
    return float(kl_exact(base, mine).mean())


def test_three_sentences_are_learnt_by_heart(bank: AdapterBank) -> None:
    advanced: list[int] = []
    log = train(bank, [trainee(bank, "a")], advanced.append)["a"]
    assert log.losses[-1] < 0.1 * log.losses[0]
    assert log.mastery[0] < 0.5
    assert sum(log.mastery[-12:]) / 12 > 0.95
    assert log.stopped_early
    assert PLAN.tokens / 3 < log.tokens < PLAN.tokens
    assert sum(advanced) == log.tokens
    assert log.steps == len(log.losses) == len(log.mastery)
    replies = Minds(bank, {"a": None}).ask([lesson.prompt for lesson in LESSONS])
    assert replies == [lesson.target for lesson in LESSONS]


def test_the_same_seed_gives_the_same_weights_and_the_base_is_left_alone(bank: AdapterBank) -> None:
    weights = {name: value.clone() for name, value in bank.base.model.named_parameters()}
    for name in ("a", "b"):
        train(bank, [trainee(bank, name, short(1500))])
    assert torch.equal(bank.adapters["a"].flat, bank.adapters["b"].flat)
    train(bank, [trainee(bank, "c", short(1500, seed=1))])
    assert not torch.allclose(bank.adapters["a"].flat, bank.adapters["c"].flat)
    assert all(torch.equal(value, weights[name]) for name, value in bank.base.model.named_parameters())


@pytest.mark.parametrize("rank", [8, 4])
def test_two_trained_together_learn_what_each_learns_alone(bank: AdapterBank, rank: int) -> None:
    """Different lessons, seeds and ranks, one with replays: rounding apart, company changes nothing.

    The comparison is over a few steps: AdamW's first steps turn rounding in a near-zero gradient into whole strides.
    """
    replay = (StudyExample("How are you?", "Fine, thank you.", "replay", None),)
    plans = {"a": short(4 * 128, learning_rate=1e-3), "b": short(4 * 128, learning_rate=1e-3, seed=5, rank=rank)}
    trained = {}
    for names in (["a"], ["b"], ["a", "b"]):
        made = [
            trainee(bank, name, plans[name], replay if name == "b" else (), LESSONS[:2] if name == "a" else LESSONS[1:])
            for name in names
        ]
        logs = train(bank, made)
        for each in made:
            trained["+".join(names), each.name] = (each.adapter.flat.clone(), logs[each.name])
            bank.remove(each.name)
    for name in plans:
        alone, company = trained[name, name], trained["a+b", name]
        steps = min(alone[1].steps, company[1].steps)
        assert steps >= 3
        assert company[1].losses[:steps] == pytest.approx(alone[1].losses[:steps], rel=0.05)
        if alone[1].tokens == company[1].tokens:  # else rows were padded to the neighbour's width: another schedule
            torch.testing.assert_close(company[0], alone[0], rtol=1e-3, atol=1e-4)


def test_an_untouched_adapter_has_no_divergence(bank: AdapterBank) -> None:
    trainee(bank, "a")
    assert drift(bank, "a", tuple(LESSONS)) == pytest.approx(0, abs=1e-7)


def test_replay_keeps_it_nearer_to_the_base(bank: AdapterBank) -> None:
    replay = base_replies(bank, replay_prompts()[:2])
    assert replay
    for name, kept in (("free", ()), ("kept", replay)):
        train(bank, [trainee(bank, name, short(6000), kept)])
    assert drift(bank, "kept", replay) < 0.9 * drift(bank, "free", replay)


def test_a_spent_budget_stops_all_at_once(bank: AdapterBank) -> None:
    asked: list[int] = []

    def out_of_budget() -> bool:
        asked.append(1)
        return len(asked) > 3

    logs = train(bank, [trainee(bank, "a"), trainee(bank, "b")], None, out_of_budget)
    assert [(log.steps, log.stopped_early) for log in logs.values()] == [(3, True)] * 2
    untouched = trainee(bank, "c")
    before = untouched.adapter.flat.clone()
    assert train(bank, [untouched], None, lambda: True)["c"].steps == 0
    assert torch.equal(untouched.adapter.flat, before)


def test_a_plan_with_few_tokens_ends_the_one_and_not_the_other(bank: AdapterBank) -> None:
    logs = train(bank, [trainee(bank, "a", short(300)), trainee(bank, "b", short(1500))])
    assert logs["a"].steps < logs["b"].steps
    assert logs["a"].tokens >= 300
    assert logs["b"].tokens >= 1500
    assert not logs["a"].stopped_early


def test_a_curve_has_few_points_and_the_mean_of_all() -> None:
    log = TrainingLog(losses=[float(i) for i in range(48)])
    assert len(log.curve()) == CURVE_POINTS
    assert log.curve()[:2] == (0.5, 2.5)
    assert TrainingLog().curve() == ()
    assert TrainingLog(losses=[3.0]).curve() == (3.0,)


def test_replay_prompts_and_their_replies(bank: AdapterBank) -> None:
    prompts = replay_prompts()
    assert len(prompts) == len(set(prompts)) >= 96
    replies = base_replies(bank, prompts[:4])
    said = [reply.text for reply in Minds(bank, {}).reply(prompts[:4], max_tokens=24)]
    assert [(e.prompt, e.target, e.kind) for e in replies] == [
        (prompt, text, "replay") for prompt, text in zip(prompts, said, strict=False) if text
    ]
