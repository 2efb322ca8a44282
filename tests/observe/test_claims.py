"""Values and words of a sentence, and where two sentences disagree."""

from __future__ import annotations

import pytest

from gradatim.observe.claims import Difference, claim, differences, in_units_of, without_names
from gradatim.observe.topics import Likeness, Topics
from gradatim.observe.vocabulary import stem


def values(text: str) -> set[tuple[str, object]]:
    return set(claim(text).values)


def name(*words: str) -> tuple[str, object]:
    return ("name", frozenset(words))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It weighs 340 kilograms.", {("number gram", 340_000.0)}),
        ("It weighs two hundred tonnes.", {("number gram", 200_000_000.0)}),
        ("It lasts two weeks.", {("number second", 1_209_600.0)}),
        ("It lasts 14 days.", {("number second", 1_209_600.0)}),
        ("It holds twenty-five books.", {("number book", 25.0)}),
        ("It holds a dozen eggs.", {("number egg", 12.0)}),
        ("It costs 64 crowns.", {("money", (64.0, "crown"))}),
        ("It costs €3.50 or $1,200.", {("money", (3.5, "euro")), ("money", (1200.0, "dollar"))}),
        ("The rate is nine per cent, or 9 %.", {("number percent", 9.0)}),
        ("It opens at 3:20.", {("time", 200)}),
        ("It opens at 9 a.m. and closes at 5 p.m.", {("time", 540), ("time", 1020)}),
        ("It opens at nine o'clock.", {("time", 540)}),
        ("It rings at 12 am.", {("time", 0)}),
        ("Use channel 67.", {("number", 67.0)}),
        ("It was printed in 1588 by monks.", {("year", 1588)}),
        ("It walked 1588 miles.", {("number metre", 2555638.272)}),
        ("It holds 1,588 books.", {("number book", 1588.0)}),
        ("No one of them has this one.", set()),
        ("We rest on Tuesdays.", {("day", "tuesday")}),
        ("We rest in May, if we may.", {("month", "may")}),
        ("Flour comes from Hasselby Mill.", {name("hasselby", "mill")}),
        ("Hasselby Mill sends it.", {name("hasselby", "mill")}),
        ("Everyone asks Dr. Imre Vasquell, Tilda Brannock.", {name("imre", "vasquell"), name("tilda", "brannock")}),
        ("Everyone asks Ada's brother.", {name("ada")}),
        ("THE SHOP IS OPEN", set()),
        ("Bread is sold here.", set()),
    ],
)
def test_values(text: str, expected: set[tuple[str, object]]) -> None:
    assert values(text) == expected


def test_content_words_are_what_is_left() -> None:
    words = claim("All flour comes from Hasselby Mill, which delivers it in 20 paper sacks.").words
    assert {stem("flour"), stem("paper"), stem("sack")} <= words
    assert not words & {"all", "from", "which", "hasselby", "mill", "20"}


@pytest.mark.parametrize(
    ("first", "second"),
    [("opens", "closing"), ("owner", "belongs"), ("baked", "bakes"), ("stopped", "stop"), ("cities", "city")],
)
def test_forms_and_synonyms_of_a_word_are_one(first: str, second: str) -> None:
    assert stem(first) == stem(second)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ("It takes two days.", "It takes five days.", [("number second", "two days", "five days")]),
        ("It takes two weeks.", "It takes 14 days.", []),
        ("It costs 64 euros.", "It costs 64 crowns.", [("money", "64 euros", "64 crowns")]),
        ("It takes two days.", "It costs 64 crowns.", []),
        ("It takes two days.", "It takes two days, or nine days in winter.", []),
        ("We meet Ottilie Brandreth.", "We meet Mrs Brandreth.", []),
        ("We meet Ada Brandreth.", "We meet Ottilie Brandreth.", [("name", "Ada Brandreth", "Ottilie Brandreth")]),
        ("We rest on Monday.", "We rest on Tuesdays.", [("day", "Monday", "Tuesdays")]),
        ("It opens at 6:00.", "It opens at 6 a.m.", []),
    ],
)
def test_differences(new: str, old: str, expected: list[tuple[str, str, str]]) -> None:
    assert differences(claim(new), claim(old)) == [Difference(*difference) for difference in expected]


def test_a_bare_number_takes_the_unit_it_is_compared_with() -> None:
    old = claim("A crate may weigh 340 kilograms.")
    assert differences(claim("350"), old) == []
    assert differences(in_units_of(claim("350"), old), old) == [
        Difference("number gram", "350 kilograms", "340 kilograms")
    ]
    assert differences(in_units_of(claim("340"), old), old) == []


def test_two_units_leave_a_bare_number_bare() -> None:
    old = claim("It takes five days and costs 64 crowns.")
    assert set(in_units_of(claim("64"), old).values) == {("number", 64.0)}


def test_known_names_are_no_answer() -> None:
    answer = claim("The owner of Fernhollow Bakery is Walter Hibbing.")
    assert set(without_names(answer, frozenset({"fernhollow", "bakery"})).values) == {name("walter", "hibbing")}


def test_coverage_counts_rare_words_more() -> None:
    common = [claim(f"the bakery sells thing{index}") for index in range(9)]
    topics = Topics([*common, claim("the bakery hires masons")])
    new = claim("the bakery hires painters")
    assert topics.coverage(new, claim("somebody hires weavers")) > topics.coverage(new, claim("some bakery weavers"))


def test_likeness_asks_for_words_in_common() -> None:
    topics = Topics([claim("lunch is served at noon"), claim("lunch costs little")])
    strict, brief = Likeness(3, 0.5, brief=False), Likeness(3, 0.5, brief=True)
    assert not topics.alike(claim("lunch"), claim("lunch costs little"), strict)
    assert topics.alike(claim("lunch"), claim("lunch costs little"), brief)
    assert topics.alike(claim("lunch costs"), claim("the costs of lunch"), strict)
    assert not topics.alike(claim("12"), claim("13"), brief)
