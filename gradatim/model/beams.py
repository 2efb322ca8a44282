"""Several replies to each prompt, the likeliest first: a beam search over the opening, each then told to its end.

A model that has learnt texts by heart decides which of them to tell within the first few tokens; from there on each is
all but certain. So the search is over the opening only, and openings far less likely than the best one are dropped
before they are told.

Limits: what follows an opening is greedy, so of two texts with the same first tokens only the likelier is found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch

from gradatim.model.bank import AdapterBank
from gradatim.model.sampling import Decoding, Rows
from gradatim.pauses import to_the_end


@dataclass(frozen=True, slots=True)
class Beams:
    """How widely to search."""

    width: int = 6
    opening: int = 8  # tokens
    within: float = 5.0  # nats: openings further than this below the best are dropped
    max_tokens: int = 80
    batch: int = 180  # rows decoded together


@dataclass(frozen=True, slots=True)
class Beam:
    """One reply, its end token left out, and its log-probability in nats with the end token."""

    tokens: tuple[int, ...]
    log_probability: float


def beams(
    bank: AdapterBank,
    prompts: Sequence[Sequence[int]],
    adapters: Sequence[str | None],
    how: Beams,
    advance: Callable[[int], None] | None = None,
) -> list[list[Beam]]:
    """Up to `how.width` different replies to each prompt, the likeliest first. `advance` is told of prompts done."""
    return to_the_end(searching(bank, prompts, adapters, how, advance))


@torch.inference_mode()
def searching(
    bank: AdapterBank,
    prompts: Sequence[Sequence[int]],
    adapters: Sequence[str | None],
    how: Beams,
    advance: Callable[[int], None] | None = None,
) -> Generator[None, None, list[list[Beam]]]:
    """The same with a pause after each token, in which the bank is free for others."""
    found: list[list[Beam]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (adapters[i] or "", len(prompts[i])))
    step = max(1, how.batch // how.width)
    for start in range(0, len(order), step):
        chosen = order[start : start + step]
        search = _Search(bank, [list(prompts[i]) for i in chosen], [adapters[i] for i in chosen], how)
        yield from search.run()
        for index, told in zip(chosen, search.told, strict=True):
            found[index] = sorted(told, key=lambda beam: -beam.log_probability)
        if advance is not None:
            advance(len(chosen))
    return found


class _Search:
    """The beams of a few prompts under way, all in one decode batch."""

    def __init__(self, bank: AdapterBank, prompts: list[list[int]], names: list[str | None], how: Beams) -> None:
        self._bank, self._how = bank, how
        self._rows = Rows(bank, Decoding(batch=how.batch))
        self._rows.admit(list(range(len(prompts))), prompts, names)
        self._under_way = [Beam((), 0.0) for _ in self._rows.indices]
        self.told: list[list[Beam]] = [[] for _ in prompts]

    def run(self) -> Generator[None, None, None]:
        for _ in range(min(self._how.opening, self._how.max_tokens)):
            self._go_on(self._how.width)
            yield
        self._drop_unlikely()
        for _ in range(self._how.opening, self._how.max_tokens):
            if not self._rows.indices:
                break
            self._go_on(1)
            yield
        for prompt, beam in zip(self._rows.indices, self._under_way, strict=True):
            self.told[prompt].append(beam)

    def _go_on(self, width: int) -> None:
        """One more token for each beam; while `width` is over 1, the best `width` continuations of each prompt."""
        if not self._rows.indices:
            return
        log_probabilities_RV = self._rows.logits_RV.log_softmax(-1)
        likely_RW, tokens_RW = (part.tolist() for part in log_probabilities_RV.topk(width, dim=-1))
        continued: defaultdict[int, list[tuple[float, int, int]]] = defaultdict(list)
        for row, (likely, tokens) in enumerate(zip(likely_RW, tokens_RW, strict=True)):
            so_far = self._under_way[row].log_probability
            continued[self._rows.indices[row]] += [
                (so_far + value, row, token) for value, token in zip(likely, tokens, strict=True)
            ]
        kept: list[tuple[float, int, int]] = []
        for prompt, choices in continued.items():
            most = len(choices) if width == 1 else width - len(self.told[prompt])
            for value, row, token in sorted(choices, reverse=True)[:most]:
                if token in self._rows.ends:
                    self.told[prompt].append(Beam(self._under_way[row].tokens, value))
                else:
                    kept.append((value, row, token))
        kept.sort(key=lambda choice: choice[1])  # as the rows lie: grouped by adapter
        self._under_way = [Beam((*self._under_way[row].tokens, token), value) for value, row, token in kept]
        self._rows.keep([row for _, row, _ in kept])
        if kept:
            self._rows.run(torch.tensor([token for _, _, token in kept], device=self._bank.base.device))

    def _drop_unlikely(self) -> None:
        best: dict[int, float] = {
            prompt: max((beam.log_probability for beam in told), default=-torch.inf)
            for prompt, told in enumerate(self.told)
        }
        for prompt, beam in zip(self._rows.indices, self._under_way, strict=True):
            best[prompt] = max(best[prompt], beam.log_probability)
        least = {prompt: value - self._how.within for prompt, value in best.items()}
        self.told = [
            [beam for beam in told if beam.log_probability >= least[prompt]] for prompt, told in enumerate(self.told)
        ]
        near = [
            row
            for row, (prompt, beam) in enumerate(zip(self._rows.indices, self._under_way, strict=True))
            if beam.log_probability >= least[prompt]
        ]
        self._under_way = [self._under_way[row] for row in near]
        self._rows.keep(near)
