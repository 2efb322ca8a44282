"""Which words of a passage are its facts: those the model did not expect.

One forward pass of the base over each sentence, its context before it, gives every word its surprisal in nats.
Numbers and names come first, then whatever surprised most. A fact is also where a question should point.

Limits: the boundaries of a fact are found by rule (a run of capitalised words; a number and the noun after it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from gradatim.model.bank import AdapterBank
from gradatim.types import Passage
from gradatim.writing.words import is_content, is_number, leans, normalised, words

Kind = Literal["time", "money", "count", "place", "name", "thing"]

_MONEY = re.compile(
    r"[$€£]|\b(?:pounds?|dollars?|euros?|pence|cents?|crowns?|shillings?|francs?|florins?|yen|rupees?)\b"
)
_CLOCK = re.compile(r"\d:\d\d|\b(?:am|pm|a\.m|p\.m|o'clock|noon|midnight)\b|^\S+ in the (?:morning|afternoon|evening)")
_DATE = re.compile(
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|june|july|august|september"
    r"|october|november|december)\b",
    re.IGNORECASE,
)
_PLACES = frozenset("in at to from near into of".split())
_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*")
_NUMBER_BONUS, _NAME_BONUS = 12.0, 10.0
_LONG = 26  # words


@dataclass(frozen=True, slots=True)
class Fact:
    """A stretch of a passage worth asking for."""

    passage: str
    text: str
    before: str  # the word before it, lower case, "" at the start
    following: str  # the rest of the passage after it

    @property
    def kind(self) -> Kind:
        """What it is, from its shape and the word before it."""
        if _CLOCK.search(self.text + self.following[:18]) or _DATE.search(self.text):
            return "time"
        if _MONEY.search(self.text + self.following[:12]):
            return "money"
        if is_number(words(self.text)[0]):
            return "count"
        if self.text[0].isupper():
            return "place" if self.before in _PLACES else "name"
        return "thing"


def standing(passages: Sequence[Passage], index: int) -> str:
    """The passage, with the one before it when it leans on it."""
    text = passages[index].text
    if index and leans(text) and passages[index - 1].document == passages[index].document:
        return f"{passages[index - 1].text} {text}"
    return text


def find_facts(bank: AdapterBank, passages: Sequence[Passage], most: int = 3) -> list[list[Fact]]:
    """Up to `most` facts of each passage, the most telling first; half as many again where it is long."""
    found = []
    for index, passage in enumerate(passages):
        previous = passages[index - 1].text if index else ""
        surprisal = _word_surprisal(bank, f"{passage.context}. {previous}".strip() + " ", passage.text)
        found.append(_choose(passage, surprisal, most if len(surprisal) <= _LONG else most + most // 2 + 1))
    return found


@torch.inference_mode()
def _word_surprisal(bank: AdapterBank, context: str, text: str) -> list[tuple[re.Match[str], float]]:
    """Each word of `text` with the negative log-probability, in nats, of its tokens after `context`."""
    tokenizer = bank.base.tokenizer
    before = bank.base.chat.raw(context)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = torch.tensor([before + encoded["input_ids"]], device=bank.base.device)
    with bank.rows([None]):
        hidden = bank.base.backbone(input_ids=ids, use_cache=False).last_hidden_state[0, len(before) - 1 : -1]
    logs = bank.base.head(hidden.contiguous()).float().log_softmax(-1)
    nats = -logs.gather(1, ids[0, len(before) :, None]).squeeze(1).cpu()
    scored = []
    for match in _TOKEN.finditer(text):
        total = sum(
            float(nat)
            for (start, stop), nat in zip(encoded["offset_mapping"], nats, strict=True)
            if match.start() <= (start + stop) / 2 <= match.end()
        )
        scored.append((match, total))
    return scored


def _choose(passage: Passage, scored: list[tuple[re.Match[str], float]], most: int) -> list[Fact]:
    title = frozenset(normalised(passage.context).split())
    ranked = []
    for index, (match, nats) in enumerate(scored):
        word = match.group()
        if not is_content(word) or normalised(word) in title:
            continue
        bonus = _NUMBER_BONUS if is_number(word) else _NAME_BONUS if word[0].isupper() and match.start() else 0.0
        ranked.append((nats + bonus - 4.0 * word.endswith("ly"), index))
    chosen: list[Fact] = []
    taken: set[int] = set()
    for _, index in sorted(ranked, reverse=True):
        if index in taken or len(chosen) == most:
            continue
        first, last = _extent([match for match, _ in scored], index)
        taken |= set(range(first, last + 1))
        start, stop = scored[first][0].start(), scored[last][0].end()
        before = scored[first - 1][0].group().lower() if first else ""
        chosen.append(Fact(passage.id, passage.text[start:stop], before, passage.text[stop:]))
    return chosen


def _extent(matches: list[re.Match[str]], index: int) -> tuple[int, int]:
    """First and last word of the fact around word `index`."""

    def touching(left: int, right: int) -> bool:
        return left >= 0 and right < len(matches) and matches[right].start() - matches[left].end() <= 1

    def is_name(i: int) -> bool:
        return matches[i].group()[0].isupper() and matches[i].start() > 0

    first = last = index
    if is_name(index):
        while touching(first - 1, first) and is_name(first - 1):
            first -= 1
        while touching(last, last + 1) and is_name(last + 1):
            last += 1
    elif touching(last, last + 1) and is_content(matches[last + 1].group()):
        last += 1
    return first, last
