"""Eight streams on the bundled model beside the same requests one by one through transformers' `generate`.

Eight clients ask their next question as soon as the one before is answered, three each: replies are of eight to
forty-eight tokens, so rows leave and join all the time, and the last seconds have fewer than eight.

Both sides have the same weights, the same prompts and greedy choice, and take turns: first as the machine would have
it, which is bf16 where the processor multiplies it, then once in fp32, where the texts must be equal (in bf16 a
near-tie may fall either way with the size of the batch). Ours is measured from outside, through HTTP, with as many
threads as there are cores; theirs from inside, one request after the other.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import torch
from serving.places import CLIENT, QUESTIONS, free_port, new_workspace, served, table
from serving.wire import Client

from gradatim.model.base import Base, load_base

STREAMS, EACH = 8, 3


def run(options: Any) -> dict[str, Any]:
    most = options.decode_tokens
    rows = {"usual": _turns(most, turns=3, exact=False), "fp32": _turns(most, turns=1, exact=True)}
    exact = rows["fp32"]
    print(f"decode: {STREAMS} streams, {EACH} replies each of up to {most} tokens")
    head = ["", "ours, tokens/s", "generate, one by one", "ratio", "ratios of the turns", "equal texts", "of"]
    table([head, *([name, *(row[key] for key in KEYS)] for name, row in rows.items())])
    reached = rows["usual"]["ratio"] >= 4 and exact["equal_texts"] == exact["texts"]
    return {**rows, "threads": os.cpu_count(), "reached": reached}


KEYS = ("ours", "generate", "ratio", "ratios", "equal_texts", "texts")


def _turns(most: int, *, turns: int, exact: bool) -> dict[str, Any]:
    """Tokens a second of both, medians over the turns, and how many texts were the same."""
    base = load_base("bundled", dtype=torch.float32 if exact else None)
    asked, port, pairs, equal = QUESTIONS[:STREAMS] * EACH, free_port(), [], 0
    with tempfile.TemporaryDirectory() as temporary:
        workspace = new_workspace(Path(temporary) / "workspace", "bundled", base.digest)
        with served(workspace.folder, port, exact=exact, threads=os.cpu_count() or 1):
            asyncio.run(_ours(port, QUESTIONS[:2], most))
            _theirs(base, QUESTIONS[:1], most)
            for _ in range(turns):
                ours, texts = asyncio.run(_ours(port, asked, most))
                theirs, wanted = _theirs(base, asked, most)
                equal += sum(a == b for a, b in zip(texts, wanted, strict=True))
                pairs.append((ours, theirs))
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    return {
        "dtype": str(base.dtype),
        "ours": round(statistics.median(ours for ours, _ in pairs), 1),
        "generate": round(statistics.median(theirs for _, theirs in pairs), 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        "equal_texts": equal,
        "texts": turns * len(asked),
    }


async def _ours(port: int, questions: tuple[str, ...], most: int) -> tuple[float, list[str]]:
    """Tokens a second of all streams together, and the texts in the order of the questions."""
    client, left, answers = Client(port, CLIENT), deque(enumerate(questions)), {}
    await client.open(STREAMS)

    def body(question: str) -> dict[str, Any]:
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        return {"model": "gradatim", "messages": [{"role": "user", "content": question}], "max_tokens": most} | usage

    async def stream() -> None:
        while left:
            number, question = left.popleft()
            answers[number] = await client.post("/v1/chat/completions", body(question))

    began = time.perf_counter()
    await asyncio.gather(*(stream() for _ in range(STREAMS)))
    seconds = time.perf_counter() - began
    client.close()
    tokens = sum(answer.events[-1]["usage"]["completion_tokens"] for answer in answers.values())
    chosen = [
        [event["choices"][0] for event in answer.events if event["choices"]] for _, answer in sorted(answers.items())
    ]
    return tokens / seconds, ["".join(c["delta"].get("content") or "" for c in one) for one in chosen]


@torch.inference_mode()
def _theirs(base: Base, questions: tuple[str, ...], most: int) -> tuple[float, list[str]]:
    tokens, seconds, texts = 0, 0.0, []
    for question in questions:
        ids = torch.tensor([base.chat.conversation([("user", question)])])
        began = time.perf_counter()
        made = base.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False
        )
        seconds += time.perf_counter() - began
        new = made[0, ids.shape[1] :].tolist()
        tokens += len(new)
        texts.append(base.tokenizer.decode(new, skip_special_tokens=True))
    return tokens / seconds, texts
