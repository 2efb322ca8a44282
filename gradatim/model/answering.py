"""Answer questions with whatever minds are live: route, then decode all in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradatim.model.bank import AdapterBank
from gradatim.model.routing import Router
from gradatim.model.sampling import Decoding, sample

MAX_ANSWER = 80


def answer(
    bank: AdapterBank,
    router: Router,
    questions: Sequence[str],
    *,
    of_base: Sequence[str] | None = None,
    max_tokens: int = MAX_ANSWER,
    advance: Callable[[int], None] | None = None,
) -> list[str]:
    """A greedy reply to each question. `of_base`, where given, holds the bare base's replies: used, not redone."""
    names = router.route(questions)
    asked = [i for i, name in enumerate(names) if name is not None or of_base is None]
    prompts = [bank.base.chat.prompt(questions[i]) for i in asked]
    made = sample(bank, prompts, [names[i] for i in asked], Decoding(max_tokens=max_tokens), advance)
    replies = list(of_base) if of_base is not None else [""] * len(questions)
    for i, reply in zip(asked, made, strict=True):
        replies[i] = bank.base.chat.text(reply)
    return replies
