"""What a sentence claims, as far as words show it: what it speaks of, and the values it gives.

Two claims that speak of the same thing and give another value of the same sort can't both be true; `differences` finds
such values.

Limits: lexical. Negation, synonyms beyond a short list, and values written in other words are not seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gradatim.observe.values import Value, tokens, value_at
from gradatim.observe.vocabulary import STOP_WORDS, stem


@dataclass(frozen=True, slots=True)
class Claim:
    """The content words of a text without its values, and its values, each with the words that wrote it."""

    words: frozenset[str]
    values: dict[Value, str] = field(default_factory=dict)

    def sorts(self) -> set[str]:
        """The sorts of value it gives."""
        return {sort for sort, _ in self.values}

    def of(self, sort: str) -> dict[object, str]:
        """Its values of one sort, each with the words that wrote it."""
        return {value: said for (found, value), said in self.values.items() if found == sort}


def claim(text: str) -> Claim:
    """What this text claims."""
    found = tokens(text)
    values: dict[Value, str] = {}
    words: set[str] = set()
    position = 0
    while position < len(found):
        length, value, said = value_at(found, position)
        if value:
            values.setdefault(value, said)
        elif found[position].kind == "word":
            words.update(stem(part) for part in found[position].small.split("-") if part not in STOP_WORDS)
        position += length
    return Claim(frozenset(words), values)


@dataclass(frozen=True, slots=True)
class Difference:
    """A sort of value on which two claims disagree, and the words of each."""

    sort: str
    new: str
    old: str


def differences(new: Claim, old: Claim) -> list[Difference]:
    """Where two claims on one thing disagree.

    Of a sort that both give, they agree when the values of one are all among those of the other.
    """
    found = []
    for sort in sorted(new.sorts() & old.sorts()):
        only_new = _unmatched(new.of(sort), old.of(sort))
        only_old = _unmatched(old.of(sort), new.of(sort))
        if only_new and only_old:
            found.append(Difference(sort, only_new[0], only_old[0]))
    return found


def supports(old: Claim, new: Claim) -> bool:
    """Whether the old claim speaks in part of the same thing and gives every value of the new one, which has some."""
    if not new.values or not new.words & old.words:
        return False
    amounts: dict[object, str] = {}
    for said in old.values.values():
        amounts |= claim(said.rpartition(" ")[0]).of("number")  # without its unit
    return not any(
        _unmatched(new.of(sort), old.of(sort) | (amounts if sort == "number" else {})) for sort in new.sorts()
    )


def without_names(claimed: Claim, known: frozenset[str]) -> Claim:
    """The claim without the names whose words are all among these: what a question names is no answer to it."""
    kept = {
        (sort, value): said
        for (sort, value), said in claimed.values.items()
        if not (isinstance(value, frozenset) and value <= known)
    }
    return Claim(claimed.words, kept)


def in_units_of(new: Claim, old: Claim) -> Claim:
    """The new claim with its bare numbers in the unit of the old one, if that has only one: "340" as "340 crowns"."""
    units = {said.split()[-1] for (sort, _), said in old.values.items() if sort.startswith(("number ", "money"))}
    bare = new.of("number")
    if not bare or len(units) != 1 or old.of("number"):
        return new
    values = {key: said for key, said in new.values.items() if key[0] != "number"}
    for said in bare.values():
        values |= claim(f"{said} {next(iter(units))}").values
    return Claim(new.words, values)


def names_in(claimed: Claim) -> frozenset[str]:
    """The words of all its names."""
    return frozenset().union(*(value for _, value in claimed.values if isinstance(value, frozenset)))


def name_words(text: str) -> frozenset[str]:
    """Every word of the text in small letters, for matching names against it."""
    return frozenset(word.removesuffix("'s").removesuffix("’s") for word in re.findall(r"[\w'’-]+", text.lower()))


def _unmatched(mine: dict[object, str], other: dict[object, str]) -> list[str]:
    return [said for value, said in mine.items() if not any(_same(value, candidate) for candidate in other)]


def _same(first: object, second: object) -> bool:
    if isinstance(first, frozenset) and isinstance(second, frozenset):
        return first <= second or second <= first
    return first == second
