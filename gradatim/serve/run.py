"""Put a server together from a workspace, and run it until it is told to stop."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gradatim.errors import InputError
from gradatim.model.base import load_base
from gradatim.serve.access import Doorkeeper
from gradatim.serve.api import Pages, create_app
from gradatim.serve.base import Engine
from gradatim.serve.choosing import Chooser
from gradatim.serve.decoding import Room
from gradatim.serve.engine import Capacity, LocalEngine
from gradatim.serve.feedback import Listener
from gradatim.serve.recorder import Recorder
from gradatim.serve.rollouts import Rollouts
from gradatim.serve.service import Service
from gradatim.serve.settings import Limits, Settings, Upstream, read_settings
from gradatim.serve.telemetry import Metrics
from gradatim.serve.tokens import Tokens, read_secret
from gradatim.serve.upstream import UpstreamEngine
from gradatim.workspace import Workspace

UPSTREAM_VARIABLE = "GRADATIM_UPSTREAM_KEY"
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than a minute, after which the usual balancers close theirs.

Where the server were the first to close, a request could meet a connection that is just being closed."""

FEWER_KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "128"}
"""Where a processor multiplies bf16, oneDNN compiles attention for each length that a reply comes to and keeps 1,024
kernels, half a mebibyte each, and torch's bridge to it 1,024 of its own; a turn of the batch needs about ten.

Both are read when they are first used."""

DRAIN_SECONDS = 30
"""How long the replies under way have when the server is told to stop."""


def capacity(limits: Limits) -> Capacity:
    """What the settings allow a local engine."""
    room = Room(
        limits.rows,
        limits.context_tokens,
        limits.reply_tokens,
        limits.usual_reply_tokens,
        limits.cache_bytes,
        limits.known_prompts,
    )
    return Capacity(room, limits.queue, limits.warm_releases)


def local_engine(workspace: Workspace, limits: Limits) -> LocalEngine:
    """The bank of the workspace's base model, loaded when the server starts."""
    for name, most in FEWER_KERNELS.items():
        os.environ.setdefault(name, most)
    return LocalEngine(lambda: load_base(workspace.base["source"]), workspace.adapters, capacity(limits))


def upstream_engine(upstream: Upstream, workspace: Workspace, limits: Limits, key: str) -> UpstreamEngine:
    """The server that `[upstream]` names."""
    urls = tuple(url.rstrip("/").removesuffix("/v1") for url in upstream.urls)
    return UpstreamEngine(
        urls, upstream.model, workspace.adapters, key=key, queue=limits.queue, warm=limits.warm_releases
    )


def chosen_engine(workspace: Workspace, settings: Settings, environment: Mapping[str, str]) -> Engine:
    """The engine that the settings ask for."""
    if settings.upstream is None:
        return local_engine(workspace, settings.limits)
    key = environment.get(UPSTREAM_VARIABLE, "")
    return upstream_engine(settings.upstream, workspace, settings.limits, key)


def build(
    workspace: Workspace,
    environment: Mapping[str, str],
    *,
    login: bool = True,
    settings: Settings | None = None,
    engine: Engine | None = None,
    chooser: Chooser | None = None,
    pages: Pages | None = None,
) -> tuple[Any, Doorkeeper]:
    """The app, and who watches its door. Raises GradatimError for settings, keys or a secret that can't be used."""
    settings = settings or read_settings(workspace.folder)
    secret = read_secret(workspace.folder)
    tokens = Tokens(secret, settings.token_hours)
    doorkeeper = Doorkeeper(workspace.records.keys, environment, login=login)
    rollouts = Rollouts(workspace, settings)
    service = Service(
        workspace,
        engine or chosen_engine(workspace, settings, environment),
        chooser or rollouts,
        Recorder(workspace.records.traffic),
        Metrics(),
        secret,
    )
    app = create_app(service, settings, doorkeeper, Listener(workspace, settings, tokens), tokens, rollouts, pages)
    return app, doorkeeper


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one. Raises InputError when the address can't be had.

    Its protocol is named, because asyncio sends small packets at once only on sockets that say they are TCP; without
    that, each response waits forty milliseconds for the client's acknowledgement of its headers.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(2048)
    except OSError as error:
        made.close()
        raise InputError(f"Can't listen on {host} port {port}: {error.strerror or error}") from None
    return made


def run(app: Any, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, then let the replies under way end."""
    import uvicorn

    with listening, _told_to_stop():
        uvicorn.Server(config_of(app, DRAIN_SECONDS)).run(sockets=[listening])


def config_of(app: Any, drain_seconds: int) -> Any:
    """How uvicorn is to serve an app."""
    import uvicorn

    from gradatim.serve.protocol import BoundedHeads

    return uvicorn.Config(
        app,
        http=BoundedHeads,
        loop="asyncio",  # uvloop was slower beside the threads that write and compute
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=drain_seconds,
    )


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """Being told to stop is no failure: uvicorn raises the signal again when it is done, and here nobody minds."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
