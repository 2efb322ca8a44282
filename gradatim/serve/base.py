"""What an engine is: it is given a request and a release, and hands out the reply piece by piece.

An engine knows releases, prompts and tokens; nothing of HTTP, keys or tables. A reply is begun with `begin`, which
returns once the request is accepted, so that a refusal can still be a status code, and is then read to its end or
cancelled. Whoever begins a reply must do one of the two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from gradatim.types import Digest, Release

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as an engine takes it: a conversation, or a bare text to go on with."""

    prompt: tuple[Message, ...] | str
    question: str | None = None  # what lessons may answer; None: nothing that they were learnt for
    max_tokens: int | None = None  # None: as many as the engine allows
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None  # None: another one for each request
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing that an engine says of a reply."""

    finish: Finish
    prompt_tokens: int
    completion_tokens: int


class Reply(Protocol):
    """A reply under way: texts, and `Ended` last."""

    def __aiter__(self) -> AsyncIterator[str | Ended]: ...

    def cancel(self) -> None:
        """Nobody wants the rest. Harmless after the end."""


class Engine(Protocol):
    """Answers with releases of one base."""

    async def start(self) -> None:
        """Get ready; raises GradatimError when that can't be."""

    async def close(self) -> None:
        """Give everything back."""

    @property
    def healthy(self) -> bool:
        """Whether it can answer at all."""

    async def load(self, release: Release) -> None:
        """Make a release answerable; at once where it is. Raises GradatimError, and nothing changed, when it can't."""

    async def begin(self, asked: Asked, release: Digest, *, unseen: bool = False) -> Reply:
        """Accept a request for a release that was loaded. Raises `Refused`.

        One that is `unseen` no user waits for: it keeps none waiting, and takes no place in the queue.
        """


class Refused(Exception):
    """A request that is not answered, as OpenAI's clients know it: status, type, code, and a line that says why."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, " ".join(message.split()), code, param
        self.retry_after = retry_after  # seconds

    @property
    def kind(self) -> str:
        """OpenAI's `type` of the error."""
        return {
            401: "authentication_error",
            403: "permission_error",
            404: "not_found_error",
            429: "rate_limit_error",
        }.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
