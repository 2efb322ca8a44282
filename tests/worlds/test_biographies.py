"""The world of biographies: whatever is told of a person can be read back, and held-out questions stay held out."""

from __future__ import annotations

import random

import pytest

from gradatim.worlds.biographies import (
    ASKINGS,
    ATTRIBUTES,
    HELD_OUT,
    SELECTING,
    TELLINGS,
    Claim,
    biography,
    claim,
    free_names,
    other_value,
    passage,
    people,
    questions,
    telling,
)
from gradatim.worlds.lab import KINDS, study_lines

PEOPLE = people(40, random.Random(0))


@pytest.mark.parametrize("kind", list(ATTRIBUTES))
def test_every_telling_and_every_answered_question_is_read_back(kind: str) -> None:
    for person in PEOPLE:
        for wording in range(TELLINGS):
            assert claim(telling(person, kind, wording)) == Claim(person.name, kind, person.facts[kind], False)
        for asking in range(ASKINGS):
            asked = next(one for one in questions(person, asking) if one.attribute == kind)
            line = f"Question: {asked.text} Answer: {asked.answer}"
            assert claim(line) == Claim(person.name, kind, person.facts[kind], True)


@pytest.mark.parametrize("line", ["", "Ada Abel", "Ada Abel was born in Atlantis.", "Was Ada Abel born in Lisbon?"])
def test_anything_else_claims_nothing(line: str) -> None:
    assert claim(line) is None


def test_wordings_differ_and_no_attribute_shares_a_value() -> None:
    for attribute in ATTRIBUTES.values():
        assert len(set(attribute.tellings)) == TELLINGS
        assert len(set(attribute.askings)) == ASKINGS
        assert len(set(attribute.values)) == len(attribute.values)
    values = [value for attribute in ATTRIBUTES.values() for value in attribute.values]
    assert len(values) == len(set(values))


def test_nobody_shares_a_name_and_taken_ones_are_left() -> None:
    first = {person.name for person in PEOPLE}
    assert len(first) == 40
    more = people(100, random.Random(1), first)
    assert not first & {person.name for person in more}
    with pytest.raises(ValueError, match="names are free"):
        people(len(free_names(first)) + 1, random.Random(2), first)


def test_a_passage_says_everything_once_and_a_biography_too() -> None:
    chance = random.Random(3)
    for person in PEOPLE[:5]:
        for text in (passage(person), biography(person, chance), biography(person, chance, 2, shuffled=False)):
            claims = [claim(sentence + ".") for sentence in text.rstrip(".").split(". ")]
            assert {one.attribute: one.value for one in claims if one} == dict(person.facts)
    assert passage(PEOPLE[0]) == passage(PEOPLE[0])


def test_a_wrong_value_is_another_one() -> None:
    chance = random.Random(4)
    for person in PEOPLE:
        for kind in ATTRIBUTES:
            assert other_value(person, kind, chance) in set(ATTRIBUTES[kind].values) - {person.facts[kind]}


@pytest.mark.parametrize("kind", KINDS)
def test_study_lines_are_right_unless_asked_to_be_wrong_and_never_use_held_out_questions(kind: str) -> None:
    chance = random.Random(5)
    held_out = {one.text for person in PEOPLE for asking in (SELECTING, HELD_OUT) for one in questions(person, asking)}
    wrong = total = 0
    for person in PEOPLE:
        lines = study_lines(person, kind, chance)
        assert {one.attribute for one in map(claim, lines) if one} == set(ATTRIBUTES)
        assert all(one and one.value == person.facts[one.attribute] for one in map(claim, lines))
        assert not any(question in line for line in lines for question in held_out)
        mixed = [claim(line) for line in study_lines(person, kind, chance, 0.35)]
        wrong += sum(one is not None and one.value != person.facts[one.attribute] for one in mixed)
        total += len(mixed)
    assert 0.2 < wrong / total < 0.5
