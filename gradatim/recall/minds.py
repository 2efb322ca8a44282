"""Answer with whatever minds are live: the gates say whose question it is, its adapter tells, the asker checks.

An adapter that knows what it studied (`Studied`) recites several of its texts. Those it doesn't tell word for word are
dropped, and the rest weighed by two voices: how likely the adapter finds the text after the question, and how likely
the asker finds the question after the text (`writing/asker.py`). The asker knows how people ask and nothing of the
lesson, so there is nothing it could have learnt by heart. Then all evidence is added up in nats: the gate's log-odds
that the question is about the lesson, the text's log-probability, and what the text adds to the question's. Where that
is too little, the question goes on to the next older adapter whose gate claims it, and at last to the bare base.

An adapter without such a list answers greedily, as does the base; all of these are decoded in one batch.

Limits: a recitation costs a few rows of decoding instead of one, and a pass of the asker over each text that is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from gradatim.model.bank import AdapterBank
from gradatim.model.beams import Beams, searching
from gradatim.model.routing import Claim, Gate, Router
from gradatim.model.sampling import Decoding, sample
from gradatim.pauses import to_the_end
from gradatim.recall.studied import Studied
from gradatim.writing.asker import GENERAL, Asker, View

MAX_ANSWER = 80
LEAST_EVIDENCE = 3.0  # nats
LEAST_CLAIM = -2.0  # log-odds of the gate; the rest of the evidence can make up for so much
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

    @property
    def adapters(self) -> frozenset[str]:
        """Every adapter of the bank that these minds can't answer without, the askers among them."""
        askers = {known.asker for known in self.studied.values() if known.asker is not None}
        return frozenset(self.router.gates) | askers

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
        told, names = to_the_end(self.recalling(questions, advance))
        asked = [i for i, name in enumerate(names) if i not in told and (name is not None or of_base is None)]
        prompts = [self.bank.base.chat.prompt(questions[i]) for i in asked]
        made = sample(self.bank, prompts, [names[i] for i in asked], Decoding(max_tokens=max_tokens), advance)
        for i, reply in zip(asked, made, strict=True):
            told[i] = Reply(self.bank.base.chat.text(reply), names[i])
        return [told[i] if i in told else Reply((of_base or ())[i], None) for i in range(len(questions))]

    def recalling(
        self, questions: Sequence[str], advance: Callable[[int], None] | None = None
    ) -> Generator[None, None, tuple[dict[int, Reply], list[str | None]]]:
        """What is told of each question by a lesson that recites, and who else is to be asked, None for the base.

        Pauses after each pass through the model, for others to use the bank.
        """
        claims = [
            sorted(
                (claim for claim in own if claim.logit > 0 or claim.adapter in self.studied),
                key=lambda claim: claim.logit <= 0,  # the sure ones first, and of each kind the newest
            )
            for own in self.router.claims(questions, LEAST_CLAIM)
        ]
        told: dict[int, Reply] = {}
        while rest := {i: own[0] for i, own in enumerate(claims) if own and own[0].adapter in self.studied}:
            recited = yield from self._recite({i: questions[i] for i in rest}, rest)
            told |= recited
            if advance is not None:
                advance(len(recited))
            claims = [[] if i in told else own[1:] if i in rest else own for i, own in enumerate(claims)]
        return told, [own[0].adapter if own else None for own in claims]

    def _recite(
        self, questions: Mapping[int, str], claims: Mapping[int, Claim]
    ) -> Generator[None, None, dict[int, Reply]]:
        """For each question what the adapter that claims it remembers of it, where there is evidence enough."""
        chat = self.bank.base.chat
        prompts = [chat.prompt(text) for text in questions.values()]
        adapters = [claims[i].adapter for i in questions]
        how = replace(SEARCH, max_tokens=max(self.studied[name].longest for name in adapters))
        found = yield from searching(self.bank, prompts, adapters, how)
        genuine = [
            (i, text, likely, subject)
            for i, recited in zip(questions, found, strict=True)
            for text, likely in {chat.text([*beam.tokens]): beam.log_probability for beam in reversed(recited)}.items()
            if (subject := self.studied[claims[i].adapter].subject(text)) is not None
        ]
        askers = [Asker(self.bank, self.studied[claims[i].adapter].asker) for i, *_ in genuine]
        fits = fit(askers, [(questions[i], text, subject) for i, text, _, subject in genuine])
        best: dict[int, tuple[float, str]] = {}
        for (i, text, likely, _), gained in zip(genuine, fits, strict=True):
            if claims[i].logit + likely + gained >= LEAST_EVIDENCE:
                best[i] = max(best.get(i, (-math.inf, "")), (likely + gained, text))
        return {i: Reply(text, claims[i].adapter) for i, (_, text) in best.items()}


def fit(askers: Sequence[Asker], asked: Sequence[tuple[str, str, str]]) -> list[float]:
    """log p(question | text, its subject) − log p(question | `GENERAL`) in nats, each by its asker.

    `asked` holds a question, a text and the text's subject each. So a question that names the subject fits better than
    one that could be anybody's, and the lessons of two subjects can be compared.
    """
    fits = [0.0] * len(asked)
    for asker in dict.fromkeys(askers):
        chosen = [i for i, one in enumerate(askers) if one == asker]
        questions = list(dict.fromkeys(asked[i][0] for i in chosen))
        values = asker.log_likelihood(
            [(View(subject, text), question) for question, text, subject in (asked[i] for i in chosen)]
            + [(View(GENERAL), question) for question in questions]
        )
        without = dict(zip(questions, values[len(chosen) :], strict=True))
        for i, value in zip(chosen, values, strict=False):
            fits[i] = value - without[asked[i][0]]
    return fits
