"""What no request gets past: bodies that are too large, too deep or too slow, before anything reads them.

The body is gathered here, up to the cap, and handed on whole; an honest Content-Length over the cap is refused before
a byte is read. Depth is counted over the bytes, outside of strings, so that no parser is asked to recurse.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradatim.serve.base import Refused

_STRING = re.compile(
    rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL
)  # one that is never closed too, so that this is linear
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _STEPS)


class BodyLimits:
    """ASGI middleware: at most `most_bytes` of body within `seconds`, and `most_depth` brackets open at once."""

    def __init__(
        self, app: ASGIApp, most_bytes: int, most_depth: int, seconds: float, refusal: Callable[[Refused], Any]
    ) -> None:
        self._app, self._bytes, self._depth, self._refusal = app, most_bytes, most_depth, refusal
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._gathered(scope, receive)
        except TimeoutError:
            slow = Refused(408, f"The body did not come within {self._seconds:g} seconds.", code="body_too_slow")
            await self._refusal(slow)(scope, receive, send)
            return
        except Refused as refused:
            await self._refusal(refused)(scope, receive, send)
            return
        await self._app(scope, _handing_on(body, receive), send)

    async def _gathered(self, scope: Scope, receive: Receive) -> bytes:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > self._bytes:
                raise self._too_large()
        body = b"".join(parts)
        if depth_of(body) > self._depth:
            raise Refused(400, f"The body is nested deeper than {self._depth}.", code="too_deep")
        return body

    def _too_large(self) -> Refused:
        return Refused(413, f"The body is larger than {self._bytes:,} bytes.", code="body_too_large")


def depth_of(body: bytes) -> int:
    """How many brackets of a JSON text are open at once, at most."""
    brackets = _STRING.sub(b"", body).translate(None, delete=_NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _handing_on(body: bytes, receive: Receive) -> Receive:
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
