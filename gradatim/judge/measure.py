"""Put a candidate, as it would be served, to everything the judge knows; the live model stands beside it.

What the base answers itself is taken from its kept replies instead of being decoded again: it is the same model on the
same prompt. Drift is measured on unrelated prompts only, over the base's own replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from scipy.stats import t as student
from torch.nn import functional as F

from gradatim.judge.gates import Asked, Measured
from gradatim.judge.skills import SkillQuestion, is_right
from gradatim.judge.statistics import Interval
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair, pack
from gradatim.model.scoring import label_logits
from gradatim.recall import Minds
from gradatim.types import Question
from gradatim.writing.words import contains

DRIFT_PROMPTS = 48
MAX_SKILL_REPLY = 32


def right(questions: Sequence[Question], replies: Sequence[str]) -> list[bool]:
    """Which replies contain an accepted answer."""
    return [contains(reply, question.accepted) for question, reply in zip(questions, replies, strict=True)]


def measure(
    candidate: Minds,
    *,
    exam: Sequence[Question],
    exam_before: Sequence[bool],
    lessons: Sequence[Question],
    lessons_before: Sequence[bool],
    suite: Sequence[SkillQuestion],
    of_base: Sequence[str],
    controls: Mapping[str, float],
    confidence: float,
    advance: Callable[[int], None] | None = None,
) -> Measured:
    """`of_base` holds the base's reply to each question of the suite."""

    def ask(questions: Sequence[Question]) -> list[bool]:
        return right(questions, candidate.ask([q.text for q in questions], advance))

    asked = [question.question for question in suite]
    replies = candidate.reply(asked, of_base=of_base, max_tokens=MAX_SKILL_REPLY, advance=advance)
    skills = Asked(
        [is_right(q, reply) for q, reply in zip(suite, of_base, strict=True)],
        [is_right(q, reply.text) for q, reply in zip(suite, replies, strict=True)],
    )
    step = max(1, len(suite) // DRIFT_PROMPTS)
    by = [reply.adapter for reply in replies]
    kl = drift(candidate.bank, by[::step], asked[::step], list(of_base)[::step], confidence)
    return Measured(
        Asked(list(exam_before), ask(exam)), skills, Asked(list(lessons_before), ask(lessons)), kl, controls
    )


@torch.inference_mode()
def drift(
    bank: AdapterBank, names: Sequence[str | None], prompts: Sequence[str], replies: Sequence[str], confidence: float
) -> Interval:
    """Mean KL(base ‖ candidate) per token over the base's replies, with a t interval over prompts, in nats.

    `names[i]` is the adapter that answers prompt i, None the base itself.
    """
    values = [0.0] * len(prompts)
    for index, (name, prompt, reply) in enumerate(zip(names, prompts, replies, strict=True)):
        if name is None or not reply:
            continue
        chat = bank.base.chat
        packed = pack([Pair(tuple(chat.prompt(prompt)), tuple(chat.target(prompt, reply)))])
        of_base = label_logits(bank, packed, [None]).float().log_softmax(-1)
        mine = label_logits(bank, packed, [name]).float().log_softmax(-1)
        values[index] = float(F.kl_div(mine, of_base, reduction="batchmean", log_target=True))
    if len(values) < 2:
        return (values or [0.0])[0], 0.0, float("inf")
    tensor = torch.tensor(values)
    mean, error = float(tensor.mean()), float(tensor.std()) / len(values) ** 0.5
    reach = float(student.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return mean, max(0.0, mean - reach), mean + reach
