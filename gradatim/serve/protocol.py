"""HTTP as uvicorn speaks it with httptools, but with a most for what comes before a body.

Nobody's key has been looked at by then, and httptools takes headers for as long as they come: a client that never ends
them would fill the memory. Beyond `MOST_HEAD` bytes, give or take what arrives at once, the answer is 431; after
`HEAD_SECONDS` it is 408.
"""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 64 * 1024
HEAD_SECONDS = 30.0


class BoundedHeads(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head: int | None = None  # bytes of it, but those that came with its first; None outside of one
        self._began = False
        self._waiting: TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        self._began = False
        super().data_received(data)
        if self._head is None or self._began or self.transport.is_closing():
            return
        self._head += len(data)
        if self._head > MOST_HEAD:
            self._refuse(b"431 Request Header Fields Too Large", b"The headers are too long.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_more_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head, self._began = 0, True
        self._no_more_waiting()
        late = b"408 Request Timeout", b"The headers did not come in time."
        self._waiting = self.loop.call_later(HEAD_SECONDS, self._refuse, *late)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = None
        self._no_more_waiting()
        super().on_headers_complete()

    def _no_more_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _refuse(self, status: bytes, why: bytes) -> None:
        self._no_more_waiting()
        head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d" % len(why)
        self.transport.write(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, head, why))
        self.transport.close()
