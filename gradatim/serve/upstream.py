"""Another server as the engine: anything that speaks OpenAI's API, and vLLM's way of loading adapters while it runs.

The base answers under the upstream's own model name. A release with an adapter is loaded on every replica by
`/v1/load_lora_adapter`, under a name that was never used before, and counts as loaded only when every replica lists it:
a reload under an old name may be answered from the old adapter's cache, a load may be acknowledged and lost, and a
balancer hides a replica that lacks it. What is not used any more is unloaded once its last reply has ended. A replica
that turns out to lack an adapter is not asked for it again; the release is then loaded anew.

Limits: an upstream knows nothing of gates and lists of studied texts, so a release with a gated adapter, or with
several, is refused: it would answer otherwise than it was judged. Replicas must see the adapter's folder under the path
that is given them. vLLM needs `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True.
Sources: https://docs.vllm.ai/en/latest/features/lora/ and, for the stale cache after a reload under the same name,
https://github.com/vllm-project/vllm/issues/42125.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp

from gradatim.errors import GradatimError
from gradatim.model.routing import GATE_FILE
from gradatim.serve.base import Asked, Ended, Finish, Refused
from gradatim.store.adapters import STUDIED_FILE, Adapters
from gradatim.types import Digest, Release

LOAD, UNLOAD, MODELS = "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/models"
_END_SECONDS = 1.0  # that the end of a body may take to come after its last event


class UpstreamError(GradatimError):
    """The upstream can't serve a release, or did not finish a reply."""


class Replica:
    """One server of the upstream, and the connections to it. It is made in the event loop, for it."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url = url
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=600.0)
        connections = aiohttp.TCPConnector(limit=0)  # the queue is the limit
        self._session = aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connections)

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> aiohttp.ClientResponse:
        """A response whose head has come. Raises what aiohttp raises, and TimeoutError."""
        return await self._session.request(method, f"{self.url}{path}", json=body, allow_redirects=False)

    async def close(self) -> None:
        await self._session.close()


@dataclass(slots=True)
class Loaded:
    """A release on the upstream: the model name to ask for, and where it is."""

    name: str
    replicas: list[Replica]
    adapter: bool
    users: Counter[Replica] = field(default_factory=Counter)  # replies under way, by replica


class UpstreamReply:
    """A reply that the upstream streams."""

    def __init__(self, response: aiohttp.ClientResponse, over: Callable[[], None]) -> None:
        self._response, self._over = response, over
        self._told = False  # everything, so that only the end of the body is missing
        self._closed, self._closing = False, None

    _closing: asyncio.Future[None] | None

    def cancel(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._over()
        if self._told and not self._response.content.is_eof():
            self._closing = asyncio.ensure_future(self._close())  # kept: tasks that nobody holds may vanish
        elif not self._told:
            self._response.close()

    async def _close(self) -> None:
        """Read the body to its end, so that the connection serves the next request."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._response.content.read()
        self._response.close()  # harmless after the end

    async def __aiter__(self) -> AsyncIterator[str | Ended]:
        finish: Finish | None = None
        usage: dict[str, Any] = {}
        try:
            async for chunk in self._chunks():
                usage = chunk.get("usage") or usage
                for choice in chunk.get("choices", []):
                    if text := choice.get("text") or (choice.get("delta") or {}).get("content"):
                        yield text
                    finish = choice.get("finish_reason") or finish
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise UpstreamError(f"The upstream broke off: {_said(error)}") from error
        finally:
            self.cancel()
        if finish is None:
            raise UpstreamError("The upstream broke off before the reply was done")
        ended: Finish = "length" if finish == "length" else "stop"
        yield Ended(ended, int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0)))

    async def _chunks(self) -> AsyncIterator[dict[str, Any]]:
        """The events of the stream; ValueError for one that is no chunk."""
        async for line in self._response.content:
            if not line.startswith(b"data:"):
                continue
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                self._told = True
                return
            chunk = json.loads(data)
            if not isinstance(chunk, dict) or "error" in chunk:
                raise ValueError(f"it says {_message(data.decode(errors='replace'))}")
            yield chunk


class UpstreamEngine:
    """Replicas of one upstream, each with all releases that are in use."""

    def __init__(
        self, urls: tuple[str, ...], model: str, adapters: Adapters, *, key: str = "", queue: int = 128, warm: int = 4
    ) -> None:
        """`urls`: one for each replica, without `/v1`. `model`: the base's name there."""
        self._urls, self._model, self._adapters = urls, model, adapters
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._queue, self._warm = queue, warm
        self._replicas: list[Replica] = []
        self._loaded: OrderedDict[Digest, Loaded] = OrderedDict()  # used last, last
        self._leaving: list[Loaded] = []  # to be unloaded when nobody reads from them
        self._changing = asyncio.Lock()
        self._unloading: asyncio.Future[None] | None = None

    async def start(self) -> None:
        self._replicas = [Replica(url, self._headers) for url in self._urls]
        for replica in self._replicas:
            if self._model not in await _listed(replica):
                raise UpstreamError(f"{replica.url} serves no model {self._model}: name one that it lists")

    async def close(self) -> None:
        self._leaving += self._loaded.values()
        self._loaded.clear()
        await self._unload_idle()
        await asyncio.gather(*(replica.close() for replica in self._replicas))
        self._replicas = []

    @property
    def healthy(self) -> bool:
        return bool(self._replicas)

    @property
    def open(self) -> int:
        """Replies under way."""
        return sum(one.users.total() for one in [*self._loaded.values(), *self._leaving])

    async def load(self, release: Release) -> None:
        if release.id in self._loaded:
            self._loaded.move_to_end(release.id)
            return
        async with self._changing:
            if release.id not in self._loaded:
                self._loaded[release.id] = await self._load(release)
            while len(self._loaded) > self._warm:
                self._leaving.append(self._loaded.popitem(last=False)[1])
        await self._unload_idle()

    async def begin(self, asked: Asked, release: Digest, *, unseen: bool = False) -> UpstreamReply:
        if self.open >= self._queue // (2 if unseen else 1):  # what the upstream is busy with, it alone knows
            said = f"{self.open} requests are under way, as many as are taken at a time: try again in a moment."
            raise Refused(429, said, code="queue_full", retry_after=1)
        loaded = self._loaded[release]
        while loaded.replicas:
            replica = min(loaded.replicas, key=lambda one: loaded.users[one])
            loaded.users[replica] += 1
            try:
                response = await self._send(replica, asked, loaded.name)
            except BaseException:
                self._ended(loaded, replica)
                raise
            if response is not None:
                return UpstreamReply(response, partial(self._ended, loaded, replica))
            self._ended(loaded, replica)
            loaded.replicas = [one for one in loaded.replicas if one is not replica]
        if self._loaded.get(release) is loaded:
            del self._loaded[release]  # the next request loads it anew
            self._leaving.append(loaded)
        raise Refused(503, "The upstream lost this release: try again.", retry_after=1)

    # ------------------------------------------------------------------ adapters

    async def _load(self, release: Release) -> Loaded:
        if not release.adapters:
            return Loaded(self._model, list(self._replicas), adapter=False)
        folder = self._adapters.path(release.adapters[-1])
        if len(release.adapters) > 1 or any((folder / name).is_file() for name in (GATE_FILE, STUDIED_FILE)):
            raise UpstreamError(
                f"Release {release.id[:12]} has gates, which an upstream can't heed: serve it from the local bank"
            )
        loaded = Loaded(f"gradatim-{release.id[:16]}-{secrets.token_hex(4)}", list(self._replicas), adapter=True)
        try:
            for replica in self._replicas:
                await _post(replica, LOAD, {"lora_name": loaded.name, "lora_path": str(folder)})
            for replica in self._replicas:
                if loaded.name not in await _listed(replica):
                    raise UpstreamError(f"{replica.url} took {loaded.name} and does not list it")
        except BaseException:
            self._leaving.append(loaded)
            await self._unload_idle()
            raise
        return loaded

    async def _unload_idle(self) -> None:
        """Unload what left and has no reply under way; where that fails, the name is never asked for again anyway."""
        idle = [one for one in self._leaving if not one.users.total()]
        self._leaving = [one for one in self._leaving if one.users.total()]
        for one in idle:
            for replica in self._replicas if one.adapter else ():
                try:
                    await _post(replica, UNLOAD, {"lora_name": one.name})
                except UpstreamError:
                    continue

    def _ended(self, loaded: Loaded, replica: Replica) -> None:
        loaded.users[replica] -= 1
        if any(one is loaded for one in self._leaving) and not loaded.users.total():
            self._unloading = asyncio.ensure_future(self._unload_idle())

    # ------------------------------------------------------------------ requests

    async def _send(self, replica: Replica, asked: Asked, name: str) -> aiohttp.ClientResponse | None:
        """The response under way; None where the replica does not know the model. Raises `Refused`."""
        path, body = _request(asked, name)
        try:
            response = await replica.ask("POST", path, body)
            if response.status == 200:
                return response
            text = await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Refused(502, f"The upstream can't be reached: {_said(error)}", code="upstream_error") from error
        if response.status == 404:
            return None
        if response.status == 429:
            raise Refused(429, "The upstream is busy: try again.", code="upstream_busy", retry_after=1)
        if 400 <= response.status < 500 and response.status not in (401, 403):
            raise Refused(400, f"The upstream refused: {_message(text)}", code="upstream_refused")
        raise Refused(502, f"The upstream failed with status {response.status}.", code="upstream_error")


def _request(asked: Asked, name: str) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"model": name, "temperature": asked.temperature, "top_p": asked.top_p, "stream": True}
    body |= {"stream_options": {"include_usage": True}, "stop": list(asked.stop) or None, "seed": asked.seed}
    body["max_tokens"] = asked.max_tokens
    body = {key: value for key, value in body.items() if value is not None}
    if isinstance(asked.prompt, str):
        return "/v1/completions", body | {"prompt": asked.prompt}
    messages = [{"role": message.role, "content": message.content} for message in asked.prompt]
    return "/v1/chat/completions", body | {"messages": messages}


async def _post(replica: Replica, path: str, body: dict[str, str]) -> None:
    try:
        done = await replica.ask("POST", path, body)
        text = await done.text(errors="replace")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UpstreamError(f"{replica.url}{path} can't be reached: {_said(error)}") from error
    if done.status != 200:
        raise UpstreamError(f"{replica.url}{path} says {done.status}: {_message(text)}")


async def _listed(replica: Replica) -> set[str]:
    """The names of the models that a replica serves."""
    try:
        done = await replica.ask("GET", MODELS)
        done.raise_for_status()
        return {str(model["id"]) for model in json.loads(await done.text())["data"]}
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise UpstreamError(f"{replica.url} lists no models: {_said(error)}") from error


def _message(text: str) -> str:
    """What an error body says, on one line."""
    try:
        body = json.loads(text)
        error = body.get("error", body)
        said = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        said = text
    return " ".join(str(said).split())[:300]


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
