"""Ten thousand bodies that nobody means well: no 5xx, nobody waits, and the process does not grow.

The bodies are those of `tests/serve/test_hostile.py`, with another seed, under a good key and now and then a wrong one.
The growth is told from the thousandth on, when every path has been taken, and after a long reply, for which kernels
were compiled; `first_mib` is what the process grew by until then.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from serving.places import CLIENT, ROOT, free_port, new_workspace, quantile, served, table, tiny_model
from serving.wire import Client

from gradatim.model.base import load_base

BODIES, WARM = 10_000, 1_000


def run(options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        source = tiny_model(Path(temporary) / "model")
        workspace, port = new_workspace(Path(temporary) / "workspace", source, load_base(source).digest), free_port()
        with served(workspace.folder, port) as process:
            found = asyncio.run(_sent(port, psutil.Process(process.pid)))
    print(f"hostile: {BODIES:,} bodies")
    table([list(found), [str(value) for value in found.values()]])
    broken = sum(count for status, count in found["statuses"].items() if status >= 500)
    return {**found, "reached": not broken and found["grown_mib"] < 20 and found["slowest"] < 10}


async def _sent(port: int, server: psutil.Process) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT))
    from tests.serve.test_hostile import PATHS, hostile

    draw, clients = random.Random(11), (Client(port, CLIENT), Client(port, "wrong"))
    statuses: Counter[int] = Counter()
    seconds, began_with, before = [], server.memory_info().rss, 0
    long = {"model": "gradatim", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 1000}
    await clients[0].post(PATHS[0], long)
    for number in range(BODIES):
        if number == WARM:
            before = server.memory_info().rss
        body, path, client = hostile(draw), draw.choice(PATHS), clients[number % 5 == 0]
        began = time.perf_counter()
        answer = await asyncio.wait_for(client.send(path, body), 30)
        seconds.append(time.perf_counter() - began)
        statuses[answer.status] += 1
    for client in clients:
        client.close()
    return {
        "statuses": dict(sorted(statuses.items())),
        "median": round(quantile(seconds, 0.5), 4),
        "slowest": round(max(seconds), 3),
        "first_mib": round((before - began_with) / 2**20, 1),
        "grown_mib": round((server.memory_info().rss - before) / 2**20, 1),
    }
