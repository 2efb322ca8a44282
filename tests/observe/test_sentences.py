"""Where sentences end, and where they don't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradatim.observe.sentences import MAX_WORDS, split_sentences


@pytest.mark.parametrize(
    "sentence",
    [
        "Mr. Smith met Dr. Adler and Prof. Weil.",
        "It costs 3.5 euros, i.e. Less than four.",
        "We open at 9 a.m. Monday to Friday.",
        "The office closes at 5 p.m. CET in winter.",
        "See No. 5, Fig. 2 and pp. 10 to 12.",
        "J. R. Smith met George W. Bush.",
        "She works for the U.S. Congress.",
        "He joined Acme Inc. Canada as a clerk.",
        "The deadline is Jan. 5 at noon.",
        "Version 2.0.1 runs on example.com and node.js alike.",
        "Is it open? asked the child.",
        'They said "We are closed." and left.',
        "Wait ... for the bell.",
        "St. Mary stands on Main St. East.",
        "Dogs, e.g. Beagles, stay outside.",
    ],
)
def test_one_sentence_stays_one(sentence: str) -> None:
    assert split_sentences(sentence) == [sentence]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("We open at nine.", "We close at six."),
        ("We open at 9 a.m.", "Lunch is at noon."),
        ("She works at Acme Inc.", "The firm is old."),
        ("He lives in the U.S.", "He likes it."),
        ("The answer is no.", "We agree."),
        ("Bring pens, paper, etc.", "Everything else is there."),
        ("Is it open?", "Yes, it is."),
        ("What a day!", "2024 was a good year."),
        ('"We are closed."', "That is what they said."),
        ("It ended (at last.)", "We left."),
        ("This is plan B.", "The first one failed."),
        ("It was built in 1588.", "Nobody remembers it."),
        ("And so on...", "Well."),
        ("He sat.", "She stood."),
        ("Öffnungszeit ist neun.", "Übermorgen ist zu."),
        ("The road leads to Main St.", "The bus stops there."),
    ],
)
def test_two_sentences_are_parted(first: str, second: str) -> None:
    assert split_sentences(f"{first} {second}") == [first, second]


def test_full_stops_of_scripts_without_spaces() -> None:
    assert split_sentences("你好。今天天气好！我们走吧。") == ["你好。", "今天天气好！", "我们走吧。"]


def test_an_endless_sentence_is_cut_at_a_comma() -> None:
    clause = " ".join(["word"] * 29) + " end,"
    parts = split_sentences(" ".join([clause] * 5))
    assert [len(part.split()) for part in parts] == [60, 60, 30]
    assert all(part.endswith("end,") for part in parts)


@given(st.text(alphabet="ab AB.!?;, \"'()0 9", max_size=200))
def test_nothing_is_lost_but_white_space(text: str) -> None:
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


@given(st.lists(st.sampled_from(["word", "Word", "a,", "b;", "end.", "x"]), max_size=300))
def test_no_sentence_is_longer_than_the_limit(words: list[str]) -> None:
    assert all(1 <= len(sentence.split()) <= MAX_WORDS for sentence in split_sentences(" ".join(words)))
