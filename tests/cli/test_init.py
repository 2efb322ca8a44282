"""`gradatim init`: a model that loads, or one line that says why not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.charter import Charter
from gradatim.ledger.verify import verify_workspace
from gradatim.workspace import Workspace

Run = Callable[..., Any]


def test_a_workspace_around_a_model(
    run: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_model.parent)
    folder = tmp_path / "new"
    done = run("init", folder, "--model", tiny_model.name, "--json")
    assert done.code == 0, done.err
    made = Workspace.open(folder)
    assert done.data == {
        "workspace": str(folder),
        "model": str(tiny_model),  # found again from any folder
        "base": made.base["digest"],
        "release": made.registry.live_id(),
    }
    assert len(made.base["digest"]) == 64
    assert made.registry.live().adapters == ()
    assert Charter.load(made.charter_path).digest == Charter.default().digest
    assert verify_workspace(folder).ok


def test_the_default_folder_is_where_the_others_look(
    run: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init", "--model", tiny_model).code == 0
    status = run("status", "--json")
    assert status.data["model"] == str(tiny_model)
    assert (tmp_path / ".gradatim" / "workspace.json").is_file()


def test_twice_is_refused_before_the_model_is_loaded(run: Run, folder: Path) -> None:
    done = run("init", folder, "--model", "no-such-model", "--json")
    assert done.code == 2
    assert done.data == {"error": f"{folder} is a workspace already: use it, or choose another folder"}
    assert done.err == f"error: {done.data['error']}\n"


@pytest.fixture
def broken(tmp_path: Path, tiny_model: Path) -> dict[str, Path]:
    """Things that look like models."""
    text, cut, bare, corrupt = (tmp_path / name for name in ("notes.gguf", "cut.gguf", "bare", "corrupt"))
    text.write_text("no model at all")
    cut.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 40)
    bare.mkdir()
    corrupt.mkdir()
    for file in tiny_model.iterdir():
        data = file.read_bytes()
        (corrupt / file.name).write_bytes(data[:200] if file.suffix == ".safetensors" else data)
    return {"text": text, "cut": cut, "bare": bare, "corrupt": corrupt, "missing": tmp_path / "a" / "b" / "missing"}


@pytest.mark.parametrize("which", ["text", "cut", "bare", "corrupt", "missing"])
def test_no_model_no_workspace(run: Run, broken: dict[str, Path], which: str, tmp_path: Path) -> None:
    done = run("init", tmp_path / "new", "--model", broken[which], "--json")
    assert done.code == 2
    assert broken[which].name in done.data["error"]
    assert done.err.splitlines()[-1] == f"error: {done.data['error']}"
    assert not (tmp_path / "new").exists()


def test_an_unknown_model_id(tmp_path: Path, offline: dict[str, str]) -> None:
    arguments = ["init", str(tmp_path / "new"), "--model", "nobody/no-such-model-at-all", "--json"]
    code = f"import sys; sys.argv = ['gradatim', *{arguments!r}]\nfrom gradatim.cli.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "nobody/no-such-model-at-all" in json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()
