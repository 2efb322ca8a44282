"""Documents become passages: which sentences, in which context."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradatim.errors import InputError
from gradatim.observe.documents import read_document
from gradatim.observe.passages import split_passages
from gradatim.types import Passage


def passages(folder: Path, text: str, name: str = "hand.md") -> tuple[Passage, ...]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return split_passages(read_document(path))


def texts(folder: Path, text: str) -> list[str]:
    return [passage.text for passage in passages(folder, text)]


def places(folder: Path, text: str) -> list[tuple[str, str]]:
    return [(passage.context, passage.text) for passage in passages(folder, text)]


def test_ids_number_the_sentences_of_the_document(tmp_path: Path) -> None:
    path = tmp_path / "hand.md"
    path.write_text("We open at nine. We close at six.")
    document = read_document(path)
    found = split_passages(document)
    assert [passage.id for passage in found] == [f"{document.id[:12]}:0", f"{document.id[:12]}:1"]
    assert {passage.document for passage in found} == {document.id}


def test_headings_are_context_and_not_passages(tmp_path: Path) -> None:
    text = (
        "# Guide\n\nRead it all.\n\n## Shop\n\nWe open at nine.\n\n### Tea\n\nPay in cash.\n\n## Bar\n\nBe quiet there."
    )
    assert places(tmp_path, text) == [
        ("Guide", "Read it all."),
        ("Guide > Shop", "We open at nine."),
        ("Guide > Shop > Tea", "Pay in cash."),
        ("Guide > Bar", "Be quiet there."),
    ]


def test_underlined_headings(tmp_path: Path) -> None:
    assert places(tmp_path, "Guide\n=====\n\nShop\n----\n\nWe open at nine.\n") == [
        ("Guide > Shop", "We open at nine.")
    ]


def test_the_title_of_plain_text_is_its_short_first_line(tmp_path: Path) -> None:
    found = passages(tmp_path, "Guide to the Shop\n\nWe open at nine.\n", "hand.txt")
    assert [(passage.context, passage.text) for passage in found] == [("Guide to the Shop", "We open at nine.")]


def test_lines_in_capitals_are_headings(tmp_path: Path) -> None:
    text = "We open at nine.\n\nTHE LONG BREAK\n\nLunch is at noon.\n"
    assert places(tmp_path, text) == [
        ("THE LONG BREAK", "We open at nine."),
        ("THE LONG BREAK", "Lunch is at noon."),
    ]


def test_a_document_of_one_line_is_no_title(tmp_path: Path) -> None:
    assert places(tmp_path, "We open at nine every day") == [("hand", "We open at nine every day")]


def test_items_are_sentences_and_a_lead_in_is_their_context(tmp_path: Path) -> None:
    text = (
        "There are two. They are these:\n\n- Rome opens at nine\n- Turin opens at **ten**\n  1. and closes at six\n\n"
    )
    assert places(tmp_path, text + "That is all there is.") == [
        ("hand", "There are two."),
        ("hand > They are these", "Rome opens at nine"),
        ("hand > They are these", "Turin opens at ten"),
        ("hand > They are these", "and closes at six"),
        ("hand", "That is all there is."),
    ]


def test_table_rows_repeat_their_headers(tmp_path: Path) -> None:
    text = "| Day | Opens | Closes |\n|---|---|---|\n| Monday | 9:00 | 18:00 |\n| Sunday | | 12:00 |\n"
    assert texts(tmp_path, text) == ["Day: Monday; Opens: 9:00; Closes: 18:00", "Day: Sunday; Closes: 12:00"]


def test_code_images_comments_and_front_matter_are_left_out(tmp_path: Path) -> None:
    text = (
        "---\ntitle: Draft\ntags:\n  - a\n---\n# Guide\n\n```\nrm -rf everything here.\n```\n\n<!-- not this -->\n\n"
        "![a picture of us](us.png) We open at nine.\n\n~~~\nmore code to skip.\n~~~\n"
    )
    assert places(tmp_path, text) == [("Guide", "We open at nine.")]


def test_inline_marks_are_taken_off(tmp_path: Path) -> None:
    text = "Ask **Ada** or *Ben* at [the desk](http://desk.example), run `go` &amp; wait.<br>Mind the snake_case here."
    assert texts(tmp_path, text) == [
        "Ask Ada or Ben at the desk, run go & wait.",
        "Mind the snake_case here.",
    ]


def test_a_sentence_goes_on_over_line_breaks_and_indents(tmp_path: Path) -> None:
    assert texts(tmp_path, "    We open\n    at nine, and we\nclose at six.") == [
        "We open at nine, and we close at six."
    ]


def test_labels_of_articles_are_context(tmp_path: Path) -> None:
    text = "Article 1. We open at nine.\n\nSection 2.1: We close at six. Always punctually so.\n\nNothing else matters."
    assert places(tmp_path, text) == [
        ("hand > Article 1", "We open at nine."),
        ("hand > Section 2.1", "We close at six."),
        ("hand > Section 2.1", "Always punctually so."),
        ("hand", "Nothing else matters."),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We open at nine. Always. We close at six.", ["We open at nine. Always.", "We close at six."]),
        ("Welcome! We open at nine.", ["Welcome! We open at nine."]),
        ("We like questions. Why? They help us.", ["We like questions.", "Why? They help us."]),
        ("- Apples\n- Pears\n- Cherries from the garden", ["Apples; Pears; Cherries from the garden"]),
        ("Closed.", ["Closed."]),
    ],
)
def test_fragments_join_a_neighbour(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert texts(tmp_path, text) == expected


def test_fragments_do_not_cross_a_heading(tmp_path: Path) -> None:
    assert texts(tmp_path, "# A\n\nThank you.\n\n# B\n\nWe open at nine.") == ["Thank you.", "We open at nine."]


def test_a_sentence_said_twice_in_one_place_counts_once(tmp_path: Path) -> None:
    text = "# A\n\nWe open at nine.\n\nWe open at nine.\n\n## B\n\nWe open at nine."
    assert places(tmp_path, text) == [("A", "We open at nine."), ("A > B", "We open at nine.")]


def test_sentences_of_scripts_without_spaces_are_no_fragments(tmp_path: Path) -> None:
    assert texts(tmp_path, "我们九点开门。我们六点关门。") == ["我们九点开门。", "我们六点关门。"]


@pytest.mark.parametrize(
    "text", ["# Only a heading\n", "```\ncode alone\n```\n", "![picture](a.png)", "<!-- nothing -->"]
)
def test_a_document_without_sentences_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"hand\.md: holds no sentence"):
        passages(tmp_path, text)
