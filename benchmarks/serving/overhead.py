"""What Gradatim takes before an upstream: the same requests straight to it, through Gradatim, and through LiteLLM.

All in the same run, in turns. Ours does more on the way than forward: it checks a key, chooses a release, commits the
interaction to disk before the reply's end is told, and signs a feedback token. LiteLLM's proxy runs with a master key
and no database.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from serving.places import (
    CLIENT,
    QUESTIONS,
    Broken,
    free_port,
    new_workspace,
    process,
    quantile,
    served,
    table,
    wait_for,
)
from serving.upstream import MODEL
from serving.wire import Answer, Client, at_a_rate

LITELLM = "litellm[proxy]==1.106.2"
ROUNDS = 3


def run(options: Any) -> dict[str, Any]:
    """Medians over the rounds of each round's quantiles, in milliseconds."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        ports = {"direct": free_port(), "gradatim": free_port(), "litellm": free_port()}
        fake = [sys.executable, str(Path(__file__).with_name("upstream.py")), str(ports["direct"])]
        upstream = stack.enter_context(process(fake, folder / "upstream.log"))
        wait_for(f"http://127.0.0.1:{ports['direct']}/v1/models", upstream, folder / "upstream.log")
        workspace = new_workspace(folder / "workspace", MODEL, "fake")
        url = f"http://127.0.0.1:{ports['direct']}"
        (workspace.folder / "serve.toml").write_text(f'[upstream]\nurls = ["{url}"]\nmodel = "{MODEL}"\n')
        started = {"direct": upstream, "gradatim": stack.enter_context(served(workspace.folder, ports["gradatim"]))}
        missing = _litellm(options.litellm, folder, url, ports["litellm"], stack, started)
        rounds, busy = asyncio.run(_rounds(ports, started, options.rate, options.seconds))
        stored = workspace.records.traffic.count()
        workspace.records.close()
    return _told(rounds, busy, options, missing, stored)


Round = tuple[list[float], Counter[str]]  # seconds of each request that was answered, and how many failed in which way


async def _rounds(
    ports: dict[str, int], started: dict[str, subprocess.Popen[bytes]], rate: float, seconds: float
) -> tuple[dict[str, list[Round]], dict[str, float]]:
    """The rounds of each, and the processor's seconds that a request took there."""
    found: dict[str, list[Round]] = {name: [] for name in started}
    busy = dict.fromkeys(started, 0.0)
    clients = {name: Client(ports[name], "" if name == "direct" else CLIENT) for name in started}
    models = {"direct": MODEL, "gradatim": "gradatim", "litellm": "fake"}

    def asking(name: str) -> Any:
        async def ask(number: int) -> Answer:
            messages = [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}]
            return await clients[name].post(
                "/v1/chat/completions", {"model": models[name], "messages": messages, "user": f"u{number % 50}"}
            )

        return ask

    for name, client in clients.items():  # until it is as quick as it gets
        await client.open(16)
        await at_a_rate(min(rate, 50), 3, asking(name))
    for _ in range(ROUNDS):
        for name in started:
            before = _busy(started[name])
            found[name].append(await at_a_rate(rate, seconds, asking(name)))
            await asyncio.sleep(0.5)
            busy[name] += _busy(started[name]) - before
    for client in clients.values():
        client.close()
    return found, {name: seconds / sum(len(t) + f.total() for t, f in found[name]) for name, seconds in busy.items()}


def _busy(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor that a process and its children have taken."""
    first = psutil.Process(process.pid)
    times = [one.cpu_times() for one in (first, *first.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _told(
    rounds: dict[str, list[Round]], busy: dict[str, float], options: Any, missing: str | None, stored: int
) -> dict[str, Any]:
    rows: dict[str, dict[str, float]] = {}
    how = {name: dict(sum((failed for _, failed in found), Counter())) for name, found in rounds.items()}
    for name, found in rounds.items():
        rows[name] = {
            "median": round(statistics.median(quantile(taken, 0.5) for taken, _ in found) * 1000, 3),
            "p99": round(statistics.median(quantile(taken, 0.99) for taken, _ in found) * 1000, 3),
            "failed": sum(failed.total() for _, failed in found),
            "cpu": round(busy[name] * 1000, 3),
        }
    for row in rows.values():
        row["over_median"] = round(row["median"] - rows["direct"]["median"], 3)
        row["over_p99"] = round(row["p99"] - rows["direct"]["p99"], 3)
    print(
        f"overhead: {options.rate:g} requests a second, open loop, {options.seconds:g} s, {ROUNDS} rounds in turns (ms)"
    )
    head = ["", "median", "p99", "over direct: median", "p99", "failed", "of the processor"]
    table(
        [
            head,
            *(
                [name, *(row[k] for k in ("median", "p99", "over_median", "over_p99", "failed", "cpu"))]
                for name, row in rows.items()
            ),
        ]
    )
    if missing:
        print(f"LiteLLM is not beside it: {missing}\n")
    ours = rows["gradatim"]
    return {
        "rate": options.rate,
        "rows": rows,
        "failed_how": how,
        "written_down": stored,
        "litellm_missing": missing,
        "reached": ours["over_median"] <= 2 and ours["over_p99"] <= 10 and not ours["failed"],
    }


def _litellm(
    place: str, folder: Path, upstream: str, port: int, stack: ExitStack, processes: dict[str, subprocess.Popen[bytes]]
) -> str | None:
    """Start LiteLLM's proxy; why it can't be, or None. It has a virtual environment of its own."""
    if place == "none":
        return "left out (--litellm none)"
    home = Path(place).expanduser()
    program = home / "bin" / "litellm"
    if not program.exists():
        print(f"Installing {LITELLM} into {home}", file=sys.stderr)
        for command in ([sys.executable, "-m", "venv", str(home)], [str(home / "bin/pip"), "install", "-q", LITELLM]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"it does not install: {done.stderr.strip().splitlines()[-1:]}"
    config = {
        "model_list": [
            {
                "model_name": "fake",
                "litellm_params": {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"},
            }
        ],
        "general_settings": {"master_key": CLIENT},
        "litellm_settings": {"telemetry": False},
    }
    (folder / "litellm.yaml").write_text(json.dumps(config))  # JSON is YAML
    log = folder / "litellm.log"
    command = [str(program), "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
    quiet["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    started = stack.enter_context(process(command, log, **quiet))
    try:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", started, log)
    except Broken as error:
        return f"it does not start: {error}"
    processes["litellm"] = started
    return None
