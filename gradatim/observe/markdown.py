"""The blocks of a text: headings, paragraphs, list items and table rows, with inline marks taken off.

Plain text is read by the same rules: it is Markdown without marks, except that its titles are guessed: a paragraph in
capitals, and a first line that is short and has no full stop. Code, images, comments and front matter are left out:
nobody wants their sentences learnt. markdown-it does the parsing, by the CommonMark specification plus tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

Kind = Literal["heading", "paragraph", "item", "row"]


@dataclass(frozen=True, slots=True)
class Block:
    """One block of text; `level` is that of a heading, from 1, and 0 for everything else."""

    kind: Kind
    text: str
    level: int = 0


def blocks(text: str) -> Iterator[Block]:
    """The blocks that hold words, in the order of the text."""
    # "code" is the rule that four spaces make code: in plain text they are an indent.
    tokens = MarkdownIt("commonmark").enable("table").disable("code").parse(_without_front_matter(text))
    header: list[str] = []
    row: list[str] = []
    for position, token in enumerate(tokens):
        if token.type == "inline" and tokens[position - 1].type in ("th_open", "td_open"):
            row.append(_words(token))
        elif token.type == "thead_close":
            header, row = row, []
        elif token.type == "tr_close" and tokens[position - 1].type == "td_close":
            yield from _row(header, row)
            row = []
        elif token.type == "inline" and (words := _words(token)):
            yield _block(tokens, position, words)


def first_heading(text: str) -> str | None:
    """The text's own title, if it has one."""
    return next((block.text for block in blocks(text) if block.kind == "heading"), None)


def _block(tokens: list[Token], position: int, words: str) -> Block:
    opening, before = tokens[position - 1], tokens[position - 2] if position >= 2 else None
    if opening.type == "heading_open":
        return Block("heading", words, int(opening.tag[1:]))
    if before and before.type == "list_item_open":
        return Block("item", words)
    alone = position + 2 == len(tokens)
    if not alone and opening.level == 0 and _looks_like_a_title(words, first=before is None):
        return Block("heading", words, 1)
    return Block("paragraph", words)


def _looks_like_a_title(words: str, *, first: bool) -> bool:
    short = len(words.split()) <= 12 and words[-1] not in ".!?:;,…。！？"
    return short and (first or (words.isupper() and " " in words))


def _row(header: list[str], row: list[str]) -> Iterator[Block]:
    """A table's row as "header: cell; header: cell", without the empty cells."""
    pairs = [f"{name}: {cell}" if name else cell for name, cell in zip(header, row, strict=False) if cell]
    if pairs:
        yield Block("row", "; ".join(pairs))


def _words(inline: Token) -> str:
    """The text of a block without its marks, on one line."""
    parts = []
    for child in inline.children or []:
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak") or child.content.startswith("<br"):
            parts.append(" ")
    return " ".join("".join(parts).split())


def _without_front_matter(text: str) -> str:
    return re.sub(r"\A---\n(?:[\w-]+:.*\n|[ \t#-].*\n|\n)*?---\n", "", text)
