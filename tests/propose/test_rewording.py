"""Prompts made by rule: grounded in their passage, the same for a seed, with a question word that fits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradatim.propose import Material
from gradatim.propose.base import Maker
from gradatim.propose.rewording import cloze, keywords, question_word, reword, turned
from gradatim.writing.facts import Fact
from gradatim.writing.words import content_words

MAKERS: tuple[Maker, ...] = (cloze, keywords, turned)


@pytest.mark.parametrize("maker", MAKERS)
def test_every_target_is_the_whole_passage(maker: Maker, material: Material) -> None:
    examples = maker(material, random.Random(0))
    assert examples
    for example in examples:
        assert example.passage is not None
        assert example.target == material.passage(example.passage).text
        assert example.prompt.strip()


@pytest.mark.parametrize("maker", MAKERS)
def test_a_seed_reproduces(maker: Maker, material: Material) -> None:
    assert maker(material, random.Random(4)) == maker(material, random.Random(4))
    assert maker(material, random.Random(4)) != maker(material, random.Random(5))


def test_how_many_of_each_kind(material: Material) -> None:
    chance = random.Random(0)
    assert len(cloze(material, chance, each=6)) == 6 * 3
    assert len(keywords(material, chance, each=16)) == 16 * 3
    assert len(turned(material, chance, each=12)) == 12 * 2  # only where there is a fact
    assert {example.kind for example in cloze(material, chance)} == {"cloze"}
    assert cloze(Material((), ()), chance) == []


def test_a_blank_hides_a_stretch_of_the_passage(material: Material) -> None:
    for example in cloze(material, random.Random(1)):
        before, _, after = example.prompt.partition("____")
        before = before.removeprefix("Fill in the blank: ").removeprefix("Complete: ")
        assert example.target.startswith(before)
        assert example.target.endswith(after)
        assert len(before) + len(after) < len(example.target)


def test_a_turned_question_does_not_hold_its_fact(material: Material) -> None:
    for example in turned(material, random.Random(2)):
        facts = next(f for p, f in zip(material.passages, material.facts, strict=True) if p.id == example.passage)
        assert any(fact.text not in example.prompt for fact in facts)
        assert example.prompt.endswith("?")


def test_keywords_come_from_the_passage_its_title_or_the_sentence_it_leans_on(material: Material) -> None:
    bare = Material(material.passages, ((), (), ()))
    allowed = {word for passage in material.passages[:2] for word in content_words(f"{passage.text} Mill rules")}
    openers = set(content_words("What about Tell me about What is said about What do you know about"))
    mine = [example for example in keywords(bare, random.Random(0)) if example.passage == "d:1"]
    assert all(set(content_words(example.prompt)) <= allowed | openers for example in mine)


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (Fact("p", "5:30", "at", " sharp."), {"What time", "When", "At what time"}),
        (Fact("p", "7 pm", "at", "."), {"What time", "When", "At what time"}),
        (Fact("p", "40 dollars", "of", "."), {"How much", "What does it cost:", "How much money"}),
        (Fact("p", "12", "costs", " crowns a day."), {"How much", "What does it cost:", "How much money"}),
        (Fact("p", "seven guests", "for", "."), {"How many guests", "How many", "What number of guests"}),
        (Fact("p", "40", "with", " sacks."), {"How many", "What number of"}),
        (Fact("p", "Orrin", "at", "."), {"Where", "In which place", "What place"}),
        (Fact("p", "Tamsin Vole", "by", "."), {"Who", "What is the name of", "Which person", "What is called"}),
        (Fact("p", "blue cup", "a", "."), {"What", "Which", "What kind of"}),
    ],
)
def test_the_question_word_fits_the_fact(fact: Fact, words: set[str]) -> None:
    assert {question_word(fact, random.Random(seed)) for seed in range(60)} == words


def test_rewording_takes_words_from_the_thesaurus_only() -> None:
    thesaurus = {"opens": ["starts", "begins"]}
    said = {reword("Mill Opens at 5, it opens", thesaurus, random.Random(seed), share=0.5) for seed in range(50)}
    others = ("Opens", "starts", "begins"), ("opens", "starts", "begins")
    assert said == {f"Mill {one} at 5, it {two}" for one in others[0] for two in others[1]}


@given(st.text(max_size=40), st.integers(0, 9))
def test_without_a_thesaurus_nothing_changes(prompt: str, seed: int) -> None:
    assert reword(prompt, {}, random.Random(seed)) == prompt
    assert reword(prompt, {"a": ["b"]}, random.Random(seed), share=0.0) == prompt
