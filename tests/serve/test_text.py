"""Pieces put together are the whole, wherever they were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradatim.serve.text import Spelling, Stops
from tests.tiny import VOCABULARY, tiny_tokenizer

TOKENIZER = tiny_tokenizer()


def decode(ids: list[int]) -> str:
    text: str = TOKENIZER.decode(ids, skip_special_tokens=True)
    return text


@given(st.lists(st.integers(0, VOCABULARY - 1), max_size=60))
def test_any_tokens_give_the_text_that_they_give_at_once(ids: list[int]) -> None:
    spelling = Spelling(decode)
    assert "".join([*map(spelling.add, ids), spelling.rest()]) == decode(ids)


@given(st.text(max_size=30))
def test_a_letter_is_never_told_in_halves(text: str) -> None:
    text = text.replace("\ufffd", "")
    spelling = Spelling(decode)
    pieces = [spelling.add(token) for token in TOKENIZER(text, add_special_tokens=False)["input_ids"]]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join([*pieces, spelling.rest()]) == text


@given(
    st.lists(st.text("ab \n", max_size=4), max_size=12), st.lists(st.text("ab \n", min_size=1, max_size=4), max_size=3)
)
def test_a_text_in_pieces_is_cut_where_the_whole_would_be(pieces: list[str], sequences: list[str]) -> None:
    for trim in (False, True):
        stops = Stops(sequences, trim=trim)
        told = "".join([*map(stops.add, pieces), stops.rest()])
        whole = "".join(pieces)
        ends = [at for at in map(whole.find, sequences) if at >= 0]
        expected = whole[: min(ends)] if ends else whole
        assert told == (expected.strip() if trim else expected)
        assert stops.stopped == bool(ends)


def test_nothing_is_held_back_without_need() -> None:
    stops = Stops(["END"], trim=True)
    assert [stops.add(piece) for piece in ("  a", " b ", "E", "x", "EN", "D y")] == ["a", " b", "", " Ex", "", ""]
    assert stops.stopped


@pytest.mark.parametrize("sequence", ["ab", "aab"])
def test_a_false_beginning_is_let_go(sequence: str) -> None:
    stops = Stops([sequence], trim=False)
    assert "".join([stops.add("a"), stops.add("a"), stops.add("c"), stops.rest()]) == "aac"
