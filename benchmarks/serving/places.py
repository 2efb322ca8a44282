"""Workspaces, servers in processes of their own, and figures out of lists."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gradatim.charter import DEFAULT_PATH
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.workspace import Workspace

ROOT = Path(__file__).parent.parent.parent
CLIENT, ADMIN = "client-key-of-the-benchmark", "admin-key-of-the-benchmark"
QUESTIONS = (
    "Who weighs the sacks?",
    "When does the mill open?",
    "What is the capital of France?",
    "Write one sentence about rivers.",
    "How many days has a week?",
    "Why is the sky blue?",
    "Name a fruit that is yellow.",
    "Who wrote Hamlet?",
)


class Broken(Exception):
    """A process that the benchmark needs did not come up."""


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@contextmanager
def process(command: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is told to stop at the end; what it says goes to `log`."""
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab") as output:
        started = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **threads, "PYTHONPATH": path, **environment}
        )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(20)
        if started.poll() is None:
            started.kill()
        started.wait()


def wait_for(url: str, started: subprocess.Popen[bytes], log: Path, seconds: float = 600) -> float:
    """Wait until a URL answers with 200: after how many seconds it did."""
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        if started.poll() is not None:
            break
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=2) as said:
            if said.status == 200:
                return time.perf_counter() - began
        time.sleep(0.02)
    raise Broken(f"{url} did not come up: {log.read_text('utf-8', 'replace')[-1500:]}")


def serve_command(folder: Path, port: int, *, exact: bool = False) -> list[str]:
    if exact:
        return [sys.executable, str(Path(__file__).with_name("exact.py")), str(folder), str(port)]
    code = "from gradatim.cli.main import main; main()"
    return [sys.executable, "-c", code, "serve", "-w", str(folder), "--port", str(port)]


@contextmanager
def served(folder: Path, port: int, *, exact: bool = False, threads: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """`gradatim serve`, ready; `exact`: in fp32; `threads`: not as many as `process` gives."""
    log = folder.parent / "serve.log"
    more = {"GRADATIM_CLIENT_KEY": CLIENT, "GRADATIM_ADMIN_KEY": ADMIN}
    if threads:
        more["OMP_NUM_THREADS"] = str(threads)
    with process(serve_command(folder, port, exact=exact), log, **more) as started:
        wait_for(f"http://127.0.0.1:{port}/readyz", started, log)
        yield started


# ------------------------------------------------------------------ workspaces


def tiny_model(folder: Path) -> str:
    """A random Llama of two layers in fp32 with a tokenizer of its own, as a folder that `load_base` reads."""
    sys.path.insert(0, str(ROOT))
    from tests.tiny import tiny_llama, tiny_tokenizer

    model, tokenizer = tiny_llama(max_position_embeddings=2048, initializer_range=0.5), tiny_tokenizer()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def new_workspace(folder: Path, source: str, digest: str) -> Workspace:
    return Workspace.create(folder, {"source": source, "digest": digest}, DEFAULT_PATH.read_text("utf-8"))


def add_release(workspace: Workspace, bank: AdapterBank, seed: int, size: float) -> str:
    """A release with one random adapter of rank 8 that takes every question; not promoted."""
    adapter = Adapter(bank.shapes(), 8, 16.0, "cpu").initialise(seed)
    generator = torch.Generator().manual_seed(seed)
    for module in adapter.modules:
        B = adapter.turned_B[module][0]
        B.copy_(torch.randn(B.shape, generator=generator) * size)
    with tempfile.TemporaryDirectory() as folder:
        adapter.save(Path(folder), base="benchmark")
        digest = workspace.adapters.add(Path(folder))
    base, parent = bank.base.digest, workspace.registry.live_id()
    return workspace.registry.create(base=base, adapters=(digest,), parent=parent, step=f"step-{seed}").id


# ------------------------------------------------------------------ figures


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))] if ordered else float("nan")


def summary(values: Sequence[float], scale: float = 1000.0) -> dict[str, float]:
    """Median, 99 % quantile and greatest, in milliseconds."""
    picked = {"median": statistics.median(values), "p99": quantile(values, 0.99), "max": max(values)} if values else {}
    return {name: round(value * scale, 3) for name, value in picked.items()}


def table(rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as columns; the first is the head."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(flush=True)
