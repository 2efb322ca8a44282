"""Sample from the bank: rows on different adapters in one decode batch, which new prompts join as others end.

The token prefix that prompts admitted together share (a few-shot preamble, a system message) is run once per adapter
and its cache repeated, equal prompts are run once for all their samples, finished rows leave the batch and waiting
prompts take their places. Greedy when `temperature` is 0.

Limits: rows of a model with sliding-window layers are decoded in fixed batches. In bf16 a row's logits can differ in
the last bits with the size of its batch, so that a near-tie may fall either way; in fp32 rows are independent of their
neighbours for all practical purposes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradatim.model.bank import AdapterBank, Division
from gradatim.model.packing import common_prefix
from gradatim.model.prefixes import Prefixes, cache_of, row_of


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

COLDEST = 1e-4
"""A temperature below this is greedy: logits divided by still less are beyond fp32, and nothing could be drawn."""

GREEDY = Decoding()
_A_PASS = 16  # tokens that may as well be run as looked up: another pass reads all weights once more
_REFILL = 4  # waiting prompts are let in once a quarter of the batch is free: each time costs a pass of its own


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
    waiting = sorted(range(len(prompts)), key=lambda i: (names[i] or "", len(prompts[i])))
    rows = Rows(bank, decoding)
    while waiting or rows.indices:
        room = decoding.batch - len(rows.indices)
        if waiting and (not rows.indices or (room >= -(-decoding.batch // _REFILL) and rows.mergeable)):
            chosen, waiting = waiting[:room], waiting[room:]
            rows.admit(chosen, [list(prompts[i]) for i in chosen], [names[i] for i in chosen])
        ended = rows.step(replies)
        if advance is not None and ended:
            advance(ended)
    return replies


class Rows:
    """The rows under way: for each the number of its prompt, its adapter, its cache and where it stands."""

    def __init__(self, bank: AdapterBank, decoding: Decoding, known: Prefixes | None = None) -> None:
        self._bank, self._how, self._known = bank, decoding, known
        device = bank.base.device
        self.ends = bank.base.chat.end_tokens | set(decoding.stop)
        self._ends = torch.tensor(sorted(self.ends), device=device)
        self._generator = torch.Generator(device=device).manual_seed(decoding.seed)
        self.indices: list[int] = []
        self._names: list[str | None] = []
        self._division: Division | None = None  # of these names
        self._cache: Any = None
        self.hidden_RD = self._mask_RT = self._positions_R = torch.empty(0)

    @property
    def logits_RV(self) -> Tensor:
        """What each row expects next, fp32."""
        logits_RV: Tensor = self._bank.base.head(self.hidden_RD).float()
        return logits_RV

    @property
    def cache_bytes(self) -> int:
        """What the keys and values of all rows take, padding included."""
        layers = self._cache.layers if self.indices else ()
        return sum(kept.nbytes for layer in layers for kept in (layer.keys, layer.values))

    @property
    def mergeable(self) -> bool:
        """Whether caches of unlike length can be laid side by side: not those of sliding windows."""
        return all(type(layer).__name__ == "DynamicLayer" for layer in self._cache.layers)

    def admit(self, indices: list[int], prompts: list[list[int]], names: list[str | None]) -> None:
        """Run prompts and let them in."""
        self._let_in(indices, names, *_prefill(self._bank, prompts, names, self._known))

    def enter(self, index: int, entering: Entering) -> None:
        """Let a prompt in that was run to its end."""
        self._let_in([index], [entering.name], *entering.row())

    def _let_in(
        self,
        indices: list[int],
        names: list[str | None],
        cache: Any,
        hidden_RD: Tensor,
        mask_RT: Tensor,
        positions_R: Tensor,
    ) -> None:
        if self.indices:
            width = max(mask_RT.shape[1], self._mask_RT.shape[1])
            _join(self._cache, cache, width)
            hidden_RD = torch.cat([self.hidden_RD, hidden_RD])
            mask_RT = torch.cat([_wide(self._mask_RT, width), _wide(mask_RT, width)])
            positions_R = torch.cat([self._positions_R, positions_R])
        else:
            self._cache = cache
        self.hidden_RD, self._mask_RT, self._positions_R = hidden_RD, mask_RT, positions_R
        self.indices, self._names, self._division = self.indices + indices, self._names + names, None
        self.keep(sorted(range(len(self.indices)), key=lambda row: self._names[row] or ""))

    def step(self, replies: list[list[int]]) -> int:
        """Choose a token for each row and run those that go on; returns how many ended."""
        chosen_R = _choose(self.logits_RV, self._how, self._generator)
        running_R = ~torch.isin(chosen_R, self._ends)
        going = []
        for row, (token, running) in enumerate(zip(chosen_R.tolist(), running_R.tolist(), strict=True)):
            reply = replies[self.indices[row]]
            if running and len(reply) < self._how.max_tokens:
                reply.append(token)
            if running and len(reply) < self._how.max_tokens:
                going.append(row)
        ended = len(self.indices) - len(going)
        if ended:
            self.keep(going)
            chosen_R = chosen_R[going]
        if going:
            self.run(chosen_R)
        return ended

    def run(self, chosen_R: Tensor) -> None:
        """Put one token [R] after each row and compute what comes next."""
        self._mask_RT = torch.cat([self._mask_RT, self._mask_RT.new_ones(len(self._mask_RT), 1)], dim=1)
        self._positions_R = self._positions_R + 1
        self._division = self._division or self._bank.divide(self._names)
        with self._bank.within(self._division):
            out = self._bank.base.backbone(
                input_ids=chosen_R[:, None],
                attention_mask=self._mask_RT,
                position_ids=self._positions_R[:, None],
                past_key_values=self._cache,
                use_cache=True,
            )
        self.hidden_RD = out.last_hidden_state[:, -1].contiguous()

    def keep(self, rows: list[int]) -> None:
        """Only these rows, in this order, and no column in which all of them are padded."""
        if rows != list(range(len(self.indices))):
            kept = torch.tensor(rows, dtype=torch.long, device=self._mask_RT.device)
            self._cache.batch_select_indices(kept)
            self.hidden_RD, self._mask_RT = self.hidden_RD[kept], self._mask_RT[kept]
            self._positions_R = self._positions_R[kept]
            self.indices, self._names = [self.indices[i] for i in rows], [self._names[i] for i in rows]
            self._division = None
        if rows and self.mergeable and (empty := int(self._mask_RT.any(0).int().argmax())):
            self._mask_RT = self._mask_RT[:, empty:]
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys[:, :, empty:], layer.values[:, :, empty:]


class Entering:
    """A prompt that is run some tokens at a time, so that the rows under way needn't wait for all of it."""

    def __init__(self, bank: AdapterBank, prompt: list[int], name: str | None, known: Prefixes | None = None) -> None:
        self._bank, self.name, self._known = bank, name, known
        self._ids_1T = torch.tensor([prompt], device=bank.base.device)
        self._run, layers = (0, []) if known is None else known.find(name, prompt)
        self._began = self._run
        self._cache: Any = cache_of([layers]) if self._run else None
        self._hidden_1D = torch.empty(0)

    @property
    def left(self) -> int:
        """Tokens that are still to be run."""
        return self._ids_1T.shape[1] - self._run

    def advance(self, tokens: int) -> None:
        """Run so many more of its tokens."""
        end = self._run + min(tokens, self.left)
        places = torch.arange(end, device=self._ids_1T.device)[None]
        with self._bank.rows([self.name]):
            out = self._bank.base.backbone(
                input_ids=self._ids_1T[:, self._run : end],
                attention_mask=torch.ones_like(places),
                position_ids=places[:, self._run :],
                past_key_values=self._cache,
                use_cache=True,
            )
        self._cache, self._hidden_1D, self._run = out.past_key_values, out.last_hidden_state[:, -1], end

    def row(self) -> tuple[Any, Tensor, Tensor, Tensor]:
        """What `Rows` keeps of it: cache, last hidden state, attention mask and last position."""
        prompt = self._ids_1T[0].tolist()
        if self._known is not None and self._known.wants(self.name, prompt, self._began):
            self._known.keep(self.name, prompt, row_of(self._cache, 0, torch.ones_like(self._ids_1T[0])))
        mask_1T = torch.ones_like(self._ids_1T)
        return self._cache, self._hidden_1D, mask_1T, mask_1T.sum(dim=1) - 1


def cache_bytes(bank: AdapterBank) -> tuple[int, bool]:
    """Bytes that a token's keys and values take in all layers, and whether rows of unlike length can share a batch."""
    with torch.inference_mode():
        rows = Rows(bank, GREEDY)
        rows.admit([0], [[0]], [None])
    return rows.cache_bytes, rows.mergeable


def _join(cache: Any, more: Any, width: int) -> None:
    """Lay the rows of `more` below those of `cache`, all `width` columns wide and padded on the left."""
    for mine, other in zip(cache.layers, more.layers, strict=True):
        mine.keys, mine.values = (
            torch.cat([_wide(one, width, 2), _wide(another, width, 2)])
            for one, another in ((mine.keys, other.keys), (mine.values, other.values))
        )


def _wide(tensor: Tensor, width: int, dim: int = 1) -> Tensor:
    """Padded with zeros on the left to `width` columns."""
    gap = width - tensor.shape[dim]
    if not gap:
        return tensor
    shape = [*tensor.shape]
    shape[dim] = gap
    return torch.cat([tensor.new_zeros(shape), tensor], dim=dim)


def _prefill(
    bank: AdapterBank, prompts: list[list[int]], names: list[str | None], known: Prefixes | None = None
) -> tuple[Any, Tensor, Tensor, Tensor]:
    """Run the prompts: cache, last hidden state [R, D], attention mask [R, T] and last position [R] of each row.

    Rows with the same prompt and adapter are computed once, the prefix common to all prompts once per adapter, or what
    each begins with not at all where it is `known`, whichever saves more.
    """
    device = bank.base.device
    keys = [(name, tuple(prompt)) for name, prompt in zip(names, prompts, strict=True)]
    distinct = list(dict.fromkeys(keys))
    distinct_names = [name for name, _ in distinct]
    found, begun, cache = _begun(bank, distinct, known)
    ids_RT, mask_RT, positions_RT = _left_padded([prompt for _, prompt in distinct], begun, device)
    with bank.rows(distinct_names):
        out = bank.base.backbone(
            input_ids=ids_RT,
            attention_mask=mask_RT,
            position_ids=positions_RT,
            past_key_values=cache,
            use_cache=True,
        )
    made = out.past_key_values
    if len(set(begun)) > 1:  # no gaps within a row: they would stay as long as it does
        made = cache_of([row_of(made, row, mask_RT[row]) for row in range(len(distinct))])
        mask_RT = _right_aligned([len(prompt) for _, prompt in distinct], device)
    if known is not None:
        for row, (name, prompt) in enumerate(distinct):
            if known.wants(name, prompt, found[row]):
                known.keep(name, prompt, row_of(made, row, mask_RT[row]))
    where = {key: row for row, key in enumerate(distinct)}
    rows = torch.tensor([where[key] for key in keys], device=device)
    made.batch_select_indices(rows)
    return made, out.last_hidden_state[rows, -1], mask_RT[rows], positions_RT[rows, -1]


def _right_aligned(lengths: Sequence[int], device: torch.device) -> Tensor:
    """The attention mask of rows of these lengths."""
    width = max(lengths)
    return torch.tensor([[0] * (width - length) + [1] * length for length in lengths], device=device)


def _begun(
    bank: AdapterBank, prompts: list[tuple[str | None, tuple[int, ...]]], known: Prefixes | None
) -> tuple[list[int], list[int], Any]:
    """How many first tokens of each prompt were known; how many need not be run with it, and the cache of those."""
    names = [name for name, _ in prompts]
    shared = common_prefix([prompt for _, prompt in prompts])
    saved = shared * (len(names) - len(set(names)))
    nothing = [0] * len(prompts)
    if known is not None:
        found = [known.find(name, prompt) for name, prompt in prompts]
        lengths = [length for length, _ in found]
        if sum(lengths) > saved:
            return lengths, lengths, cache_of([layers for _, layers in found])
    if saved < _A_PASS:
        return nothing, nothing, None
    return nothing, [shared] * len(prompts), _prefix_cache(bank, list(prompts[0][1][:shared]), names)


def _prefix_cache(bank: AdapterBank, prefix: list[int], names: list[str | None]) -> Any:
    """The key–value cache of the prefix, computed once per distinct adapter and repeated for its rows."""
    distinct = list(dict.fromkeys(names))
    ids = torch.tensor([prefix] * len(distinct), device=bank.base.device)
    with bank.rows(distinct):
        cache = bank.base.backbone(input_ids=ids, use_cache=True).past_key_values
    cache.batch_select_indices(torch.tensor([distinct.index(name) for name in names], device=ids.device))
    return cache


def _left_padded(
    prompts: Sequence[Sequence[int]], begun: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids of what is to be run, attention mask over what was begun and this, and positions; both padded on the left."""
    most = max(begun)
    width = max(len(prompt) - first for prompt, first in zip(prompts, begun, strict=True))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.ones(len(prompts), most + width, dtype=torch.long)
    positions = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, (prompt, first) in enumerate(zip(prompts, begun, strict=True)):
        gap = width - (len(prompt) - first)
        ids[row, gap:] = torch.tensor(list(prompt[first:]), dtype=torch.long)
        mask[row, : most - first] = 0
        mask[row, most : most + gap] = 0
        positions[row, gap:] = torch.arange(first, len(prompt))
    return ids.to(device), mask.to(device), positions.to(device)


def choose_each(logits_RV: Tensor, ways: Sequence[Decoding], generators: Sequence[torch.Generator]) -> Tensor:
    """A token [R] for each row, chosen in its own way and by its own chance: what the others draw changes nothing."""
    chosen_R = logits_RV.argmax(dim=-1)
    for row, (how, generator) in enumerate(zip(ways, generators, strict=True)):
        if how.temperature > 0:
            chosen_R[row] = _choose(logits_RV[row : row + 1], how, generator)[0]
    return chosen_R


def _choose(logits_RV: Tensor, decoding: Decoding, generator: torch.Generator) -> Tensor:
    if decoding.temperature < COLDEST:
        return logits_RV.argmax(dim=-1)
    likely_RK, tokens_RK = logits_RV.topk(
        min(NUCLEUS, logits_RV.shape[-1]), dim=-1
    )  # sorting the whole vocabulary is slow
    total_R1 = torch.logsumexp(logits_RV / decoding.temperature, dim=-1, keepdim=True)
    probabilities_RK = torch.exp(likely_RK / decoding.temperature - total_R1)
    if decoding.top_p < 1:
        beyond_RK = (probabilities_RK.cumsum(dim=-1) - probabilities_RK) >= decoding.top_p
        beyond_RK[:, 0] = False  # the likeliest stays, also where top_p is 0 in fp32
        probabilities_RK[beyond_RK] = 0
    picked_R1 = torch.multinomial(probabilities_RK, 1, generator=generator)
    return tokens_RK.gather(1, picked_R1).squeeze(1)
