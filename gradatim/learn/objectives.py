"""Losses as plain functions of log-probabilities, so that any recipe's objective runs on the bank.

What a batch is made of comes flat, as the bank gives it: `log_probability_L` of each token, and `sequences_L`, the
number of the sequence it belongs to. Every loss of tokens is (advantage or label) × (ratio) summed up in one of three
ways, which is where published methods differ most (`aggregate`):

- token mean: each token counts the same (SFT, DAPO, arXiv 2503.14476);
- sequence mean: each sequence counts the same (GRPO, arXiv 2402.03300; GSPO, arXiv 2507.18071);
- constant: the sum over a fixed number, without a bias of length (Dr. GRPO, arXiv 2503.20783).

With one gradient step a batch every ratio is 1, and then GRPO and GSPO have one gradient, and so have DAPO, CISPO and
plain REINFORCE with a token mean; clipping matters only where the batch is older than the policy.

Shape letters: L tokens, S sequences, P pairs, G groups, N samples of a group, V vocabulary.
Everything is in nats, and nothing here holds state. Gradients flow to what is called the policy's, never to `base`,
`old` or rewards.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Aggregation = Literal["token-mean", "sequence-mean", "constant"]
Ratio = Literal["token", "sequence", "detached"]
Scale = Literal["group", "batch", "none"]


def sequence_sums(values_L: Tensor, sequences_L: Tensor, count: int) -> Tensor:
    """Sum of each sequence's values, [count]; 0 for a sequence without tokens."""
    return values_L.new_zeros(count).index_add(0, sequences_L, values_L)


def sequence_means(values_L: Tensor, sequences_L: Tensor, count: int) -> Tensor:
    """Mean of each sequence's values, [count]; 0 for a sequence without tokens."""
    lengths_S = torch.bincount(sequences_L, minlength=count).clamp(min=1)
    return sequence_sums(values_L, sequences_L, count) / lengths_S


def aggregate(
    loss_L: Tensor, sequences_L: Tensor, count: int, how: Aggregation = "token-mean", constant: float = 0.0
) -> Tensor:
    """One number from a loss per token. With "constant" the sum is divided by `count` × `constant`, as Dr. GRPO does
    with the greatest length of a completion. Raises ValueError where that is not positive."""
    if how == "token-mean":
        return loss_L.sum() / max(1, loss_L.numel())
    if how == "sequence-mean":
        return sequence_means(loss_L, sequences_L, count).mean()
    if constant <= 0:
        raise ValueError("aggregation by a constant needs one above 0, such as the greatest length of a completion")
    return loss_L.sum() / (count * constant)


# ------------------------------------------------------------------ imitation and distance


def sft(log_probability_L: Tensor, sequences_L: Tensor, count: int, how: Aggregation = "token-mean") -> Tensor:
    """Supervised fine-tuning: the negative log-likelihood of what is to be imitated."""
    return aggregate(-log_probability_L, sequences_L, count, how)


def kl_exact(base_LV: Tensor, policy_LV: Tensor, *, reverse: bool = False) -> Tensor:
    """KL(base ‖ policy) at each token, [L], over the whole vocabulary, from logits; `reverse`: KL(policy ‖ base)."""
    base, policy = base_LV.detach().log_softmax(-1), policy_LV.log_softmax(-1)
    p, q = (policy, base) if reverse else (base, policy)
    return (p.exp() * (p - q)).sum(-1)


def kl_estimate(policy_L: Tensor, base_L: Tensor, kind: Literal["k1", "k2", "k3"] = "k3") -> Tensor:
    """KL(policy ‖ base) at each token, estimated from the log-probabilities of tokens that the policy sampled, [L].

    k1 = log π/π₀ is unbiased and may be negative, k2 = ½ (log π/π₀)² is biased, k3 = π₀/π − 1 − log π₀/π is unbiased
    and never negative (Schulman 2020, "Approximating KL divergence"; GRPO uses k3).
    """
    gap_L = base_L.detach() - policy_L
    if kind == "k1":
        return -gap_L
    return gap_L.square() / 2 if kind == "k2" else gap_L.exp() - 1 - gap_L


# ------------------------------------------------------------------ preferences


def bradley_terry(better_P: Tensor, worse_P: Tensor, margin: float = 0.0) -> Tensor:
    """−log σ(better − worse − margin), mean over pairs: the loss of a reward model (Bradley and Terry 1952)."""
    return -F.logsigmoid(better_P - worse_P - margin).mean()


def dpo(
    better_P: Tensor,
    worse_P: Tensor,
    base_better_P: Tensor,
    base_worse_P: Tensor,
    *,
    beta: float = 0.1,
    flip_rate: float = 0.0,
    robust: bool = True,
) -> Tensor:
    """Direct preference optimisation over sequence log-probabilities, mean over pairs (arXiv 2305.18290).

    `flip_rate` ε is the share of pairs labelled the wrong way round: with `robust` the loss is unbiased under such
    flips, ((1 − ε) ℓ(d) − ε ℓ(−d)) / (1 − 2ε) with ℓ = −log σ (robust DPO, arXiv 2403.00409); without, it is the
    smoothed (1 − ε) ℓ(d) + ε ℓ(−d) of conservative DPO. Raises ValueError unless 0 ≤ ε < ½.
    """
    if not 0 <= flip_rate < 0.5:
        raise ValueError(f"a flip rate must be at least 0 and under 0.5, where labels say nothing; got {flip_rate}")
    distance_P = beta * ((better_P - base_better_P.detach()) - (worse_P - base_worse_P.detach()))
    kept_P, flipped_P = -F.logsigmoid(distance_P), -F.logsigmoid(-distance_P)
    sign, scale = (-1.0, 1 - 2 * flip_rate) if robust else (1.0, 1.0)
    return (((1 - flip_rate) * kept_P + sign * flip_rate * flipped_P) / scale).mean()


# ------------------------------------------------------------------ reinforcement


def advantages(rewards_GN: Tensor, scale: Scale = "group", epsilon: float = 1e-4) -> Tensor:
    """How much better than its group each sample did, [G, N]: r − mean, over the group's or the whole batch's standard
    deviation (GRPO; Lite-PPO, arXiv 2508.08221) or over nothing (Dr. GRPO). A group of equal rewards gets zeros."""
    centred_GN = rewards_GN - rewards_GN.mean(-1, keepdim=True)
    if scale == "none":
        return centred_GN
    spread = rewards_GN.std(-1, keepdim=True) if scale == "group" else rewards_GN.std()
    return centred_GN / (spread + epsilon)


def informative(rewards_GN: Tensor) -> Tensor:
    """Which groups [G] have any difference to learn from; DAPO leaves the others out and samples again."""
    return rewards_GN.std(-1) > 0


def policy_gradient(
    policy_L: Tensor,
    advantage_S: Tensor,
    sequences_L: Tensor,
    *,
    old_L: Tensor | None = None,
    ratio: Ratio = "token",
    clip: tuple[float, float] = (0.2, 0.2),
    how: Aggregation = "token-mean",
    constant: float = 0.0,
    beta: float = 0.0,
    base_L: Tensor | None = None,
) -> Tensor:
    """The losses of the GRPO family: −advantage × ratio, clipped, plus `beta` × k3 to the base.

    `old_L` are the log-probabilities under the policy that sampled (None: this one). `ratio` π/π_old is taken per token
    (GRPO, DAPO), as the geometric mean over a sequence (GSPO), or per token without a gradient, as a weight of log π
    that is capped at 1 + clip[1] only (CISPO, arXiv 2506.13585). Raises ValueError if `beta` has no base to go with.

    GRPO: ratio "token", "sequence-mean"; DAPO: clip (0.2, 0.28), "token-mean"; Dr. GRPO: "constant" and advantages
    scaled by "none"; GSPO: ratio "sequence", clip (3e-4, 4e-4), "sequence-mean"; CISPO: ratio "detached".
    """
    count = len(advantage_S)
    advantage_L = advantage_S.detach()[sequences_L]
    change_L = policy_L - (policy_L if old_L is None else old_L).detach()
    if ratio == "sequence":
        change_L = sequence_means(change_L, sequences_L, count)[sequences_L]
    ratio_L = change_L.exp()
    if ratio == "detached":
        loss_L = -ratio_L.clamp(max=1 + clip[1]).detach() * advantage_L * policy_L
    else:
        clipped_L = ratio_L.clamp(1 - clip[0], 1 + clip[1])
        loss_L = -torch.minimum(ratio_L * advantage_L, clipped_L * advantage_L)
    if beta:
        if base_L is None:
            raise ValueError("a penalty for leaving the base needs the base's log-probabilities")
        loss_L = loss_L + beta * kl_estimate(policy_L, base_L)
    return aggregate(loss_L, sequences_L, count, how, constant)
