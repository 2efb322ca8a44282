"""Where a sentence ends.

A full stop, question mark or exclamation mark ends a sentence when white space and then a capital letter or a digit
follow, unless the stop belongs to an abbreviation, an initial or an acronym. After those that may also close a sentence
("Ltd.", "U.S.", "p.m.") the next word decides.

Limits: the abbreviations are English. Sentences that begin with a small letter are not parted from the one before;
texts without punctuation are cut only when they grow beyond MAX_WORDS.
"""

from __future__ import annotations

import re

MAX_WORDS = 80
"""Longer sentences are cut at a semicolon, a comma or a space, so that a passage stays a passage."""

_STOP = re.compile(r"""[.!?…]+["'”’»)\]]*(?=\s)|[。！？]+[」』”’]*""")
_OPENING = "\"'“‘«(["

_TITLES = frozenset("mr mrs ms mx dr prof rev hon capt sgt lt gen sen rep messrs e.g i.e vs cf viz approx incl".split())
_BEFORE_NUMBERS = frozenset("no nos nr fig figs p pp vol ch sec para ca c ext tel".split())
_CLOSING = frozenset("st inc ltd co corp plc jr sr al dept ave blvd rd bldg".split())
_CALENDAR = frozenset(
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun".split()
)
_CALENDAR_WORDS = re.compile(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?$|(?:january|february|march|april|may|june|july|august|september"
    r"|october|november|december)$|(?:utc|gmt|cet|cest|est|edt|pst|pdt|bst)$",
    re.IGNORECASE,
)
_STARTERS = frozenset(
    "a after all an and any as at before both but by each every for from he her his how if in it its most new no on our"
    " please she so some that the their there these they this those to we what when where who with you your".split()
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph on one line, in order; nothing is lost but white space."""
    sentences = []
    start = 0
    for stop in _STOP.finditer(text):
        if _ends(text[start : stop.start()], stop.group(), text[stop.end() :]):
            sentences.append(text[start : stop.end()].strip())
            start = stop.end()
    sentences.append(text[start:].strip())
    return [part for sentence in sentences if sentence for part in _cut(sentence)]


def _ends(before: str, mark: str, after: str) -> bool:
    if mark[0] in "。！？":
        return True
    following = after.lstrip().lstrip(_OPENING)
    if not following[:1].isupper() and not following[:1].isdigit():
        return False
    if mark[0] != "." or mark.startswith(".."):
        return True
    word = re.search(r"[\w.&-]*$", before)
    return _ends_after(word.group() if word else "", re.split(r"[\s,.;:!?'’]", following, maxsplit=1)[0])


def _ends_after(word: str, following: str) -> bool:
    """Whether "word." closes a sentence before the word `following`."""
    small, starts = word.lower(), following.lower() in _STARTERS
    if small in _TITLES:
        return False
    if small in _BEFORE_NUMBERS:
        return not following[:1].isdigit()
    if small in ("a.m", "p.m", "am", "pm"):
        return not _CALENDAR_WORDS.match(following)
    shortened_date = small in _CALENDAR and word[:1].isupper()
    initial = len(word) == 1 and word.isupper()
    acronym = re.fullmatch(r"(?:\w\.)+\w", word) is not None
    if small in _CLOSING or shortened_date or initial or acronym:
        return starts
    return True


def _cut(sentence: str) -> list[str]:
    """The sentence in parts of at most MAX_WORDS."""
    parts = []
    words = sentence.split()
    while len(words) > MAX_WORDS:
        half = range(MAX_WORDS, MAX_WORDS // 2, -1)
        at = next((n for mark in (";", ",") for n in half if words[n - 1].endswith(mark)), MAX_WORDS)
        parts.append(" ".join(words[:at]))
        words = words[at:]
    return [*parts, " ".join(words)]
