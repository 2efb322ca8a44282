"""Rewordings stay with their source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradatim.model.bank import AdapterBank
from gradatim.types import Passage
from gradatim.writing import fewshot
from gradatim.writing.restatements import faithful, write_implications, write_restatements, write_thesaurus

SOURCE = "The mill at Orrin opens at 5 in the morning, except on Sundays."


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("At 5 in the morning the mill in Orrin opens.", True),
        ("In the morning, Orrin has an open mill.", True),
        ("The mill at Orrin opens at 6 in the morning.", False),  # another number
        ("The mill at Harrow opens in the morning.", False),  # another name
        (SOURCE, False),  # a copy
        (SOURCE.upper(), False),
        ("Mill opens.", False),  # too short
        ("A quick brown fox jumps over the mill.", False),  # about something else
        ("", False),
    ],
)
def test_faithful(text: str, kept: bool) -> None:
    assert faithful(text, SOURCE, "Mill rules") is kept


@given(st.permutations("mill Orrin opens morning except".split()))
def test_any_order_of_the_sources_words_is_faithful(order: list[str]) -> None:
    assert faithful(" ".join(order), SOURCE, "")


@given(st.lists(st.sampled_from("mill opens 5 6 Orrin Harrow morning".split()), max_size=8))
def test_no_number_or_name_from_elsewhere_is_faithful(chosen: list[str]) -> None:
    text = " ".join(["then", *chosen])
    assert not (faithful(text, SOURCE, "") and {"6", "Harrow"} & set(chosen))


def test_what_is_not_faithful_or_said_twice_is_dropped(
    bank: AdapterBank, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["In the morning the mill opens", "the mill opens in the MORNING", "In the morning the mill opens."]

    def scripted(bank: AdapterBank, prompts: list[str], **_: object) -> list[str]:
        assert all(passages[0].text in prompt for prompt in prompts)
        return [*lines, "The mill opens at noon with 6 men"]

    monkeypatch.setattr(fewshot, "complete", scripted)
    for write in (write_restatements, write_implications):
        said = write(bank, passages[:1], each=4, seed=0)
        assert said == [("d:0", f"{line}.") for line in lines[:2]]


def test_a_thesaurus_of_common_words(
    bank: AdapterBank, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"opens": " starts, opens up, BEGINS!", "yearly": "annual, once in a year, annual", "mill": "works"}

    def scripted(bank: AdapterBank, prompts: list[str], **_: object) -> list[str]:
        return [said.get(prompt.rpartition("word: ")[2].removesuffix(" ->"), "") for prompt in prompts]

    monkeypatch.setattr(fewshot, "complete", scripted)
    assert write_thesaurus(bank, passages, seed=0) == {"mill": ["works"], "opens": ["starts"], "yearly": ["annual"]}


def test_a_tiny_models_rewordings_are_faithful_or_none(bank: AdapterBank, passages: list[Passage]) -> None:
    text = {passage.id: passage.text for passage in passages}
    pairs = write_restatements(bank, passages, each=2, seed=0) + write_implications(bank, passages, each=2, seed=0)
    assert all(faithful(said, f"{passages[0].text} {text[home]}", "Mill rules > Hours") for home, said in pairs)
    found = write_thesaurus(bank, passages, seed=0)
    assert found == write_thesaurus(bank, passages, seed=0)
    assert all(word.islower() and others for word, others in found.items())
