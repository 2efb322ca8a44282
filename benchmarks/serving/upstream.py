"""A stand-in for an inference server that answers at once: what a proxy before it takes is all that is left.

    python benchmarks/serving/upstream.py PORT

It speaks as much of OpenAI's API as the benchmark needs, whole and streamed, and says the same eight words to all.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

MODEL = "fake/base"
WORDS = ("Tamsin ", "Vole ", "weighs ", "the ", "sacks ", "at ", "the ", "mill.")


def whole() -> bytes:
    message = {"role": "assistant", "content": "".join(WORDS)}
    usage = {"prompt_tokens": 9, "completion_tokens": len(WORDS), "total_tokens": 9 + len(WORDS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], "usage": usage}
    return json.dumps(body).encode()


def events() -> bytes:
    def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        body = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
        return b"data: " + json.dumps(body | more).encode() + b"\n\n"

    usage = {"prompt_tokens": 9, "completion_tokens": len(WORDS), "total_tokens": 9 + len(WORDS)}
    pieces = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in WORDS)]
    return b"".join([*pieces, chunk({}, "stop"), chunk({}, choices=[], usage=usage), b"data: [DONE]\n\n"])


def framed(kind: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


WHOLE, EVENTS = framed("application/json", whole()), framed("text/event-stream", events())
MODELS = framed("application/json", json.dumps({"object": "list", "data": [{"id": MODEL}]}).encode())


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
            body = await reader.readexactly(length)
            asked = json.loads(body) if body else {}
            writer.write(MODELS if head.startswith(b"get") else EVENTS if asked.get("stream") else WHOLE)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
