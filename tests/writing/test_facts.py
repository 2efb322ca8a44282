"""Facts: numbers and names before other words, whole, and never a word of the title."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn import functional as F

from gradatim.model.bank import AdapterBank
from gradatim.types import Passage
from gradatim.writing.facts import _TOKEN, _choose, _word_surprisal, find_facts, standing
from gradatim.writing.words import is_content, leans


def chosen(text: str, nats: dict[str, float] | None = None, most: int = 3, title: str = "Title") -> list[str]:
    """Facts of a text whose words surprise as told, 1 nat else."""
    scored: list[tuple[re.Match[str], float]] = [
        (match, (nats or {}).get(match.group(), 1.0)) for match in _TOKEN.finditer(text)
    ]
    return [fact.text for fact in _choose(Passage("d:0", "d", text, title), scored, most)]


def test_numbers_then_names_then_surprise() -> None:
    text = "The grey mill was sold to Tamsin Vole for 40 dollars."
    assert chosen(text, {"grey": 5.0}) == ["40 dollars", "Tamsin Vole", "grey mill"]
    assert chosen(text, most=1) == ["40 dollars"]


def test_a_fact_ends_where_the_words_stop_touching() -> None:
    assert chosen("It was sold to Tamsin, Vole and others.", most=2) == ["Vole", "Tamsin"]
    assert chosen("The price is 40, dollars only.", most=1) == ["40"]


def test_a_first_word_is_no_name_and_the_title_no_fact() -> None:
    assert chosen("Sacks are weighed.", {"weighed": 2.0}, most=1) == ["weighed"]
    assert "Orrin" not in chosen("The mill at Orrin opens early.", title="The mill of Orrin")
    assert chosen("It is so.") == []


def test_a_fact_knows_its_surroundings() -> None:
    text = "The ferry leaves At 7:30 sharp, daily."
    (fact,) = _choose(Passage("d:0", "d", text, ""), [(match, 0.0) for match in _TOKEN.finditer(text)], 1)
    assert (fact.passage, fact.text, fact.before, fact.following) == ("d:0", "7:30 sharp", "at", ", daily.")


def test_surprisal_is_the_models_own(bank: AdapterBank) -> None:
    context, text = "Mill rules. ", "Vole weighs 40 sacks."
    scored = _word_surprisal(bank, context, text)
    assert [match.group() for match, _ in scored] == ["Vole", "weighs", "40", "sacks"]
    opening, ids = bank.base.chat.raw(context), bank.base.chat.raw(text)
    with torch.no_grad():
        logits = bank.base.model(torch.tensor([opening + ids])).logits[0, len(opening) - 1 : -1]
    nats = F.cross_entropy(logits, torch.tensor(ids), reduction="none")
    spans = bank.base.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    of_words = [any(map(str.isalnum, text[start:stop])) for start, stop in spans]  # spaces and full stops are of none
    assert sum(value for _, value in scored) == pytest.approx(float(nats[torch.tensor(of_words)].sum()), rel=1e-4)


def test_facts_of_passages(bank: AdapterBank, passages: list[Passage]) -> None:
    found = find_facts(bank, passages, most=2)
    assert all(1 <= len(facts) <= 2 for facts in found)
    for passage, facts in zip(passages, found, strict=True):
        for fact in facts:
            assert fact.passage == passage.id
            assert fact.text in passage.text
            assert passage.text.endswith(fact.following)
            assert any(is_content(match.group()) for match in _TOKEN.finditer(fact.text))
    assert found == find_facts(bank, passages, most=2)


def test_a_pronoun_leans_on_the_sentence_before(passages: list[Passage]) -> None:
    assert leans("Its door is shut.")
    assert not leans("Items are weighed.")
    assert standing(passages, 1) == f"{passages[0].text} {passages[1].text}"
    assert standing(passages, 0) == passages[0].text
    assert standing(passages[1:], 0) == passages[1].text
    other = Passage("e:0", "e", passages[0].text, "Another")
    assert standing([other, passages[1]], 1) == passages[1].text
