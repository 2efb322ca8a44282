"""What a document is about, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradatim.observe.subject import name_subjects, subject_of
from gradatim.types import Passage


@pytest.mark.parametrize(
    ("title", "text", "subject"),
    [
        ("rowan", "The Rowan Tea House opens at six. It belongs to Ida Lund.", "Rowan Tea House"),
        ("TERMS OF ROWAN PRESS", "The office of Rowan Press is in Ely. Each licence is for one year.", "Rowan Press"),
        ("Staff handbook", "Rowan Press pays on Friday. At Rowan Press, Ida Lund pays.", "Rowan Press"),
        ("Guild of Bakers", "The Guild of Bakers meets here. Ida Lund, Ida Lund.", "Guild of Bakers"),
        ("Staff handbook", "We open at six. Ida Lund pays.", "Staff handbook"),  # once, and not in the title
        ("notes", "nothing is named here, and nobody", "notes"),
        ("", "", ""),
    ],
)
def test_subject(title: str, text: str, subject: str) -> None:
    assert subject_of(title, text) == subject


def test_each_document_keeps_its_places_under_its_own_subject() -> None:
    mill = Passage("a:0", "a", "The Orrin Mill opens at five.", "orrin > Hours > Summer")
    passages = (mill, replace(mill, text="It closes at six."), Passage("b:0", "b", "We row on Monday.", "Rowing"))
    assert [passage.context for passage in name_subjects(passages)] == [
        "Orrin Mill > Hours > Summer",
        "Orrin Mill > Hours > Summer",
        "Rowing",
    ]
    assert [passage.text for passage in name_subjects(passages)] == [passage.text for passage in passages]
