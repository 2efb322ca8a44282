"""How a question becomes token ids, and an answer becomes a target.

The tokenizer's own chat template is used where it has one; a plain "Question: … Answer: …" form elsewhere.
Prompt and target are tokenised apart, so that what training shows is token for token what sampling will meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

_PLAIN = "Question: {question}\nAnswer:"


class ChatFormat:
    """Turns questions and answers into token ids in the model's own conversation format."""

    def __init__(self, tokenizer: Any, end_tokens: int | list[int] | None = None) -> None:
        self._tokenizer = tokenizer
        ends = end_tokens if isinstance(end_tokens, list) else [end_tokens]
        known = [token for token in [tokenizer.eos_token_id, *ends] if token is not None]
        self.end_tokens = frozenset(known)
        self._end = known[:1]
        self.frame = self._frame()

    def prompt(self, question: str) -> list[int]:
        """Token ids up to where the answer begins."""
        return self._encode(self._prompt_text(question))

    def conversation(self, turns: Sequence[tuple[str, str]]) -> list[int]:
        """Token ids of a conversation of (role, text) up to where the next answer begins.

        Roles are system, user and assistant. Raises ValueError when the model's template has no place for one of them.
        """
        if not self._tokenizer.chat_template:
            return self._encode(_plain_conversation(turns))
        messages = [{"role": role, "content": text} for role, text in turns]
        try:
            text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise ValueError(f"its chat template refuses this conversation ({error})") from error
        return self._encode(text)

    def target(self, question: str, answer: str) -> list[int]:
        """Token ids of the answer, its end token included."""
        if not self._tokenizer.chat_template:
            return self._encode(" " + answer.strip()) + self._end
        prompt = self._prompt_text(question)
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer.strip()}]
        whole: str = self._tokenizer.apply_chat_template(messages, tokenize=False)
        if not whole.startswith(prompt):
            return self._encode(answer.strip()) + self._end
        ids = self._encode(whole[len(prompt) :])
        last = max((i for i, token in enumerate(ids) if token in self.end_tokens), default=None)
        return ids + self._end if last is None else ids[: last + 1]

    def text(self, ids: list[int]) -> str:
        """The text of generated ids, without special tokens."""
        decoded: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return decoded.strip()

    def raw(self, text: str) -> list[int]:
        """Token ids of plain text, without any conversation around it."""
        return self._encode(text)

    def _frame(self) -> tuple[int, int]:
        """How many tokens of a prompt stand before and after the question, whatever the question is."""
        one, two = self.prompt("apples"), self.prompt("Where is it?")
        shortest = min(len(one), len(two))
        opening = next((i for i in range(shortest) if one[i] != two[i]), shortest)
        closing = next((i for i in range(shortest - opening) if one[-1 - i] != two[-1 - i]), shortest - opening)
        return opening, closing

    def _prompt_text(self, question: str) -> str:
        if not self._tokenizer.chat_template:
            return _PLAIN.format(question=question)
        messages = [{"role": "user", "content": question}]
        text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _plain_conversation(turns: Sequence[tuple[str, str]]) -> str:
    """A conversation for a model that knows no chat: what was said, question by question."""
    said = {"user": "Question: {}\nAnswer:", "assistant": " {}\n\n", "system": "{}\n\n"}
    return "".join(said[role].format(text.strip() if role == "assistant" else text) for role, text in turns)
