"""Long prompts at once against a cap on the memory of keys and values: all are answered, and the process stays below.

Twenty-four prompts of 500 words ask for 16 tokens each of the bundled model, first with the default, half of what is
free, then with a cap of 64 MiB (`limits.cache_bytes`). Told are the greatest growth of the server's memory over what it
took after a first reply, and how long the last one waited.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from serving.places import CLIENT, free_port, new_workspace, served, table
from serving.wire import Client

from gradatim.model.base import load_base

REQUESTS, WORDS, TOKENS, CAP = 24, 500, 16, 64 << 20


def run(options: Any) -> dict[str, Any]:
    digest = load_base("bundled").digest
    rows = {}
    for name, cap in (("free", 0), ("capped", CAP)):
        with tempfile.TemporaryDirectory() as temporary:
            workspace = new_workspace(Path(temporary) / "workspace", "bundled", digest)
            (workspace.folder / "serve.toml").write_text(f"[limits]\ncache_bytes = {cap}\n")
            port = free_port()
            with served(workspace.folder, port) as process:
                rows[name] = asyncio.run(_asked(port, psutil.Process(process.pid)))
    print(f"memory: {REQUESTS} prompts of {WORDS} words at once; a cap of {CAP >> 20} MiB")
    head = ["", *rows["free"]]
    table([head, *([name, *row.values()] for name, row in rows.items())])
    held = rows["capped"]["grown_mib"] < rows["free"]["grown_mib"]
    return {"cap_mib": CAP >> 20, **rows, "reached": held and not rows["capped"]["failed"]}


async def _asked(port: int, server: psutil.Process) -> dict[str, Any]:
    client, over = Client(port, CLIENT), asyncio.Event()

    def body(words: int, tokens: int) -> dict[str, Any]:
        prompt = " ".join(f"word{number % 97}" for number in range(words))
        return {"model": "gradatim", "prompt": prompt, "max_tokens": tokens}

    await client.post("/v1/completions", body(WORDS, 2))
    before = most = server.memory_info().rss

    async def watch() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, server.memory_info().rss)
            await asyncio.sleep(0.02)

    watching, began = asyncio.create_task(watch()), time.perf_counter()
    answers = await asyncio.gather(*(client.post("/v1/completions", body(WORDS, TOKENS)) for _ in range(REQUESTS)))
    seconds = time.perf_counter() - began
    over.set()
    await watching
    client.close()
    failed = sum(answer.status != 200 for answer in answers)
    return {"grown_mib": round((most - before) / 2**20), "failed": failed, "seconds": round(seconds, 1)}
