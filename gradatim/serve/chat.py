"""OpenAI's chat and text completions: what a request may hold, and what a reply looks like.

What would change the reply and can't be done here (tools, several choices, log-probabilities, penalties) is refused
with a line that names it, never ignored; so is a parameter that nobody knows. What changes nothing (`user`, `metadata`,
`store`, `service_tier`) is taken. The fields are those of OpenAI's API reference.

Lessons were learnt and judged on single questions, so a conversation of several turns, or one with a system message, is
the base's unless `lessons = "last"` is set.

Limits: text only; the parts of a message that come as a list are put together, and any that is no text is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gradatim.serve.base import Asked, Ended, Message, Refused
from gradatim.serve.settings import Settings

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": (),
    "web_search_options": (),
    "echo": (False,),
    "suffix": ("",),
    "moderation": (),
}
"""Parameters that would change the reply, and the values with which they don't."""


_HARMLESS = frozenset(
    "store service_tier safety_identifier prompt_cache_key prompt_cache_options prompt_cache_retention".split()
)

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Tokens = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: Text


class Turn(BaseModel):
    """A message of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[_Part], Field(min_length=1, max_length=1000)]
    name: Annotated[str, StringConstraints(max_length=200)] | None = None
    refusal: None = None

    @property
    def message(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class StreamOptions(BaseModel):
    """What a stream tells besides the reply."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _Completion(BaseModel):
    """What both kinds of request have."""

    model_config = ConfigDict(extra="allow")  # what is left over is looked at by `refuse_unsupported`

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    max_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)] | None = None
    stop: (
        Annotated[str, StringConstraints(min_length=1, max_length=1000)]
        | Annotated[
            list[Annotated[str, StringConstraints(min_length=1, max_length=1000)]], Field(min_length=1, max_length=4)
        ]
        | None
    ) = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, StringConstraints(max_length=1000)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
            Field(max_length=16),
        ]
        | None
    ) = None

    @property
    def session(self) -> str | None:
        """The conversation that the request belongs to, where it says so: `metadata.session_id`."""
        return (self.metadata or {}).get("session_id") or None

    @property
    def usage_wanted(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def refuse_unsupported(self) -> None:
        """Raises `Refused` for the first parameter that is unknown, or would change the reply."""
        for name, value in (self.model_extra or {}).items():
            if value is None or name in _HARMLESS:
                continue
            if name not in _NEUTRAL:
                raise Refused(400, f"Unknown parameter: {name[:100]!r}.", code="unknown_parameter", param=name[:100])
            if not any(value == neutral and type(value) is type(neutral) for neutral in _neutral(name)):
                raise Refused(
                    400,
                    f"Unsupported parameter: {name!r} can't be used here; leave it out.",
                    code="unsupported_parameter",
                    param=name,
                )
        if self.stream_options is not None and not self.stream:
            raise Refused(400, "stream_options needs stream = true.", param="stream_options")

    def _decoding(self, settings: Settings, most: int | None) -> dict[str, Any]:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        temperature = settings.temperature if self.temperature is None else self.temperature
        top_p = 1.0 if self.top_p is None else self.top_p
        return {"max_tokens": most, "temperature": temperature, "top_p": top_p, "seed": self.seed, "stop": stop}


class ChatRequest(_Completion):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=1000)]
    max_completion_tokens: Tokens | None = None

    def asked(self, settings: Settings) -> Asked:
        """Raises `Refused`."""
        self.refuse_unsupported()
        messages = tuple(turn.message for turn in self.messages)
        most = self.max_completion_tokens or self.max_tokens
        return Asked(messages, lesson_question(messages, settings), **self._decoding(settings, most))


class TextRequest(_Completion):
    """`POST /v1/completions`."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]

    def asked(self, settings: Settings) -> Asked:
        """Raises `Refused`."""
        self.refuse_unsupported()
        prompt = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        return Asked(prompt, **self._decoding(settings, self.max_tokens or 16))  # OpenAI's default


def lesson_question(messages: Sequence[Message], settings: Settings) -> str | None:
    """The question that lessons may answer: a conversation's only message, or, where set so, its last."""
    *before, last = messages
    if last.role != "user" or not last.content.strip() or (before and settings.lessons == "single"):
        return None
    return last.content


def question_of(asked: Asked) -> str:
    """What the reply is an answer to: the last thing that the user said."""
    if isinstance(asked.prompt, str):
        return asked.prompt
    return next((message.content for message in reversed(asked.prompt) if message.role == "user"), "")


class Form:
    """The replies to one request, as OpenAI's clients read them."""

    def __init__(self, identity: str, model: str, release: str, created: float, *, chat: bool) -> None:
        self._chat = chat
        self._head = {"id": identity, "created": math.floor(created), "model": model, "system_fingerprint": release}

    def whole(self, text: str, ended: Ended) -> dict[str, Any]:
        """A reply in one piece."""
        message = {"role": "assistant", "content": text, "refusal": None}
        said = {"message": message} if self._chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": ended.finish}
        kind = "chat.completion" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice], "usage": _usage(ended)}

    def opening(self) -> dict[str, Any] | None:
        """The first chunk of a stream, where there is one before the text."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}) if self._chat else None

    def piece(self, text: str) -> dict[str, Any]:
        return self._chunk({"delta": {"content": text}} if self._chat else {"text": text})

    def closing(self, ended: Ended) -> dict[str, Any]:
        """The last chunk with a choice."""
        return self._chunk({"delta": {}} if self._chat else {"text": ""}, ended.finish)

    def usage(self, ended: Ended) -> dict[str, Any]:
        """The chunk after the last, for those who asked for it."""
        return {**self._chunk({}), "choices": [], "usage": _usage(ended)}

    def _chunk(self, said: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice]}


def _usage(ended: Ended) -> dict[str, int]:
    return {
        "prompt_tokens": ended.prompt_tokens,
        "completion_tokens": ended.completion_tokens,
        "total_tokens": ended.prompt_tokens + ended.completion_tokens,
    }


def _neutral(name: str) -> tuple[object, ...]:
    values = _NEUTRAL[name]
    return (*values, *(float(value) for value in values if type(value) is int))
