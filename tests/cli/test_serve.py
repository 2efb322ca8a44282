"""`gradatim keys` and `gradatim serve`: a real process, killed without warning."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gradatim.ledger.verify import verify_workspace
from gradatim.workspace import Workspace

Run = Callable[..., Any]


def test_a_key_is_shown_once_and_listed_without_its_secret(run: Run, folder: Path) -> None:
    made = run("keys", "make", "shop", "-w", folder, "--json").data
    assert made["key"].startswith("grd_")
    assert run("keys", "make", "ops", "--admin", "-w", folder).out.splitlines()[0].startswith("grd_")
    listed = run("keys", "-w", folder, "--json")
    assert listed.data["key"] is None
    assert [(one["name"], one["role"], one["revoked_at"]) for one in listed.data["keys"]] == [
        ("shop", "client", None),
        ("ops", "admin", None),
    ]
    assert made["key"].rpartition("_")[2] not in listed.out
    assert run("keys", "revoke", "shop", "-w", folder, "--json").data["keys"][0]["revoked_at"] is not None
    assert "in use" in run("keys", "-w", folder).out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["steal"], "is no action"),
        (["make"], "Whose key?"),
        (["list", "shop"], "takes no NAME"),
        (["revoke", "shop"], "No key in use is named shop"),
        (["revoke", "shop", "--admin"], "goes with make"),
        (["make", "a b"], "can't name a key"),
    ],
)
def test_keys_that_can_not_be(run: Run, folder: Path, arguments: list[str], words: str) -> None:
    done = run("keys", *arguments, "-w", folder, "--json")
    assert (done.code, words in done.data["error"]) == (2, True)


def test_a_server_nobody_could_ask_is_not_started(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADATIM_CLIENT_KEY", raising=False)
    assert "No client key yet" in run("serve", "-w", folder, "--json").data["error"]
    everybody = run("serve", "--no-login", "--host", "0.0.0.0", "-w", folder, "--json")
    assert "would let everybody in" in everybody.data["error"]
    (folder / "serve.toml").write_text("[limits]\nqueue = 0\n")
    assert "limits.queue" in run("serve", "--no-login", "-w", folder, "--json").data["error"]


def test_a_taken_port_is_said(run: Run, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--no-login", "--port", str(port), "-w", folder, "--json")
    assert (done.code, f"port {port}: Address already in use" in done.data["error"]) == (2, True)


KEY = "client-key-of-the-tests"


class Process:
    """`gradatim serve` in a process of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        program = ["-c", "from gradatim.cli.main import main; main()", "serve", "-w", str(folder), "--json"]
        self.process = subprocess.Popen(
            [sys.executable, *program, "--port", str(port)],
            env=environment | {"GRADATIM_CLIENT_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = f"http://127.0.0.1:{port}"
        self.lines: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if "Application startup complete" in line:
                break
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr or ()))
        self._reader.start()

    def end(self, how: signal.Signals) -> str:
        """What it printed on standard output."""
        self.process.send_signal(how)
        self.process.wait(60)
        self._reader.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        out = self.process.stdout.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return out


def ask(url: str, number: int) -> tuple[str, str] | None:
    """A question, then feedback on the reply: what of them was acknowledged, None where the server died."""
    headers = {"authorization": f"Bearer {KEY}"}
    message = {"role": "user", "content": f"Question {number}?"}
    try:
        with httpx2.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            asked = {"model": "gradatim", "messages": [message], "max_tokens": 3, "user": f"u{number}"}
            done = client.post("/v1/chat/completions", json=asked)
            done.raise_for_status()
            response, token = done.json()["id"], done.headers["x-gradatim-feedback-token"]
            said = {"response_id": response, "correction": f"Answer {number} it is.", "token": token}
            taken = client.post("/v1/feedback", json=said)
            taken.raise_for_status()
            return response, taken.json()["correction_id"]
    except httpx2.TransportError:
        return None


def test_what_was_acknowledged_survives_a_kill(
    run: Run, tmp_path: Path, tiny_model: Path, offline: dict[str, str]
) -> None:
    folder = tmp_path / "served"
    assert run("init", folder, "--model", tiny_model).code == 0
    acknowledged: list[tuple[str, str]] = []
    for turn in range(2):
        server = Process(folder, offline)
        with ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(ask, server.url, 100 * turn + number) for number in range(40)]
            for one in asked[:10]:
                acknowledged += filter(None, [one.result()])
            server.end(signal.SIGKILL)
            acknowledged += [told for one in asked[10:] if (told := one.result())]
    here = Workspace.open(folder)
    served = {one.id for one in here.records.traffic.interactions()}
    taken = {one.feedback.id for one in here.records.feedback("new")}
    here.records.close()
    assert len(acknowledged) >= 20
    assert {response for response, _ in acknowledged} <= served
    assert {correction for _, correction in acknowledged} <= taken
    assert verify_workspace(folder).ok


def test_a_server_told_to_stop_says_what_it_did_and_logs_json(
    run: Run, tmp_path: Path, tiny_model: Path, offline: dict[str, str]
) -> None:
    folder = tmp_path / "served"
    run("init", folder, "--model", tiny_model)
    server = Process(folder, offline)
    assert ask(server.url, 1) is not None
    with httpx2.Client(base_url=server.url, timeout=60, trust_env=False, follow_redirects=True) as browser:
        assert "<h1>Sign in</h1>" in browser.get("/").text
    out = server.end(signal.SIGTERM)
    assert json.loads(out)["interactions"] == 1
    lines = [json.loads(line) for line in server.lines]
    (request,) = [line for line in lines if line.get("route") == "/v1/chat/completions"]
    assert (request["status"], request["arm"], request["level"]) == (200, "live", "info")
    assert not any("Question 1" in line for line in server.lines)
    assert os.environ.get("GRADATIM_CLIENT_KEY") != KEY
