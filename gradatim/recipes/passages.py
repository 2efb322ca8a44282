"""SEAL on documents, with any instruction-tuned model: what to ask oneself, so that a passage is remembered.

    dialect = PassageDialect(bank.base.chat)
    outer = SelfEdits(bank, dialect, SETTINGS, replay=...)
    outer.round([task(chat, book, passage, questions) for ...], 0)

An edit is a list of prompts: questions, restatements, consequences. Each is studied with the passage
itself as the answer, word for word, so that nothing wrong can be studied and all that an edit decides is what will
call the passage to mind. That is how a step studies too (`propose/rewording.py`); the prompts there come from an
adapter trained on people's questions and from rules, here from the model's own search.

The passages of a document are studied together by one adapter: so a prompt is worth something only if it calls its
passage and no other one to mind, and one training rewards the edits of all of them.

Limits: an answer is the whole passage, never a part of it. A small model follows worked examples, not instructions, so
the kinds of edits are few-shot prompts in English.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradatim.learn.inner import InnerPlan
from gradatim.model.chat import ChatFormat
from gradatim.model.packing import Pair
from gradatim.recipes.seal import Edit, Settings

_CASE = "Title: {subject}. Text: {text}\nStudy:"
_BETWEEN = " | "

_SHOWN = (
    ("Northgate Pool", "The pool is heated to 28 degrees from May to September."),
    ("Garden Society", "Seeds may be exchanged at the table run by Mrs. Adeyemi."),
    ("Station Cafe", "Guests get a free refill with a blue cup."),
)

_WRITTEN: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "questions": (
        "Questions that each text answers:",
        (
            (
                "How warm is the water at Northgate Pool?",
                "In which months can people swim in warm water?",
                "What temperature does the pool have in July?",
                "Until when is the water of Northgate Pool kept warm?",
            ),
            (
                "Who is in charge of the table for swapping seeds?",
                "Where do I go to trade seeds at the Garden Society?",
                "What is done at Mrs. Adeyemi's table?",
                "Whom do gardeners see about exchanging seeds?",
            ),
            (
                "How can I get more coffee for nothing at Station Cafe?",
                "What do you need to have for a free refill?",
                "What colour is the special cup?",
                "Does a second drink at Station Cafe cost anything?",
            ),
        ),
    ),
    "rewrite": (
        "Each text again, in other words:",
        (
            (
                "Northgate Pool is warmed to 28 degrees between spring and autumn.",
                "From May until September swimmers find water of 28 degrees.",
                "For five months the water is kept at 28 degrees.",
            ),
            (
                "Mrs. Adeyemi looks after the table where seeds change hands.",
                "Anybody can trade seeds with others at Mrs. Adeyemi's table.",
                "There is a table for swapping seeds, and Mrs. Adeyemi runs it.",
            ),
            (
                "A blue cup entitles you to a second drink for nothing.",
                "Station Cafe fills a blue cup again without payment.",
                "Those who hold a blue cup pay only once.",
            ),
        ),
    ),
    "implications": (
        "What follows from each text:",
        (
            (
                "In June nobody freezes at Northgate Pool.",
                "In December the pool is not heated.",
                "Somebody pays for heating in summer.",
            ),
            (
                "A member with too many seeds should find Mrs. Adeyemi.",
                "Nobody has to buy every seed at the Garden Society.",
                "Mrs. Adeyemi knows who brought which seeds.",
            ),
            (
                "With a red cup the second coffee has to be paid for.",
                "Regular guests of Station Cafe will want a blue cup.",
                "Two coffees can cost as much as one.",
            ),
        ),
    ),
    "long": (
        "Many short questions about each text:",
        (
            (
                "Pool temperature?",
                "Heated from when?",
                "Heated until when?",
                "How warm?",
                "Warm in August?",
                "Which pool is warm?",
                "What is it like to swim there in summer?",
            ),
            (
                "Who runs the table?",
                "Where to swap seeds?",
                "What happens there?",
                "Which lady?",
                "Can I bring seeds?",
                "What is exchanged?",
                "Who helps with seeds?",
            ),
            (
                "Free refill?",
                "Which cup?",
                "What colour?",
                "Who gets more for nothing?",
                "Price of the second coffee?",
                "What must guests have?",
                "How to save money at the cafe?",
            ),
        ),
    ),
    "active": (
        "Ways to study each text:",
        (
            (
                "How warm does Northgate Pool get?",
                "Northgate Pool: heated water, 28 degrees, summer months.",
                "Remember: May to September, 28 degrees.",
                "Why would somebody choose Northgate Pool in May?",
            ),
            (
                "Who sees to the exchange of seeds?",
                "Garden Society: seeds, exchange, Mrs. Adeyemi.",
                "Remember: Mrs. Adeyemi has the table.",
                "What would a gardener with spare seeds do?",
            ),
            (
                "What earns a guest a free refill?",
                "Station Cafe: blue cup, free refill.",
                "Remember: the cup must be blue.",
                "Why do people bring their own cup to Station Cafe?",
            ),
        ),
    ),
}

KINDS = tuple(_WRITTEN)
FREE = "anything"
"""No heading and no worked examples: how a trained writer is asked."""

MOST_PROMPTS = 10

SETTINGS = Settings(
    kinds=KINDS,
    trained_kind=FREE,
    drafts=10,
    tried=5,
    seeds=1,
    finalists=2,
    final_seeds=1,
    temperature=0.7,
    top_p=0.9,
    max_tokens=90,
    inner=InnerPlan(rank=16, alpha=32.0, frozen=0.5, positions=600, step_positions=240, at_once=4, replays=2),
    writer_rate=5e-4,
    writer_epochs=4,
)
"""For a model of a hundred million parameters and documents of a dozen passages."""


@dataclass(frozen=True, slots=True)
class Told:
    """A passage, and what its document is about."""

    subject: str
    text: str


class PassageDialect:
    """Edits as lists of prompts, written after worked examples."""

    def __init__(self, chat: ChatFormat, learning_rate: float = 1e-3) -> None:
        self._chat, self._rate = chat, learning_rate
        breaks = [ids[0] for text in ("\n", "\n\n") if len(ids := chat.raw(text)) == 1]
        self.stop: tuple[int, ...] = tuple(dict.fromkeys(breaks))

    def prompt(self, passage: Told, kind: str) -> list[int]:
        """Raises ValueError for a kind without worked examples."""
        case = _CASE.format(subject=passage.subject, text=passage.text)
        if kind == FREE:
            return self._chat.raw(case)
        if kind not in _WRITTEN:
            raise ValueError(f"edits are {', '.join((FREE, *KINDS))}, not {kind}.")
        heading, written = _WRITTEN[kind]
        cases = [
            f"{_CASE.format(subject=subject, text=text)} {_BETWEEN.join(lines)}"
            for (subject, text), lines in zip(_SHOWN, written, strict=True)
        ]
        return self._chat.raw("\n\n".join([heading, *cases, case]))

    def read(self, passage: Told, text: str, kind: str) -> Edit | None:
        """What stands between bars is a prompt each; what stands there twice, or is the passage, counts no more."""
        line = (text.strip().splitlines() or [""])[0]
        asked = dict.fromkeys(" ".join(part.split()) for part in line.split(_BETWEEN.strip()))
        chosen = [part for part in asked if len(part.split()) > 1 and part != passage.text][:MOST_PROMPTS]
        if not chosen:
            return None
        return Edit(" " + _BETWEEN.join(chosen), kind, tuple(self.pair(part, passage) for part in chosen), self._rate)

    def plain(self, passage: Told) -> Edit:
        """The passage as an answer to nothing but its subject."""
        return Edit(passage.text, "passage", (self.pair(f"Tell me about {passage.subject}.", passage),), self._rate)

    def pair(self, asked: str, passage: Told) -> Pair:
        return Pair(tuple(self._chat.prompt(asked)), tuple(self._chat.target(asked, passage.text)))
