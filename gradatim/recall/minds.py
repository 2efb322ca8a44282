"""Answer with whatever minds are live: the gates say whose question it is, its adapter tells, the base checks.

An adapter that knows what it studied (`Studied`) recites several of its texts. Those it doesn't tell word for word are
dropped, and the rest weighed by two voices: how likely the adapter finds the text after the question, and how likely
the frozen base finds the question after the text (query likelihood, Ponte and Croft 1998), which it was never trained
for and so can't have learnt by heart. Then all evidence is added up in nats: the gate's log-odds that the question is
about the lesson, the text's log-probability, and what the text adds to the question's. Where that is too little, the
question goes on to the next older adapter whose gate claims it, and at last to the bare base.

An adapter without such a list answers greedily, as does the base; all of these are decoded in one batch.

Limits: a recitation costs a few rows of decoding instead of one, and a pass of the base over each text that is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gradatim.model.bank import AdapterBank
from gradatim.model.beams import Beams, beams
from gradatim.model.packing import Pair
from gradatim.model.routing import Claim, Gate, Router
from gradatim.model.sampling import Decoding, sample
from gradatim.model.scoring import score
from gradatim.recall.studied import Studied
from gradatim.writing import fewshot

MAX_ANSWER = 80
LEAST_EVIDENCE = 5.0  # nats
NO_LESSON = "Title: General knowledge."
SEARCH = Beams()


@dataclass(frozen=True, slots=True)
class Reply:
    """What was said, and by which adapter; None is the bare base."""

    text: str
    adapter: str | None


class Minds:
    """The base, the adapters that are live on it, their gates (oldest first) and what each of them studied."""

    def __init__(
        self, bank: AdapterBank, gates: Mapping[str, Gate | None], studied: Mapping[str, Studied] | None = None
    ) -> None:
        self.bank = bank
        self.router = Router(bank, gates)
        self.studied = dict(studied or {})

    def ask(self, questions: Sequence[str], advance: Callable[[int], None] | None = None) -> list[str]:
        """The text of a greedy reply to each question."""
        return [reply.text for reply in self.reply(questions, advance=advance)]

    def reply(
        self,
        questions: Sequence[str],
        *,
        of_base: Sequence[str] | None = None,
        max_tokens: int = MAX_ANSWER,
        advance: Callable[[int], None] | None = None,
    ) -> list[Reply]:
        """A reply to each question. `of_base`, where given, holds the bare base's replies: used, not decoded again."""
        claims = self.router.claims(questions)
        told: dict[int, Reply] = {}
        while rest := {i: own[0] for i, own in enumerate(claims) if own and own[0].adapter in self.studied}:
            recited = self._recite({i: questions[i] for i in rest}, rest)
            told |= recited
            if advance is not None:
                advance(len(recited))
            claims = [[] if i in told else own[1:] if i in rest else own for i, own in enumerate(claims)]
        names = [own[0].adapter if own else None for own in claims]
        asked = [i for i, name in enumerate(names) if i not in told and (name is not None or of_base is None)]
        prompts = [self.bank.base.chat.prompt(questions[i]) for i in asked]
        made = sample(self.bank, prompts, [names[i] for i in asked], Decoding(max_tokens=max_tokens), advance)
        for i, reply in zip(asked, made, strict=True):
            told[i] = Reply(self.bank.base.chat.text(reply), names[i])
        return [told[i] if i in told else Reply((of_base or ())[i], None) for i in range(len(questions))]

    def _recite(self, questions: Mapping[int, str], claims: Mapping[int, Claim]) -> dict[int, Reply]:
        """For each question what the adapter that claims it remembers of it, where there is evidence enough."""
        chat = self.bank.base.chat
        prompts = [chat.prompt(text) for text in questions.values()]
        adapters = [claims[i].adapter for i in questions]
        how = replace(SEARCH, max_tokens=max(self.studied[name].longest for name in adapters))
        found = beams(self.bank, prompts, adapters, how)
        genuine = [
            (i, text, likely, subject)
            for i, recited in zip(questions, found, strict=True)
            for text, likely in {chat.text([*beam.tokens]): beam.log_probability for beam in reversed(recited)}.items()
            if (subject := self.studied[claims[i].adapter].subject(text)) is not None
        ]
        fits = fit(self.bank, [(questions[i], text, subject) for i, text, _, subject in genuine])
        best: dict[int, tuple[float, str]] = {}
        for (i, text, likely, _), gained in zip(genuine, fits, strict=True):
            if claims[i].logit + likely + gained >= LEAST_EVIDENCE:
                best[i] = max(best.get(i, (-math.inf, "")), (likely + gained, text))
        return {i: Reply(text, claims[i].adapter) for i, (_, text) in best.items()}


def fit(bank: AdapterBank, asked: Sequence[tuple[str, str, str]]) -> list[float]:
    """log p(question | text, its subject) − log p(question | `NO_LESSON`) by the bare base, in nats.

    `asked` holds a question, a text and the text's subject each. So a question that names the subject fits better than
    one that could be anybody's, and the lessons of two subjects can be compared.
    """

    def pair(question: str, shown: str) -> Pair:
        prompt = bank.base.chat.raw(f"{fewshot.ASKED}{shown}\nQuestion:")
        return Pair(tuple(prompt), tuple(bank.base.chat.raw(" " + question)))

    alone = list(dict.fromkeys(question for question, _, _ in asked))
    with_text = [pair(question, f"Title: {subject}. Text: {text}") for question, text, subject in asked]
    values = score(bank, [*with_text, *(pair(question, NO_LESSON) for question in alone)], None).tolist()
    without = dict(zip(alone, values[len(asked) :], strict=True))
    return [value - without[question] for value, (question, _, _) in zip(values, asked, strict=False)]
