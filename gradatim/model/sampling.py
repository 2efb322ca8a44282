"""Sample from the bank: rows on different adapters in one decode batch.

The token prefix that all prompts share (a few-shot preamble, a system message) is run once per adapter and its
cache repeated, equal prompts are run once for all their samples, and finished rows leave the batch. Greedy when
`temperature` is 0.

Limits: the batch is formed at the start; new prompts wait for the next one. In bf16 a row's logits can differ in
the last bits with the size of its batch, so that a near-tie may fall either way; in fp32 rows are independent of
their neighbours for all practical purposes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradatim.model.bank import AdapterBank
from gradatim.model.packing import common_prefix


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to choose tokens."""

    max_tokens: int = 48
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[int, ...] = ()  # token ids that end a reply besides the model's own end tokens
    batch: int = 64


NUCLEUS = 256
"""Sampling is among at most this many most likely tokens."""

GREEDY = Decoding()


@torch.inference_mode()
def sample(
    bank: AdapterBank,
    prompts: Sequence[Sequence[int]],
    adapters: Sequence[str | None] | str | None = None,
    decoding: Decoding = GREEDY,
    advance: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Token ids generated after each prompt, end tokens left out. `advance` is told of replies as they are done."""
    names: list[str | None] = (
        [adapters] * len(prompts) if adapters is None or isinstance(adapters, str) else [*adapters]
    )
    replies: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (names[i] or "", len(prompts[i])))
    generator = torch.Generator(device=bank.base.device).manual_seed(decoding.seed)
    for start in range(0, len(order), decoding.batch):
        chosen = sorted(order[start : start + decoding.batch], key=lambda i: names[i] or "")
        made = _sample_batch(bank, [list(prompts[i]) for i in chosen], [names[i] for i in chosen], decoding, generator)
        for index, reply in zip(chosen, made, strict=True):
            replies[index] = reply
        if advance is not None:
            advance(len(chosen))
    return replies


def _sample_batch(
    bank: AdapterBank,
    prompts: list[list[int]],
    names: list[str | None],
    decoding: Decoding,
    generator: torch.Generator,
) -> list[list[int]]:
    device = bank.base.device
    ends = torch.tensor(sorted(bank.base.chat.end_tokens | set(decoding.stop)), device=device)
    cache, hidden_RD, mask_RT, positions_R = _prefill(bank, prompts, names)
    alive = torch.arange(len(prompts), device=device)
    replies: list[list[int]] = [[] for _ in prompts]
    for made in range(1, decoding.max_tokens + 1):
        chosen_R = _choose(bank.base.head(hidden_RD).float(), decoding, generator)
        running_R = ~torch.isin(chosen_R, ends)
        for row, token, running in zip(alive.tolist(), chosen_R.tolist(), running_R.tolist(), strict=True):
            if running:
                replies[row].append(token)
        if made == decoding.max_tokens or not bool(running_R.any()):
            break
        if not bool(running_R.all()):
            kept = running_R.nonzero().squeeze(1)
            cache.batch_select_indices(kept)
            alive, chosen_R, mask_RT, positions_R = alive[kept], chosen_R[kept], mask_RT[kept], positions_R[kept]
        mask_RT = torch.cat([mask_RT, mask_RT.new_ones(len(mask_RT), 1)], dim=1)
        positions_R = positions_R + 1
        with bank.rows([names[i] for i in alive.tolist()]):
            out = bank.base.backbone(
                input_ids=chosen_R[:, None],
                attention_mask=mask_RT,
                position_ids=positions_R[:, None],
                past_key_values=cache,
                use_cache=True,
            )
        hidden_RD = out.last_hidden_state[:, -1].contiguous()
    return replies


def _prefill(
    bank: AdapterBank, prompts: list[list[int]], names: list[str | None]
) -> tuple[Any, Tensor, Tensor, Tensor]:
    """Run the prompts: cache, last hidden state [R, D], attention mask [R, T] and last position [R] of each row.

    Rows with the same prompt and adapter are computed once, the prefix common to all prompts once per adapter.
    """
    device = bank.base.device
    keys = [(name, tuple(prompt)) for name, prompt in zip(names, prompts, strict=True)]
    distinct = list(dict.fromkeys(keys))
    distinct_names = [name for name, _ in distinct]
    prefix = common_prefix([prompt for _, prompt in distinct])
    cache = _prefix_cache(bank, list(distinct[0][1][:prefix]), distinct_names) if prefix else None
    ids_RT, mask_RT, positions_RT = _left_padded([prompt[prefix:] for _, prompt in distinct], prefix, device)
    with bank.rows(distinct_names):
        out = bank.base.backbone(
            input_ids=ids_RT,
            attention_mask=mask_RT,
            position_ids=positions_RT,
            past_key_values=cache,
            use_cache=True,
        )
    where = {key: row for row, key in enumerate(distinct)}
    rows = torch.tensor([where[key] for key in keys], device=device)
    out.past_key_values.batch_select_indices(rows)
    return out.past_key_values, out.last_hidden_state[rows, -1], mask_RT[rows], positions_RT[rows, -1]


def _prefix_cache(bank: AdapterBank, prefix: list[int], names: list[str | None]) -> Any:
    """The key–value cache of the prefix, computed once per distinct adapter and repeated for its rows."""
    distinct = list(dict.fromkeys(names))
    ids = torch.tensor([prefix] * len(distinct), device=bank.base.device)
    with bank.rows(distinct):
        cache = bank.base.backbone(input_ids=ids, use_cache=True).past_key_values
    cache.batch_select_indices(torch.tensor([distinct.index(name) for name in names], device=ids.device))
    return cache


def _left_padded(prompts: Sequence[Sequence[int]], prefix: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask over prefix and prompt, and positions; shorter prompts are padded on the left."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.ones(len(prompts), prefix + width, dtype=torch.long)
    positions = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        gap = width - len(prompt)
        ids[row, gap:] = torch.tensor(list(prompt), dtype=torch.long)
        mask[row, prefix : prefix + gap] = 0
        positions[row, gap:] = torch.arange(prefix, prefix + len(prompt))
    return ids.to(device), mask.to(device), positions.to(device)


def _choose(logits_RV: Tensor, decoding: Decoding, generator: torch.Generator) -> Tensor:
    if decoding.temperature <= 0:
        return logits_RV.argmax(dim=-1)
    likely_RK, tokens_RK = logits_RV.topk(
        min(NUCLEUS, logits_RV.shape[-1]), dim=-1
    )  # sorting the whole vocabulary is slow
    total_R1 = torch.logsumexp(logits_RV / decoding.temperature, dim=-1, keepdim=True)
    probabilities_RK = torch.exp(likely_RK / decoding.temperature - total_R1)
    if decoding.top_p < 1:
        probabilities_RK[(probabilities_RK.cumsum(dim=-1) - probabilities_RK) >= decoding.top_p] = 0
    picked_R1 = torch.multinomial(probabilities_RK, 1, generator=generator)
    return tokens_RK.gather(1, picked_R1).squeeze(1)
