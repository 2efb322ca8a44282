"""Material about a small place, as the model might have written it."""

from __future__ import annotations

import pytest

from gradatim.propose import Material
from gradatim.types import Passage, Question
from gradatim.writing.facts import Fact

PASSAGES = (
    Passage("d:0", "d", "The mill at Orrin opens at 5:30 in the morning.", "Mill rules > Hours"),
    Passage("d:1", "d", "It is run by Tamsin Vole.", "Mill rules > Hours"),
    Passage("d:2", "d", "Members pay a yearly fee of 40 dollars.", "Mill rules"),
)
FACTS = (
    (Fact("d:0", "5:30", "at", " in the morning."), Fact("d:0", "Orrin", "at", " opens at 5:30 in the morning.")),
    (Fact("d:1", "Tamsin Vole", "by", "."),),
    (),
)


@pytest.fixture
def material() -> Material:
    return Material(
        PASSAGES,
        FACTS,
        (Question("q", "When does the mill open?", ("5:30",), "d:0"),),
        (("d:1", "Tamsin Vole runs the mill."),),
        (("d:0", "The mill is shut at five."),),
        {"opens": ["starts"], "yearly": ["annual"], "run": ["led", "managed"]},
        (("d:2", "What do members pay?"),),
        (("d:0", "Early at the mill?"), ("d:2", "Remember: yearly, members.")),
    )
