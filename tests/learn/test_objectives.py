"""What holds between objectives, exactly, and what TRL's trainers make of the same batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from gradatim.learn import objectives as o
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair, pack
from gradatim.model.scoring import log_probabilities, score
from tests.tiny import tiny_base, tiny_llama, tiny_tokenizer

QUICK = settings(deadline=None, max_examples=50, derandomize=True)
LENGTHS = (3, 9, 1, 6)
SEQUENCES = torch.repeat_interleave(torch.arange(4), torch.tensor(LENGTHS))
TOKENS, VOCABULARY = len(SEQUENCES), 7


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Policy:
    """A table of logits, one row per token of four sequences of unequal length, and the tokens that were sampled."""

    def __init__(self, seed: int = 0) -> None:
        self.logits = draw(seed, TOKENS, VOCABULARY).requires_grad_()
        self.tokens = torch.randint(VOCABULARY, (TOKENS, 1), generator=torch.Generator().manual_seed(seed))

    def log_probability(self) -> Tensor:
        return self.logits.log_softmax(-1).gather(1, self.tokens).squeeze(1)

    def gradient(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.autograd.grad(loss(self.log_probability()), self.logits)[0]


ADVANTAGES = o.advantages(draw(5, 2, 2)).flatten()


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def family(**options: Any) -> Callable[[Tensor], Tensor]:
    return lambda policy: o.policy_gradient(policy, ADVANTAGES, SEQUENCES, **options)


# ------------------------------------------------------------------ identities, in float64


def test_grpo_and_gspo_have_one_gradient_at_the_first_step() -> None:
    policy = Policy()
    grpo = policy.gradient(family(how="sequence-mean"))
    same(grpo, policy.gradient(family(how="sequence-mean", ratio="sequence", clip=(3e-4, 4e-4))))


def test_dapo_cispo_and_reinforce_have_one_gradient_at_the_first_step() -> None:
    policy = Policy()
    dapo = policy.gradient(family(clip=(0.2, 0.28)))
    same(dapo, policy.gradient(family(ratio="detached", clip=(0.0, 4.0))))
    same(dapo, policy.gradient(lambda p: -(ADVANTAGES[SEQUENCES] * p).mean()))


def test_dr_grpo_is_dapo_but_for_a_number_and_grpo_is_not() -> None:
    policy = Policy()
    dapo = policy.gradient(family())
    same(policy.gradient(family(how="constant", constant=20.0)) * (4 * 20.0 / TOKENS), dapo)
    grpo = policy.gradient(family(how="sequence-mean"))
    assert float((grpo - dapo).norm() / dapo.norm()) > 0.1


def test_reinforcing_sequences_of_reward_one_is_imitating_them() -> None:
    policy = Policy()
    ones = torch.ones(4, dtype=torch.float64)
    ways: tuple[o.Aggregation, ...] = ("token-mean", "sequence-mean")
    for how in ways:
        imitated = policy.gradient(partial(o.sft, sequences_L=SEQUENCES, count=4, how=how))
        same(policy.gradient(partial(o.policy_gradient, advantage_S=ones, sequences_L=SEQUENCES, how=how)), imitated)


def test_clipping_stops_the_gradient_of_what_has_moved_far_enough() -> None:
    policy = Policy()
    moved = torch.full((TOKENS,), math.log(1.5), dtype=torch.float64)
    for sign, old in ((1.0, -moved), (-1.0, moved)):  # better and likelier already, or worse and rarer already
        advantage = torch.full((4,), sign, dtype=torch.float64)
        previous = policy.log_probability().detach() + old
        loss = partial(o.policy_gradient, advantage_S=advantage, sequences_L=SEQUENCES, old_L=previous)
        gradient = policy.gradient(loss)
        assert not gradient.any()
    kept = policy.gradient(lambda p: o.policy_gradient(p, -torch.ones(4), SEQUENCES, old_L=p.detach() - moved))
    assert kept.norm() > 0


def test_dpo_is_bradley_terry_on_the_implied_rewards() -> None:
    better, worse, base_better, base_worse = draw(1, 4, 6)
    implied = o.bradley_terry(0.3 * (better - base_better), 0.3 * (worse - base_worse))
    same(o.dpo(better, worse, base_better, base_worse, beta=0.3), implied)
    same(o.dpo(better, worse, base_better, base_worse, beta=0.3, flip_rate=0.0, robust=False), implied)


@QUICK
@given(st.floats(0.0, 0.45), st.integers(0, 1000))
def test_robust_dpo_is_unbiased_under_flips(rate: float, seed: int) -> None:
    """(1 − ε) × the loss as labelled + ε × the loss of the flipped pair is the loss without any flips."""
    better, worse, base_better, base_worse = draw(seed, 4, 3)
    kept = o.dpo(better, worse, base_better, base_worse, beta=0.5, flip_rate=rate)
    flipped = o.dpo(worse, better, base_worse, base_better, beta=0.5, flip_rate=rate)
    clean = o.dpo(better, worse, base_better, base_worse, beta=0.5)
    torch.testing.assert_close((1 - rate) * kept + rate * flipped, clean, rtol=1e-9, atol=1e-9)


def test_smoothed_dpo_never_wants_to_be_certain() -> None:
    """Its loss is least at log((1 − ε) / ε), where robust DPO's still falls."""
    zero, least = torch.zeros(1, dtype=torch.float64), math.log(0.8 / 0.2)
    for distance in (least - 1, least + 1):
        at, there = (
            o.dpo(zero + d, zero, zero, zero, beta=1.0, flip_rate=0.2, robust=False) for d in (distance, least)
        )
        assert at > there
    robust = [float(o.dpo(zero + d, zero, zero, zero, beta=1.0, flip_rate=0.2)) for d in (least, least + 1, least + 4)]
    assert robust == sorted(robust, reverse=True)


def test_estimates_of_the_divergence_have_its_mean() -> None:
    policy, base = draw(2, 1, VOCABULARY), draw(3, 1, VOCABULARY)
    exact = o.kl_exact(base, policy, reverse=True)
    p, q = policy.log_softmax(-1)[0], base.log_softmax(-1)[0]
    for kind in ("k1", "k3"):
        same((p.exp() * o.kl_estimate(p, q, kind)).sum()[None], exact)
    assert bool((o.kl_estimate(p, q, "k3") >= 0).all())
    assert bool((o.kl_estimate(p, q, "k2") >= 0).all())


def test_the_divergence_is_that_of_torch_and_has_no_gradient_to_the_base() -> None:
    policy, base = draw(2, 5, VOCABULARY).requires_grad_(), draw(3, 5, VOCABULARY).requires_grad_()
    expected = F.kl_div(policy.log_softmax(-1), base.log_softmax(-1), log_target=True, reduction="none").sum(-1)
    same(o.kl_exact(base, policy), expected)
    o.kl_exact(base, policy).sum().backward()  # type: ignore[no-untyped-call]
    assert base.grad is None
    torch.testing.assert_close(policy.grad, policy.softmax(-1) - base.softmax(-1))


def test_advantages_are_centred_and_equal_rewards_teach_nothing() -> None:
    rewards = torch.cat([draw(7, 3, 5), torch.ones(1, 5, dtype=torch.float64)])
    for scale in ("group", "batch", "none"):
        made = o.advantages(rewards, scale)
        torch.testing.assert_close(made.mean(-1), torch.zeros(4, dtype=torch.float64))
        assert not made[3].any()
    torch.testing.assert_close(o.advantages(rewards[:3], epsilon=0).std(-1), torch.ones(3, dtype=torch.float64))
    assert o.informative(rewards).tolist() == [True, True, True, False]


@QUICK
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 99))
def test_sums_and_means_are_those_of_each_sequence(owners: list[int], seed: int) -> None:
    sequences, values = torch.tensor(owners), draw(seed, len(owners))
    for number in range(5):
        mine = values[sequences == number]
        assert float(o.sequence_sums(values, sequences, 5)[number]) == pytest.approx(float(mine.sum()), abs=1e-12)
        mean = float(mine.mean()) if len(mine) else 0.0
        assert float(o.sequence_means(values, sequences, 5)[number]) == pytest.approx(mean, abs=1e-12)


def test_what_makes_no_sense_is_refused() -> None:
    policy, pairs = Policy().log_probability(), draw(1, 4, 6)
    with pytest.raises(ValueError, match="constant"):
        o.aggregate(policy, SEQUENCES, 4, "constant")
    with pytest.raises(ValueError, match="flip rate"):
        o.dpo(*pairs, flip_rate=0.5)
    with pytest.raises(ValueError, match="base"):
        o.policy_gradient(policy, ADVANTAGES, SEQUENCES, beta=0.1)


# ------------------------------------------------------------------ beside TRL's trainers


def padded(values_L: Tensor) -> Tensor:
    """One row per sequence, as TRL has it."""
    made = torch.zeros(4, max(LENGTHS), dtype=values_L.dtype)
    for number, length in enumerate(LENGTHS):
        made[number, :length] = values_L[number == SEQUENCES]
    return made


GRPO: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "grpo": ({"how": "sequence-mean"}, {}),
    "bnpo": ({"how": "token-mean"}, {}),
    "dapo": ({"clip": (0.2, 0.28)}, {"epsilon_high": 0.28}),
    "dr_grpo": ({"how": "constant", "constant": 11.0}, {"max_completion_length": 11}),
    "cispo": ({"ratio": "detached", "clip": (0.0, 0.3)}, {"epsilon_high": 1.3}),
    "gspo": (
        {"ratio": "sequence", "how": "sequence-mean", "clip": (0.05, 0.07)},
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 0.05, "epsilon_high": 0.07},
    ),
    "with a penalty": ({"how": "sequence-mean", "beta": 0.3}, {"loss_type": "grpo", "beta": 0.3}),
}


@pytest.mark.parametrize("name", list(GRPO))
def test_the_grpo_family_is_trls(name: str) -> None:
    from trl.trainer.grpo_trainer import GRPOTrainer

    mine, its = GRPO[name]
    policy, old, base = Policy(), Policy().log_probability().detach(), draw(9, TOKENS) - 2
    old = old + 0.3 * draw(8, TOKENS)
    counted = torch.tensor(float(TOKENS))
    inputs = {
        "prompt_ids": torch.zeros(4, 1, dtype=torch.long),
        "prompt_mask": torch.ones(4, 1, dtype=torch.long),
        "completion_ids": torch.zeros(4, max(LENGTHS), dtype=torch.long),
        "completion_mask": padded(torch.ones(TOKENS)).long(),
        "advantages": ADVANTAGES,
        "old_per_token_logps": padded(old),
        "ref_per_token_logps": padded(base),
        "num_items_in_batch": counted,
    }
    options: dict[str, Any] = {"loss_type": name, "beta": 0.0, "importance_sampling_level": "token", "epsilon_low": 0.2,
               "epsilon_high": 0.2, "max_completion_length": 11} | its  # fmt: skip

    def theirs(policy_L: Tensor) -> Tensor:
        rows = padded(policy_L)
        trainer: Any = SimpleNamespace(
            model=SimpleNamespace(training=True), aux_loss_enabled=False, top_entropy_quantile=1.0,
            off_policy_mask_threshold=None, use_vllm=False, _entropy_bonus_enabled=False, steps_per_generation=1,
            current_gradient_accumulation_steps=1, args=SimpleNamespace(delta=None, use_bias_correction_kl=False,
            steps_per_generation=1), accelerator=Alone(), _metrics={"train": Anything()},
            _get_per_token_logps_and_entropies=lambda *_, **__: (rows, torch.zeros_like(rows), None), **options,
        )  # fmt: skip
        loss: Tensor = GRPOTrainer._compute_loss(trainer, None, inputs)
        return loss

    def ours(policy_L: Tensor) -> Tensor:
        return o.policy_gradient(policy_L, ADVANTAGES, SEQUENCES, old_L=old, base_L=base, **mine)

    now = policy.log_probability()
    torch.testing.assert_close(ours(now), theirs(now), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(policy.gradient(ours), policy.gradient(theirs), rtol=1e-9, atol=1e-12)


class Alone:
    """An accelerator with one process."""

    num_processes, device = 1, torch.device("cpu")

    def gather(self, value: Tensor) -> Tensor:
        return value

    def reduce(self, value: Tensor, reduction: str) -> Tensor:
        assert reduction == "sum"
        return value


class Anything(dict[str, list[Any]]):
    """Takes every metric."""

    def __missing__(self, key: str) -> list[Any]:
        self[key] = []
        return self[key]


CONVERSATIONS = [
    {"prompt": "When does the ferry leave?", "chosen": " At seven.", "rejected": " The ferry does not leave at all."},
    {"prompt": "Who opens at six?", "chosen": " The baker opens at six.", "rejected": " Nobody."},
    {"prompt": "What is every step?", "chosen": " Every step is verified.", "rejected": " Small, and one at a time."},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "options"), [("sigmoid", {}), ("robust", {"flip_rate": 0.2})])
def test_dpo_on_the_bank_is_trls(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    config = DPOConfig(
        output_dir=str(tmp_path), beta=0.4, loss_type=[kind], label_smoothing=options.get("flip_rate", 0.0),
        per_device_train_batch_size=3, report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False,
    )  # fmt: skip
    tokenizer = tiny_tokenizer()
    trainer = DPOTrainer(
        model=tiny_llama(seed=1), ref_model=tiny_llama(seed=0), args=config,
        train_dataset=Dataset.from_list(CONVERSATIONS), processing_class=tokenizer,
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    expected = trainer.compute_loss(trainer.model, dict(batch))

    policy, base = (AdapterBank(tiny_base(seed=seed)) for seed in (1, 0))
    pairs = pairs_of(batch)
    of_policy, of_base = (score(bank, pairs, None) for bank in (policy, base))
    got = o.dpo(*of_policy.chunk(2), *of_base.chunk(2), beta=0.4, **options)
    torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_sft_on_the_bank_is_trls(tmp_path: Path) -> None:
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    config = SFTConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=3, report_to=[], use_cpu=True, bf16=False,
        gradient_checkpointing=False, completion_only_loss=True,
    )  # fmt: skip
    lines = [{"prompt": line["prompt"], "completion": line["chosen"]} for line in CONVERSATIONS]
    trainer = SFTTrainer(
        model=tiny_llama(), args=config, train_dataset=Dataset.from_list(lines), processing_class=tiny_tokenizer()
    )
    batch = next(iter(trainer.get_train_dataloader()))
    expected = trainer.compute_loss(trainer.model, dict(batch))
    bank = AdapterBank(tiny_base())
    packed = pack(pairs_of({**batch, "completion_mask": batch["labels"] != -100}))
    got = o.sft(log_probabilities(bank, packed, [None]), packed.pairs_L, 3)
    torch.testing.assert_close(got.detach(), expected.detach(), rtol=1e-5, atol=1e-5)


def pairs_of(batch: dict[str, Tensor]) -> list[Pair]:
    """The prompt and completion of each row."""
    pairs = []
    rows = zip(batch["input_ids"], batch["attention_mask"].bool(), batch["completion_mask"].bool(), strict=True)
    for ids, real, completion in rows:
        pairs.append(Pair(tuple(ids[real & ~completion].tolist()), tuple(ids[real & completion].tolist())))
    return pairs
