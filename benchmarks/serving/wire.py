"""A client that costs next to nothing, so that what is measured is the server: HTTP/1.1 on kept connections.

Limits: it trusts the server to frame its bodies (Content-Length, or chunks), and reads what the benchmark's own servers
and uvicorn send; nothing else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """A response: `at` is when each piece of its body came, by `time.perf_counter`."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    at: list[float] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What a stream of events held, without the `[DONE]`."""
        lines = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]


class Client:
    """Any number of requests at a time, each on a connection of its own that is used again."""

    def __init__(self, port: int, key: str = "") -> None:
        self._port, self._idle = port, []  # type: int, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._key = f"authorization: Bearer {key}\r\n" if key else ""

    async def post(self, path: str, body: object) -> Answer:
        return await self.send(path, json.dumps(body).encode())

    async def send(self, path: str, data: bytes) -> Answer:
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{self._key}content-type: application/json\r\n"
        return await self._ask(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)

    async def get(self, path: str) -> Answer:
        return await self._ask(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{self._key}\r\n".encode())

    async def _ask(self, request: bytes) -> Answer:
        while self._idle and self._idle[-1][0].at_eof():  # closed by the server meanwhile
            self._idle.pop()[1].close()
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request)
            answer = await _read(reader)
        except BaseException:
            writer.close()
            raise
        if answer.headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return answer

    async def open(self, connections: int) -> None:
        """Have so many connections ready."""
        made = [asyncio.open_connection("127.0.0.1", self._port) for _ in range(connections - len(self._idle))]
        self._idle += await asyncio.gather(*made)

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle = []


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    answer = Answer(int(head[0].split()[1]), headers)
    if "content-length" in headers:
        answer.body = await reader.readexactly(int(headers["content-length"]))
        answer.at.append(time.perf_counter())
        return answer
    pieces = []
    while size := int(await reader.readline(), 16):
        pieces.append(await reader.readexactly(size))
        answer.at.append(time.perf_counter())
        await reader.readexactly(2)
    await reader.readexactly(2)
    answer.body = b"".join(pieces)
    return answer


async def at_a_rate(rate: float, seconds: float, ask: Callable[[int], Any]) -> tuple[list[float], Counter[str]]:
    """Open-loop load: request n is due at n / rate and sent then, whatever became of the others.

    Seconds from when each was due to its end, and how many failed in which way: a server that stalls is charged for
    everybody who came meanwhile (no coordinated omission).
    """
    began = time.perf_counter() + 0.05
    taken: list[float] = []
    failed: Counter[str] = Counter()

    async def one(number: int) -> None:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            answer: Answer = await ask(number)
        except (OSError, asyncio.IncompleteReadError) as error:
            failed[type(error).__name__] += 1
            return
        if answer.status == 200:
            taken.append(time.perf_counter() - due)
        else:
            failed[str(answer.status)] += 1

    await asyncio.gather(*(one(number) for number in range(round(rate * seconds))))
    return taken, failed
