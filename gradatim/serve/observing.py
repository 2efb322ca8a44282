"""Around everything: an id for each request, how long it took, and one line in the log when it is over."""

from __future__ import annotations

import time
import uuid
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradatim.serve.telemetry import LOGGER, Metrics

REQUEST_HEADER = "x-request-id"


class Observed:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, identity, status, complete = time.perf_counter(), f"req_{uuid.uuid4().hex}", 499, False
        scope.setdefault("state", {})

        async def named(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_HEADER] = identity
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self._app(scope, receive, named)
        except Exception:
            if not complete:
                raise
            # Starlette raises a bug again after answering and logging it; the connection is good for another request.
        finally:
            self._tell(scope, identity, status, time.perf_counter() - began)

    def _tell(self, scope: Scope, identity: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        said: dict[str, Any] = scope["state"].get("said", {})
        data = {"request": identity, "route": route, "method": method, "status": status, "seconds": round(seconds, 6)}
        LOGGER.info("request", extra={"data": data | said})


_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())
