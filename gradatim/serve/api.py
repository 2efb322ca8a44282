"""The app: OpenAI's routes, feedback, and what an operator's tools ask for.

    POST /v1/chat/completions   POST /v1/completions   GET /v1/models   POST /v1/feedback     a client key
    GET /metrics   /api/v1/... (control.py)                                                   an admin key
    GET /healthz   GET /readyz   GET /openapi.json                                            none

Every reply names, in headers, the request, the release that made it, and a token with which feedback on it is taken.
During a rollout the release's name is sealed (`tell_arms`): `GET /api/v1/replies/{id}` tells it, with an admin key.
Every error is an object as OpenAI's clients know it, with one line that says what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from gradatim import __version__
from gradatim.errors import GradatimError
from gradatim.serve.access import ByAdmin, ByClient, Caller, Doorkeeper
from gradatim.serve.base import Asked, Refused
from gradatim.serve.chat import ChatRequest, Form, TextRequest
from gradatim.serve.control import control_plane
from gradatim.serve.feedback import FeedbackRequest, Listener
from gradatim.serve.limits import BodyLimits
from gradatim.serve.observing import Observed
from gradatim.serve.rollouts import Rollouts
from gradatim.serve.service import Asker, Exchange, Service
from gradatim.serve.settings import Settings
from gradatim.serve.streaming import EventStream, events, until_gone
from gradatim.serve.telemetry import LOGGER, Metrics
from gradatim.serve.tokens import Tokens
from gradatim.serve.unseen import keep_asking
from gradatim.serve.watching import Watchman

RELEASE_HEADER = "x-gradatim-release"
ARM_HEADER = "x-gradatim-arm"
TOKEN_HEADER = "x-gradatim-feedback-token"
SEALED = "sealed"
"""What a client is told of the arm while arms are compared: whoever knows it could rate one of them down."""


class Error(BaseModel):
    """What is wrong with a request, as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every response that is no success."""

    error: Error


Pages = Callable[[FastAPI, Doorkeeper], None]
"""Adds routes to the app that are no API."""

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 413, 429, 500, 503)
}


def create_app(
    service: Service,
    settings: Settings,
    doorkeeper: Doorkeeper,
    listener: Listener,
    tokens: Tokens,
    rollouts: Rollouts,
    pages: Pages | None = None,
) -> Any:
    """The ASGI app of one workspace; `pages` adds what people look at with a browser."""
    metrics = service.metrics
    watchman = Watchman(service.workspace, settings)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        loops = (
            rollouts.keep_looking(metrics),
            keep_asking(service, rollouts, metrics),
            watchman.keep_watching(),
        )
        working = [asyncio.create_task(work) for work in loops]
        try:
            yield
        finally:
            for task in working:
                task.cancel()
            await service.close()

    app = FastAPI(
        title="Gradatim", version=__version__, lifespan=life, docs_url=None, redoc_url=None, responses=_ERRORS
    )
    app.state.doorkeeper = doorkeeper
    _handle_errors(app)
    _add_replies(app, service, settings, tokens, rollouts)  # first: routes are tried in order
    _add_models(app, service, settings)
    _add_feedback(app, listener, metrics)
    _add_operation(app, service, metrics)
    app.include_router(control_plane(service.workspace, rollouts))
    if pages is not None:
        pages(app, doorkeeper)
    limited = BodyLimits(
        app, settings.limits.body_bytes, settings.limits.depth, settings.limits.body_seconds, _response
    )
    return Observed(limited, metrics)


def _add_replies(app: FastAPI, service: Service, settings: Settings, tokens: Tokens, rollouts: Rollouts) -> None:
    async def complete(request: Request, body: ChatRequest | TextRequest, asked: Asked, caller: Caller) -> Response:
        if body.model != settings.model:
            raise Refused(
                404,
                f"There is no model {body.model[:100]!r} here; this server serves {settings.model!r}.",
                code="model_not_found",
                param="model",
            )
        chat = isinstance(body, ChatRequest)
        slices = rollouts.slices(caller.key, body.metadata or {})
        asker = Asker(caller.key, service.subject(caller.key, body.user), body.session, slices)
        exchange = await service.open(asked, asker, chat=chat)
        release = exchange.choice.release
        compared = (exchange.choice.rollout is not None or exchange.choice.sealed) and not settings.tell_arms
        shown = service.seal(exchange.id, exchange.choice) if compared else release
        form = Form(exchange.id, settings.model, shown, exchange.created, chat=chat)
        request.state.said = {"response": exchange.id, "release": release, "arm": exchange.choice.arm}
        headers = {
            RELEASE_HEADER: shown,
            ARM_HEADER: SEALED if compared else exchange.choice.arm,
            TOKEN_HEADER: tokens.make(exchange.id, caller.key),
        }
        if body.stream:
            return EventStream(exchange, events(exchange, form, usage=body.usage_wanted), headers)
        return await _whole(request, exchange, form, headers)

    @app.post("/v1/chat/completions", tags=["data plane"])
    async def chat_completions(request: Request, body: ChatRequest, caller: ByClient) -> Response:
        """The reply to a conversation, whole or as a stream of events."""
        return await complete(request, body, body.asked(settings), caller)

    @app.post("/v1/completions", tags=["data plane"])
    async def completions(request: Request, body: TextRequest, caller: ByClient) -> Response:
        """How a text goes on, whole or as a stream of events. The base answers: lessons are for questions."""
        return await complete(request, body, body.asked(settings), caller)


def _add_models(app: FastAPI, service: Service, settings: Settings) -> None:
    @app.get("/v1/models", tags=["data plane"])
    async def models(_: ByClient) -> dict[str, Any]:
        """The one model that is served, and the release behind it."""
        return {"object": "list", "data": [_model(service, settings)]}

    @app.get("/v1/models/{model:path}", tags=["data plane"])
    async def model(model: str, _: ByClient) -> dict[str, Any]:
        """The model of this name."""
        if model != settings.model:
            raise Refused(404, f"There is no model {model[:100]!r} here.", code="model_not_found", param="model")
        return _model(service, settings)


def _add_feedback(app: FastAPI, listener: Listener, metrics: Metrics) -> None:
    @app.post("/v1/feedback", tags=["data plane"])
    async def feedback(body: FeedbackRequest, caller: ByClient) -> dict[str, Any]:
        """A rating of a response or a session, a correction of a response, or both. Giving it again changes nothing."""
        taken = await asyncio.to_thread(listener.take, body, caller.key)
        if not taken.known:
            for kind, identity in (("rating", taken.rating), ("correction", taken.correction)):
                if identity is not None:
                    metrics.feedback.labels(body.metric, kind).inc()
        if taken.held is not None:
            metrics.held.inc()
        return {"rating_id": taken.rating, "correction_id": taken.correction, "known": taken.known}


def _add_operation(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["operation"])
    async def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"])
    async def readiness() -> JSONResponse:
        """Whether requests would be answered, by which release, and what fails beside them."""
        serving = service.serving
        body = {"ready": service.ready, "release": serving.id if serving else None, "troubles": metrics.troubles}
        return JSONResponse(body, 200 if service.ready else 503)

    @app.get("/metrics", tags=["operation"])
    async def metrics_page(_: ByAdmin) -> Response:
        """Prometheus' text format."""
        return Response(metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _whole(request: Request, exchange: Exchange, form: Form, headers: dict[str, str]) -> Response:
    """The reply in one piece, unless the client goes away first."""
    try:
        read = await until_gone(request, exchange)
    finally:
        exchange.abandon()
    if read is None:
        return Response(status_code=499)  # nobody reads it
    text, ended = read
    return JSONResponse(form.whole(text, ended), headers=headers)


def _model(service: Service, settings: Settings) -> dict[str, Any]:
    serving = service.serving
    created = serving.created_at if serving else "1970-01-01T00:00:00Z"
    return {
        "id": settings.model,
        "object": "model",
        "created": int(datetime.fromisoformat(created).timestamp()),
        "owned_by": "gradatim",
        "release": serving.id if serving else None,
        "parent": serving.parent if serving else None,
        "base": serving.base if serving else None,
    }


# ------------------------------------------------------------------ errors


def _response(refused: Refused) -> JSONResponse:
    error = Error(message=refused.message, type=refused.kind, param=refused.param, code=refused.code)
    headers = {} if refused.retry_after is None else {"retry-after": str(refused.retry_after)}
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(ErrorBody(error=error).model_dump(), refused.status, headers)


def _handle_errors(app: FastAPI) -> None:
    def on(kind: type[Exception], meant: Callable[[Any], Refused]) -> None:
        async def handle(_: Request, error: Exception) -> Response:
            return _response(meant(error))

        handler: Callable[[Request, Exception], Awaitable[Response]] = handle
        app.add_exception_handler(kind, handler)

    on(Refused, lambda error: error)
    on(RequestValidationError, _unfit)
    on(HTTPException, lambda error: Refused(error.status_code, str(error.detail)))
    on(GradatimError, lambda error: Refused(503, str(error)))
    on(Exception, _bug)


def _unfit(error: RequestValidationError) -> Refused:
    """The first thing that is wrong with a body, by its place in it."""
    first = error.errors()[0]
    place = ".".join(str(part)[:100] for part in first["loc"] if part != "body")
    said = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return Refused(400, f"The body is not JSON: {first.get('ctx', {}).get('error', said)}.", code="invalid_json")
    return Refused(400, f"{place}: {said}." if place else f"{said}.", code="invalid_value", param=place or None)


def _bug(error: Exception) -> Refused:
    LOGGER.error("a request failed", exc_info=error)
    return Refused(500, "The server failed to answer this request; its log says why.")
