"""Workspaces: made whole or not at all, opened with clear words, one step at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

import gradatim
from gradatim.errors import IntegrityError, WorkspaceError
from gradatim.ledger.verify import verify_workspace
from gradatim.workspace import Workspace

ROOT = Path(gradatim.__file__).parent.parent
BASE = {"source": "bundled", "digest": "b" * 64, "kind": "bundled"}
LAYOUT = {"adapters", "blobs", "charter.toml", "ledger", "live", "workspace.json"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "here" / "workspace", BASE, "name = 'tëst'\n")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_workspace_serves_its_base(workspace: Workspace) -> None:
    opened = Workspace.open(workspace.folder)
    assert opened.base == BASE
    assert opened.charter_path.read_text(encoding="utf-8") == "name = 'tëst'\n"
    live = opened.registry.live()
    assert (live.base, live.adapters, live.parent, live.step) == (BASE["digest"], (), None, None)
    assert [entry.kind for entry in opened.ledger.entries()] == ["init", "release", "promote"]
    assert names(workspace.folder) == LAYOUT
    assert names(workspace.folder.parent) == {"workspace"}
    assert verify_workspace(workspace.folder).ok


def test_opening_needs_no_sqlalchemy_until_records_are_used(workspace: Workspace) -> None:
    code = (
        "import sys; from pathlib import Path; from gradatim.workspace import Workspace;"
        f"workspace = Workspace.open(Path({str(workspace.folder)!r}));"
        "print(sorted({'torch', 'numpy', 'sqlalchemy', 'alembic'} & set(sys.modules)));"
        "print(workspace.records.outcomes(), workspace.records is workspace.records)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[] True"]


def test_a_workspace_is_not_made_twice(workspace: Workspace) -> None:
    head = workspace.ledger.head
    with pytest.raises(WorkspaceError, match="is a workspace already"):
        Workspace.create(workspace.folder, BASE, "")
    assert Workspace.open(workspace.folder).ledger.head == head


def test_no_workspace_says_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(WorkspaceError, match=f"No workspace in {folder}: run `gradatim init {folder}` first"):
            Workspace.open(folder)


def test_an_empty_folder_becomes_a_workspace(tmp_path: Path) -> None:
    Workspace.create(tmp_path, BASE, "")
    assert names(tmp_path) == LAYOUT
    assert verify_workspace(tmp_path).ok


def test_a_folder_with_other_things_becomes_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "handbook.md").write_text("mine")
    Workspace.create(tmp_path, BASE, "")
    assert names(tmp_path) == LAYOUT | {"handbook.md"}
    assert (tmp_path / "handbook.md").read_text() == "mine"
    assert verify_workspace(tmp_path).ok


@pytest.mark.parametrize("name", ["charter.toml", "ledger", "live"])
def test_files_of_the_same_names_are_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(WorkspaceError, match=f"already holds {name}"):
        Workspace.create(tmp_path, BASE, "")
    assert names(tmp_path) == {name}
    assert (tmp_path / name).read_text() == "mine"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="is a file"):
        Workspace.create(tmp_path / "file", BASE, "")
    with pytest.raises(WorkspaceError, match="Can't make a workspace in"):
        Workspace.create(tmp_path / "file" / "below", BASE, "")


@pytest.mark.parametrize("occupied", [False, True])
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, occupied: bool) -> None:
    for after in count():
        folder = tmp_path / str(after) / "workspace"
        folder.parent.mkdir()
        if occupied:
            folder.mkdir()
            (folder / "mine.txt").write_text("mine")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_after(after))
            problem = ""
            try:
                Workspace.create(folder, BASE, "")
            except WorkspaceError as error:
                problem = str(error)
        if not problem:
            break
        assert "No space left on device" in problem
        if not (folder / "workspace.json").exists():
            assert names(folder.parent) == ({"workspace"} if occupied else set())
            assert not occupied or names(folder) == {"mine.txt"}
            Workspace.create(folder, BASE, "")
        assert verify_workspace(folder).ok
    assert after > 20


def full_after(calls: int) -> Callable[[int], None]:
    """An `os.fsync` that finds the disk full after so many calls."""
    done = count()

    def fsync(_: int) -> None:
        if next(done) >= calls:
            raise OSError(errno.ENOSPC, "No space left on device")

    return fsync


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format":1}'])
def test_damaged_settings_are_named(workspace: Workspace, text: str) -> None:
    (workspace.folder / "workspace.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"workspace\.json is damaged"):
        Workspace.open(workspace.folder)


def test_a_newer_format_is_refused(workspace: Workspace) -> None:
    (workspace.folder / "workspace.json").write_text('{"base":{},"format":2}')
    with pytest.raises(WorkspaceError, match="format 2"):
        Workspace.open(workspace.folder)


def test_only_one_step_runs(workspace: Workspace) -> None:
    other = Workspace.open(workspace.folder)
    with (
        workspace.lock(),
        pytest.raises(WorkspaceError, match=rf"Another step is running .*\(process {os.getpid()}\)"),
        other.lock(),
    ):
        pass
    with other.lock():
        assert (workspace.folder / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_of_a_killed_process_is_free(workspace: Workspace) -> None:
    code = (
        "import os, sys; from pathlib import Path; from gradatim.workspace import Workspace\n"
        "with Workspace.open(Path(sys.argv[1])).lock():\n    print(os.getpid(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(workspace.folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as child:  # type: ignore[call-overload]
        process = child.stdout.readline().strip()
        with pytest.raises(WorkspaceError, match=rf"\(process {process}\)"), workspace.lock():
            pass
        child.kill()
        child.wait()
    with workspace.lock():
        assert (workspace.folder / "lock").read_text() == f"{os.getpid()}\n"
