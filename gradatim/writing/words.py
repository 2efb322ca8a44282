"""Words, content words and likeness between short texts: what the filters and the rule-made prompts count with.

Limits: English function words and suffixes; other languages lose some filtering, never correctness.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

FUNCTION_WORDS = frozenset(
    """a an the of to in on at by for with from and or but nor is are was were be been being has have had do does did
    it its they them their he him his she her hers we us our you your i me my this that these those there here which
    who whom whose what when where why how as not no any all each every both up into over under than then so if while
    must may might can could will would shall should before after during only also more most least very own such same
    until upon per about out off again once other another some because since though""".split()
)
_EMPTY_WORDS = frozenset(
    "name called kind type thing way happen many much long time people person get use make".split()
)
_NUMBER_WORDS = frozenset(
    """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand half dozen""".split()
)
_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*")
_LEANING = re.compile(r"(?:It|They|He|She|Its|Their|His|Her|This|That|These|Those|Such)\b(?! who\b)")
_SUFFIXES = ("'s", "ing", "ed", "es", "s", "ly")


def words(text: str) -> list[str]:
    """The words and numbers of a text, as written."""
    return _WORD.findall(text)


def normalised(text: str) -> str:
    """Lower case, words and digits only, single spaces: how replies are compared."""
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


def contains(reply: str, accepted: Iterable[str]) -> bool:
    """Whether any accepted string stands in the reply as whole words, after normalising both."""
    padded = f" {normalised(reply)} "
    return any(f" {normalised(one)} " in padded for one in accepted if normalised(one))


def is_number(word: str) -> bool:
    return word[0].isdigit() or word.lower().split("-")[0] in _NUMBER_WORDS


def is_content(word: str) -> bool:
    return word.lower() not in FUNCTION_WORDS and (len(word) > 1 or word.isdigit())


def content_words(text: str) -> list[str]:
    return [word for word in words(text) if is_content(word)]


def stem(word: str) -> str:
    """A crude stem: enough to see that "pays" and "paid leave" differ and "farms" and "farm" do not."""
    low = word.lower()
    for suffix in _SUFFIXES:
        if low.endswith(suffix) and len(low) - len(suffix) >= 3:
            return low[: -len(suffix)]
    return low


def stems(text: str, without: frozenset[str] = frozenset()) -> frozenset[str]:
    """Stems of the words that carry meaning, less those in `without`."""
    found = {stem(word) for word in content_words(text) if word.lower() not in _EMPTY_WORDS}
    return frozenset(found) - without


def leans(text: str) -> bool:
    """Whether a sentence opens with a pronoun, and so needs the one before it to be understood."""
    return bool(_LEANING.match(text))
