"""The control plane, asked from inside the process: the same routes, checks and answers as over the network.

A page is made of these answers alone, and every order that a form becomes is one of these requests, so a browser can
neither see nor do what the API doesn't offer.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message

from gradatim.serve.access import INSIDE, Caller

PREFIX = "/api/v1"


class Unanswered(Exception):
    """The control plane said no: its status, and its line that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class ControlPlane:
    """Asks the routes under /api/v1 of an app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def get(self, path: str, caller: Caller) -> Any:
        """The answer to GET of a path, query included. Raises Unanswered."""
        return _read(*await self._ask("GET", path, b"", caller))

    async def post(self, path: str, body: dict[str, Any], caller: Caller) -> Any:
        """The answer to POST of a body. Raises Unanswered."""
        return _read(*await self._ask("POST", path, json.dumps(body).encode(), caller))

    async def file(self, path: str, caller: Caller) -> bytes:
        """What GET of a path answers that is a file. Raises Unanswered."""
        status, said = await self._ask("GET", path, b"", caller)
        return said if status == 200 else _read(status, said)

    async def _ask(self, method: str, path: str, body: bytes, caller: Caller) -> tuple[int, bytes]:
        place, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": PREFIX + place,
            "raw_path": quote(PREFIX + place).encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"content-type", b"application/json")],
            "client": None,
            "server": None,
            "state": {},
            INSIDE: caller,
        }
        status, parts = 500, []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return status, b"".join(parts)


def _read(status: int, body: bytes) -> Any:
    """An answer in JSON. Raises Unanswered for one that is an error."""
    said = json.loads(body)
    if status != 200:
        raise Unanswered(status, str(said["error"]["message"]))
    return said
