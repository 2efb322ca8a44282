"""A small server that loads adapters as vLLM's documentation says, and fails as its users have reported.

It answers with what it read of the adapter when it was loaded, so that a test sees by which weights a reply was made.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

BASE = "fake/base"


def weights(folder: Path) -> str:
    """What a reply by this adapter says."""
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()[:12]


class FakeVllm:
    """One replica. Set the failures before they are wanted."""

    def __init__(self) -> None:
        self.adapters: dict[str, str] = {}
        self.cache: dict[str, str] = {}  # by name, never cleared: a reload under an old name is answered from here
        self.names: list[str] = []  # of every load, in order
        self.unloaded_under_way: list[str] = []
        self.open: list[str] = []
        self.crash_while_loading = False
        self.lose_silently = False
        self.break_off = False
        self.hold = asyncio.Event()
        self.hold.set()
        self.app = Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/load_lora_adapter", self.load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self.unload, methods=["POST"]),
                Route("/v1/chat/completions", self.complete, methods=["POST"]),
            ]
        )

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name} for name in (BASE, *self.adapters)]})

    async def load(self, request: Request) -> Response:
        body = await request.json()
        name, path = body["lora_name"], Path(body["lora_path"])
        self.names.append(name)
        if self.crash_while_loading:
            raise RuntimeError("the engine core died")
        if name in self.adapters:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        if not self.lose_silently:
            self.adapters[name] = self.cache.setdefault(name, weights(path))
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        if name not in self.adapters:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        if name in self.open:
            self.unloaded_under_way.append(name)
        del self.adapters[name]
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        name = body["model"]
        if name != BASE and name not in self.adapters:
            return _error(404, f"The model `{name}` does not exist.")
        if "forbidden" in body["messages"][-1]["content"]:
            return _error(400, "This\nis refused.")
        said = ["by", self.adapters.get(name, "base"), *body["messages"][-1]["content"].split()]
        return StreamingResponse(self._stream(name, said), media_type="text/event-stream")

    async def _stream(self, name: str, words: list[str]) -> AsyncIterator[bytes]:
        self.open.append(name)
        try:
            for word in words:
                yield _event({"choices": [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}]})
                await self.hold.wait()
            if self.break_off:
                return
            yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            yield _event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(words)}})
            yield b"data: [DONE]\n\n"
        finally:
            self.open.remove(name)


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"object": "chat.completion.chunk", **data}).encode() + b"\n\n"


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status)
