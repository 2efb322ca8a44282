"""Replies as they are made: OpenAI's server-sent events, and a watch on whether anybody still listens.

Each event is `data: {...}` and an empty line, the last `data: [DONE]`. An error after the first event can't be a
status any more: it is an event with an `error`, which OpenAI's clients raise, and no `[DONE]` follows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gradatim.errors import GradatimError
from gradatim.serve.base import Ended
from gradatim.serve.chat import Form
from gradatim.serve.service import Exchange
from gradatim.serve.telemetry import LOGGER

_DONE = b"data: [DONE]\n\n"


class EventStream(StreamingResponse):
    """A stream of events that gives its reply up when the client goes, also before the first event."""

    def __init__(self, exchange: Exchange, content: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        plain = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(content, headers=plain | headers, media_type="text/event-stream")
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._exchange.abandon()


async def events(exchange: Exchange, form: Form, *, usage: bool) -> AsyncIterator[bytes]:
    """The reply as events; with `usage`, what it took as the last but one."""
    if opening := form.opening():
        yield _event(opening)
    try:
        async for piece in exchange.pieces():
            if isinstance(piece, Ended):
                yield _event(form.closing(piece))
                if usage:
                    yield _event(form.usage(piece))
                yield _DONE
            else:
                yield _event(form.piece(piece))
    except Exception as error:  # noqa: BLE001 - the status is sent, so the client is told in the stream
        LOGGER.error("a stream failed", exc_info=error)
        line = str(error) if isinstance(error, GradatimError) else "The server failed to finish this reply."
        yield _event({"error": {"message": line, "type": "server_error", "param": None, "code": None}})


async def until_gone(request: Request, exchange: Exchange) -> tuple[str, Ended] | None:
    """The whole reply; None when the client went away before it was done."""
    reading = asyncio.ensure_future(_read(exchange))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((reading, gone), return_when=asyncio.FIRST_COMPLETED)
        return await reading if reading.done() else None
    finally:
        for task in (reading, gone):
            task.cancel()


async def _read(exchange: Exchange) -> tuple[str, Ended]:
    texts: list[str] = []
    async for piece in exchange.pieces():
        if isinstance(piece, Ended):
            return "".join(texts), piece
        texts.append(piece)
    raise AssertionError("a reply ends with Ended or an error")


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
