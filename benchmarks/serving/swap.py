"""Sixteen clients streaming while releases are promoted and rolled back fifty times.

On a tiny random model in fp32, where every reply can be held against what its release alone gives; then on the bundled
model, for the times only: in bf16 a near-tie may fall either way with the size of the batch. A move is made by another
process than the server's, as `gradatim promote` does; from the moment that it returns, a request of a seventeenth
client is timed to its first text. Waits are also told in decode steps: the median gap between two pieces of a stream.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from serving.places import (
    CLIENT,
    QUESTIONS,
    add_release,
    free_port,
    new_workspace,
    quantile,
    served,
    summary,
    table,
    tiny_model,
)
from serving.wire import Answer, Client

from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.release.answering import load_minds
from gradatim.workspace import Workspace

CLIENTS, MOVES, TOKENS = 16, 50, 24
RELEASES = 3


@dataclass
class Found:
    """What one run saw. Times in seconds."""

    replies: Counter[str] = field(default_factory=Counter)  # by release
    failed: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)  # replies that are not what their release alone gives
    moves: list[float] = field(default_factory=list)  # promote() itself
    answers: list[float] = field(default_factory=list)  # from its return to the first text
    first: list[float] = field(default_factory=list)  # of everybody, from asking to the first text
    gaps: list[float] = field(default_factory=list)  # between two texts of a stream


def run(options: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "tiny" in options.models:
            found["tiny"] = _measured(folder / "tiny", tiny_model(folder / "model"), 0.5, MOVES, checked=True)
        if "bundled" in options.models:
            found["bundled"] = _measured(folder / "bundled", "bundled", 0.02, options.bundled_moves, checked=False)
    print(f"swap: {CLIENTS} clients streaming, {MOVES} moves (tiny, fp32), {options.bundled_moves} (bundled)")
    names = next(iter(found.values()))
    table([["", *found], *([name, *(one[name] for one in found.values())] for name in names)])
    right = not any(one["failed"] or one["unequal"] in range(1, 1 << 30) for one in found.values())
    quick = all(one["answer ms p99"] <= 100 for one in found.values())
    return found | {"reached": {"nobody failed, all replies equal": right, "100 ms": quick}}


def _measured(folder: Path, source: str, size: float, moves: int, *, checked: bool) -> dict[str, Any]:
    folder.mkdir()
    dtype = torch.float32 if checked else None
    base = load_base(source, dtype=dtype)
    workspace = new_workspace(folder / "workspace", source, base.digest)
    bank = AdapterBank(base)
    releases = [workspace.registry.live_id(), *(add_release(workspace, bank, n, size) for n in range(1, RELEASES + 1))]
    bank.detach()
    expected: dict[str, dict[str, str]] = {}
    for release in releases if checked else ():
        alone = AdapterBank(load_base(source, dtype=dtype))
        minds = load_minds(alone, workspace.adapters, workspace.registry.get(release).adapters)
        said = [minds.reply([question], max_tokens=TOKENS)[0].text for question in QUESTIONS]
        expected[release] = dict(zip(QUESTIONS, said, strict=True))
    assert len({tuple(texts.values()) for texts in expected.values()}) == len(expected)
    port = free_port()
    with served(workspace.folder, port, exact=checked):
        idle = asyncio.run(_moved(workspace, releases, port, expected, clients=0, moves=6))
        busy = asyncio.run(_moved(workspace, releases, port, expected, clients=CLIENTS, moves=moves))
    return _told(idle, busy, checked)


def _told(idle: Found, busy: Found, checked: bool) -> dict[str, Any]:
    step = statistics.median(busy.gaps)
    answer = summary(busy.answers)
    return {
        "replies": busy.replies.total(),
        "releases that answered": len(busy.replies),
        "failed": len(idle.failed) + len(busy.failed),
        "unequal": len(idle.other) + len(busy.other) if checked else "not checked",
        "promote() itself, ms": summary(busy.moves)["median"],
        "idle: promote to first answer, ms": summary(idle.answers)["median"],
        "answer ms median": answer["median"],
        "answer ms p99": answer["p99"],
        "decode step ms": round(step * 1000, 2),
        "answer in steps, median": round(statistics.median(busy.answers) / step, 1),
        "first text of anybody in steps, median": round(statistics.median(busy.first) / step, 1),
        "the longest": round(max(busy.first) / step, 1),
        "gap in a stream in steps, p99": round(quantile(busy.gaps, 0.99) / step, 1),
        "the longest gap": round(max(busy.gaps) / step, 1),
        "examples": [*idle.failed, *busy.failed, *idle.other, *busy.other][:3],
    }


async def _moved(
    workspace: Workspace,
    releases: list[str],
    port: int,
    expected: dict[str, dict[str, str]],
    *,
    clients: int,
    moves: int,
) -> Found:
    found, over, http = Found(), asyncio.Event(), Client(port, CLIENT)
    elsewhere = Workspace.open(workspace.folder)

    async def ask(number: int, tokens: int = TOKENS) -> tuple[Answer, float]:
        question, began = QUESTIONS[number % len(QUESTIONS)], time.perf_counter()
        messages = [{"role": "user", "content": question}]
        body = {"model": "gradatim", "messages": messages, "max_tokens": tokens, "stream": True, "user": f"u{number}"}
        answer = await http.post("/v1/chat/completions", body)
        _hold(found, answer, question, expected if tokens == TOKENS else {})
        return answer, began

    async def client(number: int) -> None:
        while not over.is_set():
            try:
                answer, began = await ask(number)
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                found.failed.append(repr(error))
                continue
            texts = _texts(answer)
            found.first += [texts[0] - began] if texts else []
            found.gaps += [later - earlier for earlier, later in pairwise(texts)]
            number += clients

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(number))
        await asyncio.sleep(1.0 if clients else 0.1)
        for move in range(moves):
            wanted = releases[0] if move % 3 == 2 else releases[1 + (move + move // 3) % RELEASES]
            kind = elsewhere.registry.rollback if move % 3 == 2 else elsewhere.registry.promote
            began = time.perf_counter()
            await asyncio.to_thread(kind, wanted, "a benchmark", "benchmark")
            found.moves.append(time.perf_counter() - began)
            answer, asked = await ask(move, TOKENS if expected else 4)
            if (texts := _texts(answer)) and answer.headers["x-gradatim-release"] == wanted:
                found.answers.append(texts[0] - asked)
            else:
                found.failed.append(f"{answer.status}, by {answer.headers.get('x-gradatim-release')}, wanted {wanted}")
        over.set()
    http.close()
    return found


def _texts(answer: Answer) -> list[float]:
    """When each text of a stream came."""
    pairs = zip(answer.events, answer.at, strict=False)
    return [at for event, at in pairs if event.get("choices") and event["choices"][0].get("delta", {}).get("content")]


def _hold(found: Found, answer: Answer, question: str, expected: dict[str, dict[str, str]]) -> None:
    """Against what the release that it names gives alone."""
    whole = answer.status == 200 and answer.body.endswith(b"data: [DONE]\n\n")
    if not whole:
        found.failed.append(f"{answer.status}: {answer.body[-200:]!r}")
        return
    release = answer.headers["x-gradatim-release"]
    found.replies[release] += 1
    events = [event for event in answer.events if event.get("choices")]
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    named = {event["system_fingerprint"] for event in events}
    if named != {release} or (expected and text.strip() != expected[release][question].strip()):
        found.other.append(f"{release[:12]}, {question}: {text[:60]!r}")
