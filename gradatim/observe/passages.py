"""A document becomes passages: single sentences, each with the place it stands in.

Sentences come from paragraphs, list items and table rows. Headings, and a line such as "The offices are:" before a
list, are not passages but context, so that a sentence can stand alone: "Handbook > Offices > Opening hours"; so are
labels such as "Article 3." Fragments of fewer than three words join a neighbour in the same place. A sentence that was
said before in the same place is left out.

Limits: a sentence whose subject is a pronoun keeps it; the context is all that says what "it" is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, zip_longest
from operator import attrgetter

from gradatim.errors import InputError
from gradatim.observe.markdown import Block, blocks
from gradatim.observe.sentences import split_sentences
from gradatim.types import Document, Passage

LEAST_WORDS = 3

_LABEL = re.compile(r"((?:Article|Section|Chapter|Clause|Rule|Paragraph|§) ?\d+(?:\.\d+)*)[.:)] +(?=\S)", re.IGNORECASE)
# Scripts that write no spaces: there, a letter counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w[\w'’-]*")


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    context: str
    opens: bool  # whether it is the first of its paragraph, item or row


def split_passages(document: Document) -> tuple[Passage, ...]:
    """The passages of a document in order; raises InputError when it has none."""
    found = list(blocks(document.text))
    merged = [
        (context, text)
        for context, group in groupby(_sentences(document.title, found), key=attrgetter("context"))
        for text in _merged(list(group))
    ]
    if not merged:
        raise InputError(f"{document.provenance.source}: holds no sentence, only headings or code; add some text")
    return tuple(
        Passage(f"{document.id[:12]}:{index}", document.id, text, context)
        for index, (context, text) in enumerate(dict.fromkeys(merged))
    )


def _sentences(title: str, found: list[Block]) -> Iterator[_Sentence]:
    """Every sentence with its place, in order."""
    headings: list[tuple[int, str]] = []
    lead = ""
    for block, following in zip_longest(found, found[1:]):
        if block.kind == "heading":
            headings = [heading for heading in headings if heading[0] < block.level] + [(block.level, block.text)]
            lead = ""
            continue
        if block.kind == "paragraph":
            lead = ""
        label, text = _without_label(block.text)
        sentences = split_sentences(text)
        context = _context(title, headings, lead, label)
        if (
            block.kind == "paragraph"
            and sentences[-1].endswith(":")
            and following
            and following.kind in ("item", "row")
        ):
            lead = sentences.pop().rstrip(": ")
        for index, sentence in enumerate(sentences):
            yield _Sentence(sentence, context, opens=index == 0)


def _context(title: str, headings: list[tuple[int, str]], lead: str, label: str) -> str:
    names = [title, *(name for _, name in headings if name != title), lead, label]
    return " > ".join(name for name in names if name)


def _without_label(text: str) -> tuple[str, str]:
    """Parts "Article 3. Each licence ..." into its label and the rest."""
    found = _LABEL.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def _merged(sentences: list[_Sentence]) -> list[str]:
    """Joins a fragment to the sentence before it in its paragraph; one that opens, asks or announces, to the next."""
    merged: list[str] = []
    waiting = ""
    for sentence in sentences:
        text, waiting = _joined(waiting, sentence.text), ""
        if len(_WORD.findall(text)) >= LEAST_WORDS:
            merged.append(text)
        elif merged and not sentence.opens and text[-1] not in "?:":
            merged[-1] = _joined(merged[-1], text)
        else:
            waiting = text
    if waiting and merged:
        merged[-1] = _joined(merged[-1], waiting)
    elif waiting:
        merged.append(waiting)
    return merged


def _joined(first: str, second: str) -> str:
    if not first or first[-1] in ".!?:;…,":
        return f"{first} {second}".strip()
    return f"{first}; {second}"
