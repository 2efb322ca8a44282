"""What a step beside a server costs its users: latency of replies, with and without what `gradatim run` does about it.

    python benchmarks/beside.py [--rounds 6] [--seconds 8] [--only NAME ...]

A real server on the bundled model answers one client, question after question, 24 tokens each. Beside it an adapter is
trained on the same model without end, which is what most of a step is, in one of several ways: as anybody would start
it, with fewer threads, with a niceness, or as `gradatim run` starts it (both, and its session's). Each way is a process
that is stopped and continued by signals, so that the ways take turns and whatever else the machine does meets them all
alike. `studied` is how many tokens the training got through each second. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from gradatim.charter import DEFAULT_PATH
from gradatim.schedule.stepping import Share, processors, step_back
from gradatim.workspace import Workspace

KEY = "client-key-of-the-benchmark"
QUESTIONS = (
    "What is the capital of Italy, and what is it known for?",
    "How does a bicycle stay upright?",
    "Why is the sky blue in the daytime?",
    "What should I cook with potatoes and eggs?",
)
WAYS = {
    "as it comes": Share(niceness=0, threads=processors()),
    "a thread fewer": Share(niceness=0),
    "nice": Share(threads=processors()),
    "gradatim run": Share(),
}


@dataclass
class Measured:
    """Of one way: seconds to the first text, seconds of whole replies, and what was studied meanwhile."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0

    def row(self) -> dict[str, float | int]:
        return {
            "replies": len(self.whole),
            "first_median": round(statistics.median(self.first), 3),
            "whole_median": round(statistics.median(self.whole), 3),
            "whole_p95": round(sorted(self.whole)[int(0.95 * len(self.whole))], 3),
            "studied": round(self.tokens / self.seconds, 1) if self.seconds else 0.0,
        }


class Training:
    """A training that goes on without end in a child, stopped until it is wanted."""

    def __init__(self, share: Share, notes: Path) -> None:
        self._notes = notes
        command = [sys.executable, __file__, "--train", str(notes)]
        self._child = subprocess.Popen(command, env=share.environment(), start_new_session=True)
        while not self.tokens:
            if self._child.poll() is not None:
                raise SystemExit("the training ended")
            time.sleep(0.2)
        self.halt()

    @property
    def tokens(self) -> int:
        return int(self._notes.read_text() or 0) if self._notes.exists() else 0

    def go(self) -> None:
        os.killpg(self._child.pid, signal.SIGCONT)

    def halt(self) -> None:
        os.killpg(self._child.pid, signal.SIGSTOP)

    def end(self) -> None:
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


def train_without_end(notes: Path) -> None:
    """The child: notes after each pass how many tokens it has trained on; it steps back once it is under way."""
    from gradatim.learn import Trainee, train
    from gradatim.model.adapter import Adapter
    from gradatim.model.bank import AdapterBank
    from gradatim.model.base import load_base
    from gradatim.phases import shapes_of
    from gradatim.types import StudyExample, TrainingPlan

    book = Path(DEFAULT_PATH).with_name("demo") / "handbook.md"
    lines = [line for line in book.read_text().splitlines() if len(line) > 40]
    study = [StudyExample(f"What does the handbook say, part {n}?", line, "qa", None) for n, line in enumerate(lines)]
    bank, plan = AdapterBank(load_base("bundled")), TrainingPlan(tokens=10**12, guarded=False, learning_rate=1e-5)
    adapter = bank.add("a", Adapter(shapes_of(bank, plan), plan.rank, plan.alpha, "cpu").initialise(0))
    total = 0

    def note(tokens: int) -> None:
        nonlocal total
        if not total:
            step_back()
        total += tokens
        following = notes.with_suffix(".new")
        following.write_text(str(total))
        following.replace(notes)

    while True:
        train(bank, [Trainee("a", adapter, study, plan)], note)


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server on a free port, ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = ["-c", "from gradatim.cli.main import main; main()", "serve", "-w", str(folder), "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    server = subprocess.Popen(
        [sys.executable, *program],
        env=environment | {"GRADATIM_CLIENT_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    with httpx2.Client(trust_env=False) as client:
        while server.poll() is None:
            try:
                if client.get(f"{url}/readyz").status_code == 200:
                    return server, url
            except httpx2.TransportError:
                pass
            time.sleep(0.2)
    raise SystemExit("the server did not start")


def ask(client: httpx2.Client, number: int) -> tuple[float, float]:
    """Seconds to the first text, and to the end."""
    message = {"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}
    body = {"model": "gradatim", "messages": [message], "max_tokens": 24, "stream": True}
    began, first = time.perf_counter(), 0.0
    with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        reply.raise_for_status()
        for line in reply.iter_lines():
            if not first and '"content":"' in line.replace(" ", "") and '"content":""' not in line.replace(" ", ""):
                first = time.perf_counter() - began
    whole = time.perf_counter() - began
    return first or whole, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", nargs="*", choices=list(WAYS))
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.train:
        train_without_end(chosen.train)
    from gradatim.model.base import load_base

    source = {"source": "bundled", "digest": load_base("bundled").digest}
    trainings: dict[str, Training] = {}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder) / "w", source, DEFAULT_PATH.read_text())
        server, url = serve(workspace.folder)
        try:
            for way in chosen.only or WAYS:
                trainings[way] = Training(WAYS[way], Path(folder) / way.replace(" ", "-"))
            rows = measure(url, trainings, chosen.rounds, chosen.seconds)
        finally:
            for training in trainings.values():
                training.end()
            server.kill()
            server.wait()
    print(f"{'':16}{'replies':>8}{'first':>8}{'whole':>8}{'95 %':>8}{'studied/s':>11}")
    for way, row in rows.items():
        figures = f"{row['replies']:8}{row['first_median']:8.3f}{row['whole_median']:8.3f}{row['whole_p95']:8.3f}"
        print(f"{way:16}{figures}{row['studied']:11.1f}")
    print(json.dumps({"processors": processors(), "load_at_end": os.getloadavg()[0], "ways": rows}))


def measure(url: str, trainings: dict[str, Training], rounds: int, seconds: float) -> dict[str, dict[str, float | int]]:
    found = {way: Measured() for way in ("alone", *trainings)}
    number = 0
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx2.Client(base_url=url, headers=headers, timeout=600, trust_env=False) as client:
        ask(client, 0)
        for turn in range(rounds):
            ways = list(found)
            for way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
                training, here = trainings.get(way), found[way]
                before = training.tokens if training else 0
                if training:
                    training.go()
                    time.sleep(0.5)
                began = time.perf_counter()
                while time.perf_counter() - began < seconds:
                    first, whole = ask(client, number)
                    here.first.append(first)
                    here.whole.append(whole)
                    number += 1
                here.seconds += time.perf_counter() - began
                if training:
                    training.halt()
                    here.tokens += training.tokens - before
    return {way: here.row() for way, here in found.items()}


if __name__ == "__main__":
    main()
