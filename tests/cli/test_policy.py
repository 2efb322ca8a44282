"""The error policy of the command line: one line for what a person can mend, a traceback for a bug."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gradatim.cli.reported import INTERRUPTED
from gradatim.store import durable
from gradatim.workspace import Workspace

Run = Callable[..., Any]

ARGUMENTS = {
    "add": ["a.md"],
    "feedback": ["--question", "Who?", "--rating", "1"],
    "ask": ["Who?"],
    "step": [],
    "status": [],
    "releases": [],
    "show": ["abcdef"],
    "approve": ["abcdef", "--by", "ada"],
    "reject": ["abcdef", "--by", "ada"],
    "rollback": [],
    "promote": ["abcdef"],
    "keys": [],
    "serve": [],
    "run": [],
    "incidents": [],
}


@pytest.mark.parametrize("command", ARGUMENTS)
def test_no_workspace(run: Run, scripted: Any, answering: None, tmp_path: Path, command: str) -> None:
    done = run(command, *ARGUMENTS[command], "-w", tmp_path, "--json")
    assert done.code == 2
    assert done.data == {"error": f"No workspace in {tmp_path}: run `gradatim init {tmp_path}` first"}
    assert done.err.splitlines()[-1] == f"error: {done.data['error']}"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_workspace(run: Run, folder: Path) -> None:
    log = folder / "ledger" / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b"nowhere", b"elsewhr", 1))
    done = run("status", "-w", folder, "--json")
    assert done.code == 2
    assert "entry 0 differs from what was signed" in done.data["error"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(run: Run, folder: Path, handbook: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(descriptor: int, data: bytes) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable, "write_all", full)
    done = run("add", handbook, "-w", folder, "--json")
    assert done.code == 2
    assert done.data["error"].startswith("disk full")
    assert done.err == f"error: {done.data['error']}\n"
    monkeypatch.undo()
    assert run("add", handbook, "-w", folder).code == 0


def sqlite_error(words: str) -> Exception:
    import sqlite3

    from sqlalchemy.exc import OperationalError

    return OperationalError("INSERT ...", {}, sqlite3.OperationalError(words))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk full"),  # as safetensors says it
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), "/srv/x: Permission denied; make it yours"),
        (OSError(errno.EROFS, "Read-only file system", "/srv/x"), "/srv/x: Read-only file system"),
    ],
)
def test_what_a_person_can_mend(
    run: Run, folder: Path, handbook: Path, scripted: Any, error: Exception, words: str
) -> None:
    scripted.fails = error
    done = run("step", "-w", folder, "--json")
    assert done.code == 2
    assert done.data["error"].startswith(words)
    assert done.err.splitlines()[-1] == f"error: {done.data['error']}"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("database or disk is full", "disk full"),
        ("database is locked", "in use by another command"),
        ("file is not a database", "records.sqlite is damaged"),
    ],
)
def test_what_sqlite_says(run: Run, folder: Path, scripted: Any, said: str, words: str) -> None:
    scripted.fails = sqlite_error(said)
    done = run("step", "-w", folder, "--json")
    assert (done.code, words in done.data["error"]) == (2, True)


def test_damaged_records(run: Run, folder: Path) -> None:
    (folder / "records.sqlite").write_bytes(b"no database " * 100)
    done = run("status", "-w", folder, "--json")
    assert (done.code, done.data["error"]) == (2, "records.sqlite is damaged: restore it from a copy of the workspace")


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), OSError(errno.EIO, "broken disk"), sqlite_error("no such column")]
)
def test_a_bug_keeps_its_traceback(run: Run, folder: Path, scripted: Any, error: Exception) -> None:
    scripted.fails = error
    with pytest.raises(type(error)):
        run("step", "-w", folder, "--json")


def test_interrupted(run: Run, folder: Path, scripted: Any) -> None:
    scripted.fails = KeyboardInterrupt()
    done = run("step", "-w", folder, "--json")
    assert (done.code, done.data) == (130, {"error": INTERRUPTED})
    assert "`gradatim step`" in done.err.splitlines()[-1]
    assert run("step", "-w", folder).err.count("Traceback") == 0


SLEEPER = """
import sys, time
from types import SimpleNamespace
def take_step(workspace, options, progress):
    with workspace.lock():
        print("on stdout, by some library")
        progress.phase("learn")
        time.sleep(60)
sys.modules["gradatim.step"] = SimpleNamespace(StepOptions=SimpleNamespace, take_step=take_step)
from gradatim.cli.main import main
main()
"""


def test_interrupted_for_real_while_another_waits(folder: Path) -> None:
    arguments = ["-c", SLEEPER, "step", "-w", str(folder), "--json"]
    first = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
    )
    assert first.stderr is not None
    assert first.stdout is not None
    while "learn" not in first.stderr.readline():
        time.sleep(0.01)
    second = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)
    assert second.returncode == 2
    assert f"(process {first.pid})" in json.loads(second.stdout)["error"]
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=30) == 130
    assert json.loads(first.stdout.read()) == {"error": INTERRUPTED}  # and nothing that the library printed
    assert first.stderr.read().strip() == INTERRUPTED
    first.stdout.close()
    first.stderr.close()


def test_without_json_stdout_is_empty_of_errors(run: Run, tmp_path: Path) -> None:
    done = run("status", "-w", tmp_path)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)


def test_other_peoples_words_are_neither_markup_nor_orders(run: Run, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "odd.md"
    file.write_text("# Rules [bold red]of[/] :smile: the mill\n\nThe mill opens at five.\n")
    assert "“Rules [bold red]of[/] :smile: the mill”" in run("add", file, "-w", folder).out
    file.write_text("# Red \x1b[31malert\x07\n\nThe mill opens at six.\n")
    assert "“Red [31malert”" in run("add", file, "-w", folder).out
    assert Workspace.open(folder).records.documents()[0].title == "Rules [bold red]of[/] :smile: the mill"
