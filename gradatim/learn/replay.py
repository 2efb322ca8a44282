"""Replay: unrelated prompts with the base's own answers, the cheapest guard against forgetting.

The prompts ship with the package and share no question with the judge's suite. The answers are the base's own,
greedy, so that replaying them asks the adapter for nothing but to stay where it was (arXiv 2509.04259: forgetting
follows the divergence from the base; on-policy data keeps it small).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources

from gradatim.model.bank import AdapterBank
from gradatim.model.sampling import Decoding, sample
from gradatim.types import StudyExample

MAX_REPLY = 24


def replay_prompts() -> list[str]:
    """All prompts, in file order."""
    lines = resources.files("gradatim.learn").joinpath("prompts.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["prompt"] for line in lines if line.strip()]


def base_replies(
    bank: AdapterBank, prompts: list[str], advance: Callable[[int], None] | None = None
) -> tuple[StudyExample, ...]:
    """Each prompt with what the bare base says to it, cut at `MAX_REPLY` tokens; empty replies are left out."""
    chat = bank.base.chat
    replies = sample(bank, [chat.prompt(p) for p in prompts], None, Decoding(max_tokens=MAX_REPLY), advance)
    texts = [chat.text(reply) for reply in replies]
    return tuple(
        StudyExample(prompt, text, "replay", None) for prompt, text in zip(prompts, texts, strict=True) if text
    )
