"""`kill -9` of the server under load, twenty times: is everything that was acknowledged still there?

Eight clients ask a tiny model and rate what they were told. What the server acknowledged (a reply read to its end, a
rating answered with 200) is noted here; after each kill the server is started again, as systemd does with
`Restart=always`, and at the end every note is held against the workspace's tables, and the ledger is verified.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from serving.places import (
    ADMIN,
    CLIENT,
    QUESTIONS,
    add_release,
    free_port,
    new_workspace,
    process,
    serve_command,
    table,
    tiny_model,
    wait_for,
)
from serving.wire import Client

from gradatim.ledger.verify import verify_workspace
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.workspace import Workspace

CLIENTS = 8


def run(options: Any) -> dict[str, Any]:
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = tiny_model(folder / "model")
        base = load_base(source)
        workspace = new_workspace(folder / "workspace", source, base.digest)
        bank = AdapterBank(base)
        releases = [workspace.registry.live_id(), add_release(workspace, bank, 1, 0.5)]
        port, log = free_port(), folder / "serve.log"
        keys = {"GRADATIM_CLIENT_KEY": CLIENT, "GRADATIM_ADMIN_KEY": ADMIN}
        replies: dict[str, str] = {}
        ratings: set[str] = set()
        back: list[float] = []
        for number in range(options.kills):
            with process(serve_command(workspace.folder, port), log, **keys) as server:
                back.append(wait_for(f"http://127.0.0.1:{port}/readyz", server, log))
                workspace.registry.promote(releases[number % 2], "a benchmark", "benchmark")  # the ledger grows too
                asyncio.run(_load(port, replies, ratings, server.kill, chance.uniform(1.0, 6.0)))
                server.wait()
            print(f"killed {number + 1} times: {len(replies)} replies, {len(ratings)} ratings", file=sys.stderr)
        with process(serve_command(workspace.folder, port), log, **keys) as server:
            back.append(wait_for(f"http://127.0.0.1:{port}/readyz", server, log))
        found = _held(Workspace.open(workspace.folder), replies, ratings)
    found |= {"kills": options.kills, "back_seconds": round(statistics.median(back), 2)}
    print(f"kill: {options.kills} times kill -9 under load of {CLIENTS} clients")
    table([list(found), list(found.values())])
    return found | {"reached": not found["replies_lost"] and not found["ratings_lost"] and found["ledger"] == "ok"}


async def _load(port: int, replies: dict[str, str], ratings: set[str], kill: Any, seconds: float) -> None:
    client, over = Client(port, CLIENT), time.perf_counter() + seconds

    async def ask(number: int) -> None:
        while True:
            body: dict[str, Any] = {"model": "gradatim", "max_tokens": 20, "stream": number % 2 == 0}
            body["messages"] = [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}]
            answer = await client.post("/v1/chat/completions", body)
            if answer.status != 200 or (body["stream"] and not answer.body.endswith(b"[DONE]\n\n")):
                continue
            identity, text = _said(answer, body["stream"])
            replies[identity] = text
            rated = {"response_id": identity, "value": 1, "token": answer.headers["x-gradatim-feedback-token"]}
            taken = await client.post("/v1/feedback", rated)
            if taken.status == 200:
                ratings.add(taken.json()["rating_id"])
            number += CLIENTS

    asking = [asyncio.create_task(ask(number)) for number in range(CLIENTS)]
    await asyncio.sleep(max(0.0, over - time.perf_counter()))
    kill()
    await asyncio.wait(asking, timeout=10)  # each ends with its connection
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    client.close()


def _said(answer: Any, stream: bool) -> tuple[str, str]:
    if not stream:
        whole = answer.json()
        return whole["id"], whole["choices"][0]["message"]["content"]
    chunks = [event for event in answer.events if event.get("choices")]
    return chunks[0]["id"], "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def _held(workspace: Workspace, replies: dict[str, str], ratings: set[str]) -> dict[str, Any]:
    records = workspace.records
    kept = {identity: records.answer(identity) for identity in replies}
    lost = [identity for identity, answer in kept.items() if answer is None or answer.answer != replies[identity]]
    stored = {rating.id for rating in records.traffic.ratings()}
    records.close()
    verified = verify_workspace(workspace.folder)
    return {
        "replies": len(replies),
        "replies_lost": len(lost),
        "ratings": len(ratings),
        "ratings_lost": len(ratings - stored),
        "ledger": "ok" if verified.ok else verified.problem,
    }
