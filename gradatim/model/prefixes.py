"""Keys and values of prompts that were run lately, so that one which begins as they did is run from there on.

A chat template's own words, a system message, the conversation so far: most of a prompt has usually been run before.
What is kept belongs to an adapter, for its products are in every key and value. A prompt is kept when more than half of
it was new; those used longest ago go first.

Limits: a prompt is found by its first tokens only. In bf16 the keys and values of a token can differ in the last bits
with how many were run beside it. Whoever can time replies can tell whether a beginning has been asked with before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import DynamicCache

from gradatim.model.packing import common_prefix

FEWEST = 8
"""Tokens: what is shorter is as quickly run as found."""

PROMPTS = 32
"""Kept at most: each is looked at for every prompt."""

Layers = list[tuple[Tensor, Tensor]]
"""Keys and values [1, heads, T, size] of each layer."""


class Prefixes:
    """Beginnings of prompts, of at most `most` tokens together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str | None, tuple[int, ...]], Layers] = OrderedDict()  # used last, last

    @property
    def tokens(self) -> int:
        """That are kept now."""
        return sum(len(ids) for _, ids in self._kept)

    def find(self, name: str | None, prompt: Sequence[int]) -> tuple[int, Layers]:
        """The longest beginning of a prompt that is known, short of its last token: its length and what it gave."""
        best, found = 0, None
        for key in self._kept:
            if key[0] == name and (length := common_prefix([key[1], prompt])) > best:
                best, found = length, key
        if found is None or best < FEWEST:
            return 0, []
        self._kept.move_to_end(found)
        return best, [(keys[:, :, :best], values[:, :, :best]) for keys, values in self._kept[found]]

    def wants(self, name: str | None, prompt: Sequence[int], known: int) -> bool:
        """Whether a prompt of which so much was known is to be kept."""
        length = self._kept_of(prompt)
        return length >= FEWEST and 2 * known <= length and (name, tuple(prompt[:length])) not in self._kept

    def keep(self, name: str | None, prompt: Sequence[int], layers: Layers) -> None:
        """Keep a prompt that was run, as much of it as a quarter of all there may be."""
        length = self._kept_of(prompt)
        copies = [(keys[:, :, :length].clone(), values[:, :, :length].clone()) for keys, values in layers]
        self._kept[name, tuple(prompt[:length])] = copies
        while self.tokens > self._most or len(self._kept) > PROMPTS:
            self._kept.popitem(last=False)

    def _kept_of(self, prompt: Sequence[int]) -> int:
        return min(len(prompt), self._most // 4)


def row_of(cache: Any, row: int, mask_T: Tensor) -> Layers:
    """One row of a cache, without the columns that its attention mask leaves out."""
    columns = mask_T.nonzero().squeeze(1)
    kept = slice(None) if len(columns) == len(mask_T) else columns
    return [(layer.keys[row : row + 1, :, kept], layer.values[row : row + 1, :, kept]) for layer in cache.layers]


def cache_of(rows: Sequence[Layers]) -> Any:
    """A cache of these rows, padded with zeros on the left; a row without layers is all padding."""
    cache, some = DynamicCache(), next(layers for layers in rows if layers)
    width = max(layers[0][0].shape[2] for layers in rows if layers)
    for number, layer in enumerate(some):
        laid = []
        for kind, like in enumerate(layer):
            both = like.new_zeros(len(rows), like.shape[1], width, like.shape[3])
            for row, layers in enumerate(rows):
                if layers:
                    one = layers[number][kind]
                    both[row, :, width - one.shape[2] :] = one[0]
            laid.append(both)
        cache.update(laid[0], laid[1], number)
    return cache
