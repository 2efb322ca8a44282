"""Kill the process anywhere: what was acknowledged is there, and what is there is good.

Two ways. `dies_at` forks a child that kills itself with SIGKILL at its n-th call that changes the disk, for every n,
tearing the write it dies in. And a real `kill -9` from outside, at moments nobody chose.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import gradatim
from gradatim.errors import WorkspaceError
from gradatim.journal import Journal
from gradatim.ledger import Ledger
from gradatim.ledger.verify import verify_workspace
from gradatim.workspace import Workspace

ROOT = Path(gradatim.__file__).parent.parent
BASE = {"source": "bundled", "digest": "b" * 64, "kind": "bundled"}
CALLS = ("write", "fsync", "replace", "rename", "ftruncate", "mkdir", "unlink")


def dies_at(number: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is killed at its n-th call of CALLS; False when it finished before."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _arm(number)
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _arm(number: int) -> None:
    calls = count()

    def deadly(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(calls) == number:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    for name in CALLS:
        setattr(os, name, deadly(name, getattr(os, name)))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that the kernel has: here, waiting for the disk would only take time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "workspace", BASE, "")
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "adapter_model.safetensors").write_bytes(bytes(range(200)))
    return made


def test_killed_while_appending(workspace: Workspace) -> None:
    for number in count():
        before = workspace.ledger.size
        died = dies_at(number, lambda: workspace.ledger.append("kind", {"text": "x" * 100}))
        reopened = Ledger.open(workspace.folder / "ledger")
        assert reopened.size in (before, before + 1)
        assert verify_workspace(workspace.folder).ok
        if not died:
            break
    assert number >= 8
    assert workspace.ledger.append("after", {}).index == before + 1
    assert reopened.size == before + 2


def test_killed_while_an_open_ledger_looks_on(workspace: Workspace) -> None:
    for number in range(9):
        assert dies_at(number, lambda: workspace.ledger.append("kind", {}))
        entry = workspace.ledger.append("mine", {})
        assert entry.index + 1 == workspace.ledger.size
        assert verify_workspace(workspace.folder).ok


def test_killed_while_creating_a_ledger(tmp_path: Path) -> None:
    for number in count():
        folder = tmp_path / f"ledger-{number}"
        died = dies_at(number, partial(Ledger.create, folder))
        assert not folder.exists() or Ledger.open(folder).size == 0
        if not died:
            break
    assert folder.exists()
    assert number >= 12


@pytest.mark.parametrize("occupied", [False, True])
def test_killed_while_creating_a_workspace(tmp_path: Path, occupied: bool) -> None:
    for number in count():
        folder = tmp_path / f"workspace-{number}"
        if occupied:
            folder.mkdir()
            (folder / "mine.txt").write_text("mine")
        died = dies_at(number, partial(Workspace.create, folder, BASE, ""))
        if not (folder / "workspace.json").exists():
            with pytest.raises(WorkspaceError, match="No workspace in"):
                Workspace.open(folder)
            Workspace.create(folder, BASE, "")
        Workspace.open(folder)
        assert verify_workspace(folder).ok
        assert (folder / "mine.txt").exists() == occupied
        if not died:
            break
    assert number >= 40


def test_killed_while_releasing(workspace: Workspace, tmp_path: Path) -> None:
    first = workspace.registry.live().id

    def release(step: str) -> None:
        again = Workspace.open(workspace.folder)
        adapter = again.adapters.add(tmp_path / "trained")
        made = again.registry.create(base=BASE["digest"], adapters=(adapter,), step=step, verdict=None)
        again.registry.promote(made.id, "passed", "test")

    for number in count():
        step = f"step-{number}"
        died = dies_at(number, partial(release, step))
        reopened = Workspace.open(workspace.folder)
        assert verify_workspace(workspace.folder).ok
        release(step)
        assert [r.step for r in reopened.registry.releases()].count(step) == 1
        assert reopened.registry.live().step == step
        assert (workspace.folder / "live").read_text().strip() == reopened.registry.live().id
        if not died:
            break
        reopened.registry.rollback(first)
    assert number >= 20


def test_killed_within_a_step(workspace: Workspace, tmp_path: Path) -> None:
    """However often it is killed, the step ends with the same result, and no finished phase runs twice."""
    ran = tmp_path / "ran"

    def work(name: str) -> int:
        with ran.open("a") as notes:
            notes.write(f"{name} {len(list(workspace.ledger.entries('phase')))}\n")
        return len(name)

    def step() -> None:
        journal = Journal.begin_or_resume(workspace.ledger, workspace.blobs, {"names": ["learn", "judge"]})
        total = sum(journal.phase(name, int, partial(work, name)) for name in journal.inputs["names"])
        journal.finish("promoted", workspace.blobs.put_json(total))

    for number in count():
        died = dies_at(number, step)
        workspace = Workspace.open(workspace.folder)
        step()
        finished = list(workspace.ledger.entries("step-finished"))
        phases = [(e.body["step"], e.body["phase"]) for e in workspace.ledger.entries("phase")]
        assert len(phases) == len(set(phases)) == 2 * len(finished)
        assert {workspace.blobs.get_json(e.body["result"], int) for e in finished} == {10}
        assert verify_workspace(workspace.folder).ok
        if not died:
            break
    assert number >= 20
    assert [line.split()[0] for line in ran.read_text().splitlines()][-2:] == ["learn", "judge"]


APPEND = """
import sys; from pathlib import Path; from gradatim.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]))
for number in range(10**6):
    print(workspace.ledger.append("kind", {"number": number}).index, flush=True)
"""
PROMOTE = """
import sys; from pathlib import Path; from gradatim.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]))
releases = [release.id for release in workspace.registry.releases()]
for number in range(10**6):
    workspace.registry.promote(releases[number % 2], "turn", "test")
    print(len(workspace.registry.history()), flush=True)
"""


def kill_after(lines: int, code: str, folder: Path) -> str:
    """Start a child, kill it after it has acknowledged so many times, and return the last acknowledgement."""
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.kill()
        rest = child.stdout.read().splitlines()
    return rest[-1] if rest and rest[-1].isdigit() else ""


@pytest.mark.parametrize("seed", range(5))
def test_kill_minus_nine_while_appending(workspace: Workspace, seed: int) -> None:
    lines = random.Random(seed).randrange(1, 12)
    before = workspace.ledger.size
    last = kill_after(lines, APPEND, workspace.folder)
    reopened = Workspace.open(workspace.folder)
    assert reopened.ledger.size >= max(before + lines, int(last or 0) + 1)
    assert verify_workspace(workspace.folder).ok


@pytest.mark.parametrize("seed", range(5))
def test_kill_minus_nine_while_promoting(workspace: Workspace, seed: int) -> None:
    lines = random.Random(seed).randrange(1, 12)
    workspace.registry.create(base=BASE["digest"], step="step-0001")
    last = kill_after(lines, PROMOTE, workspace.folder)
    registry = Workspace.open(workspace.folder).registry
    assert len(registry.history()) >= max(lines, int(last or 0))
    assert (workspace.folder / "live").read_text() == f"{registry.live().id}\n"
    assert verify_workspace(workspace.folder).ok
