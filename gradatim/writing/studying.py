"""What to ask oneself about a text, so that it is remembered: prompts to study, each answered by the text itself.

    Writer(bank, adapter).write([("Port Elms", "The harbour closes at nine.")], each=4, seed=0)

A base writes them after worked examples, of five kinds; an adapter that was trained to (`recipes/writer.py`) is asked
without any. The answer is always the whole text, so nothing wrong can be studied: a prompt is only ever a poor one.

Limits: the worked examples are English. A small base mixes questions with fragments of the text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gradatim.model.bank import AdapterBank
from gradatim.model.chat import ChatFormat
from gradatim.model.sampling import Decoding, sample
from gradatim.writing.words import stems

_CASE = "Title: {subject}. Text: {text}\nStudy:"
BETWEEN = " | "

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

MOST_PROMPTS = 32

MAX_TOKENS, TEMPERATURE, TOP_P = 90, 0.7, 0.9
MOST_TOKENS = 160
"""Of a list put together from several, about 17 prompts, and so of what a writer that was shown such lists writes."""
ELSEWHERE = 0.7
"""What a word of other texts costs; words of the text itself are worth up to log(texts + 1)."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes prompts with an adapter of the bank that was trained for it, or with the bare base."""

    bank: AdapterBank
    adapter: str | None = None

    def write(self, told: Sequence[tuple[str, str]], *, each: int, seed: int) -> list[list[str]]:
        """Different prompts for each (subject, text), from `each` lists; none where nothing could be read."""
        chat, kinds = self.bank.base.chat, (FREE,) if self.adapter else KINDS
        most = MOST_TOKENS if self.adapter else MAX_TOKENS
        how = Decoding(most, TEMPERATURE, TOP_P, seed, ends(chat), batch=96)
        found: list[dict[str, None]] = [{} for _ in told]
        for place, kind in enumerate(kinds):  # apart, for what stands before a text is run once for all of a kind
            jobs = [number for number in range(len(told)) for turn in range(each) if turn % len(kinds) == place]
            asked = [chat.raw(request(*told[number], kind)) for number in jobs]
            for number, reply in zip(jobs, sample(self.bank, asked, self.adapter, how), strict=True):
                found[number] |= dict.fromkeys(prompts_in(chat.text(reply), told[number][1]))
        return [[*prompts] for prompts in found]


def request(subject: str, text: str, kind: str) -> str:
    """What a model completes with prompts. Raises ValueError for a kind without worked examples."""
    case = _CASE.format(subject=subject, text=text)
    if kind == FREE:
        return case
    if kind not in _WRITTEN:
        raise ValueError(f"edits are {', '.join((FREE, *KINDS))}, not {kind}.")
    heading, written = _WRITTEN[kind]
    cases = [
        f"{_CASE.format(subject=about, text=told)} {joined(lines)}"
        for (about, told), lines in zip(_SHOWN, written, strict=True)
    ]
    return "\n\n".join([heading, *cases, case])


def joined(prompts: Sequence[str]) -> str:
    """Prompts as they are written down, in one line."""
    return BETWEEN.join(prompts)


def prompts_in(written: str, text: str) -> list[str]:
    """What stands between bars in the first line is a prompt each; copies, single words and the text itself are not."""
    line = (written.strip().splitlines() or [""])[0]
    parts = dict.fromkeys(" ".join(part.split()) for part in line.split(BETWEEN.strip()))
    return [part for part in parts if len(part.split()) > 1 and part != text][:MOST_PROMPTS]


def covering(prompts: Sequence[str], text: str, others: Sequence[str]) -> list[str]:
    """The prompts, each once: questions first, and first those that together mention most of what only `text` says.

    Questions are what will be asked. Next is always the prompt whose words are worth most: of n texts, a word of `text`
    that stands in d of them is worth log((n + 1) / d), a half of that where a prompt before has mentioned it, a third
    after two; one of `others` alone costs `ELSEWHERE`. Of equals the shorter comes first.
    """
    own, rest = _bag(text), [_bag(other) for other in others]
    holding = Counter(word for bag in (own, *rest) for word in bag)
    worth = {word: math.log((len(rest) + 2) / holding[word]) for word in own}
    mentioned = Counter[str]()
    bags = {prompt: _bag(prompt) for prompt in prompts}

    def gain(prompt: str) -> tuple[bool, float, int]:
        # fsum: the order of a set's words may not break ties
        new = math.fsum(worth[word] / (1 + mentioned[word]) for word in bags[prompt] if word in worth)
        strange = sum(word not in worth and word in holding for word in bags[prompt])
        return prompt.endswith("?"), new - ELSEWHERE * strange, -len(prompt)

    order, left = list[str](), list(bags)
    while left:
        order.append(max(left, key=gain))
        left.remove(order[-1])
        mentioned.update(bags[order[-1]])
    return order


@lru_cache(maxsize=4096)
def _bag(text: str) -> frozenset[str]:
    """Stems, so that "closes" is "close" too."""
    return frozenset(word.removesuffix("e") for word in stems(text))


def ends(chat: ChatFormat) -> tuple[int, ...]:
    """Tokens that end a list of prompts, besides the model's own end tokens."""
    breaks = [ids[0] for text in ("\n", "\n\n") if len(ids := chat.raw(text)) == 1]
    return tuple(dict.fromkeys(breaks))
