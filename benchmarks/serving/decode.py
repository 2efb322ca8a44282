"""Eight streams on the bundled model beside the same requests one by one through transformers' `generate`.

Both sides have the same weights, the same prompts and greedy choice, and take turns, in fp32 so that the texts must be
equal (in bf16 a near-tie may fall either way with the size of the batch). Ours is measured from outside, through HTTP;
theirs from inside, one request after the other.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from serving.places import CLIENT, QUESTIONS, free_port, new_workspace, served, table
from serving.wire import Client

from gradatim.model.base import Base, load_base

STREAMS, TURNS = 8, 3


def run(options: Any) -> dict[str, Any]:
    most = options.decode_tokens
    with tempfile.TemporaryDirectory() as temporary:
        base = load_base("bundled", dtype=torch.float32)
        workspace = new_workspace(Path(temporary) / "workspace", "bundled", base.digest)
        port, ratios, equal, rates = free_port(), [], 0, []
        with served(workspace.folder, port, exact=True):
            asyncio.run(_ours(port, 2, most))
            _theirs(base, QUESTIONS[:1], most)
            for _ in range(TURNS):
                ours, texts = asyncio.run(_ours(port, STREAMS, most))
                theirs, wanted = _theirs(base, QUESTIONS[:STREAMS], most)
                equal += sum(a == b for a, b in zip(texts, wanted, strict=True))
                ratios.append(ours / theirs)
                rates.append((ours, theirs))
    ratio = statistics.median(ratios)
    print(f"decode: {STREAMS} streams of up to {most} tokens on the bundled model, {TURNS} turns, {base.dtype}")
    rows = [(f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}") for ours, theirs in rates]
    table([("ours, tokens/s", "generate, one by one", "ratio"), *rows])
    return {
        "ratio": round(ratio, 2),
        "ratios": [round(one, 2) for one in ratios],
        "tokens_per_second": [[round(one, 1) for one in pair] for pair in rates],
        "equal_texts": f"{equal} of {TURNS * STREAMS}",
        "dtype": str(base.dtype),
        "threads": torch.get_num_threads(),
        "reached": ratio >= 4 and equal == TURNS * STREAMS,
    }


async def _ours(port: int, streams: int, most: int) -> tuple[float, list[str]]:
    """Tokens a second of all streams together, and their texts."""
    client = Client(port, CLIENT)
    await client.open(streams)

    def body(question: str) -> dict[str, Any]:
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        return {"model": "gradatim", "messages": [{"role": "user", "content": question}], "max_tokens": most} | usage

    began = time.perf_counter()
    answers = await asyncio.gather(*(client.post("/v1/chat/completions", body(q)) for q in QUESTIONS[:streams]))
    seconds = time.perf_counter() - began
    client.close()
    tokens = sum(answer.events[-1]["usage"]["completion_tokens"] for answer in answers)
    chosen = [[event["choices"][0] for event in answer.events if event["choices"]] for answer in answers]
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
