"""Words, likeness and whether a reply contains an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradatim.writing.words import contains, content_words, is_content, is_number, normalised, stem, stems, words

TEXT = st.text(alphabet="aB5 .,'-_é\n", max_size=30)


@pytest.mark.parametrize(
    ("reply", "accepted", "found"),
    [
        ("It opens at 7:30, I think.", ["7:30"], True),
        ("TAMSIN VOLE does.", ["tamsin vole"], True),
        ("Tamsin and Vole", ["Tamsin Vole"], False),
        ("seventeen", ["seven"], False),
        ("It costs £12.", ["12"], True),
        ("112 or 120", ["12"], False),
        ("five", ["four", "five"], True),
        ("anything", ["", "?!"], False),  # nothing is no answer
        ("", ["five"], False),
        ("anything", [], False),
        ("snake_case", ["case"], True),
    ],
)
def test_contains(reply: str, accepted: list[str], found: bool) -> None:
    assert contains(reply, accepted) is found


@given(TEXT, TEXT, TEXT)
def test_what_stands_in_a_reply_is_found_whatever_surrounds_it(before: str, answer: str, after: str) -> None:
    assert contains(f"{before} {answer.upper()}! {after}", [answer]) == bool(normalised(answer))


@given(TEXT)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert "  " not in once


@given(st.lists(st.sampled_from("The mill farms paid Vole 40 opened".split())))
def test_stems_know_neither_order_nor_case(chosen: list[str]) -> None:
    assert stems(" ".join(chosen)) == stems(" ".join(reversed(chosen)).upper())


def test_words_keep_numbers_and_apostrophes_whole() -> None:
    assert words("At 7:30 o'clock, 1,000 well-kept sacks.") == ["At", "7:30", "o'clock", "1,000", "well-kept", "sacks"]
    assert content_words("The mill is at the river") == ["mill", "river"]


def test_kinds_of_words() -> None:
    assert all(map(is_number, ["5", "7:30", "twelve", "Twenty-one"]))
    assert not any(map(is_number, ["often", "mill", "someone"]))
    assert is_content("7")
    assert not is_content("the")
    assert not is_content("x")


def test_stems_tell_farm_from_far() -> None:
    assert stem("farms") == stem("farm") == "farm"
    assert stem("red") == "red"  # too short to lose an ending
    assert stems("the name of a farm") == {"farm"}
    assert stems("a farm and a mill", without=frozenset({"mill"})) == {"farm"}
