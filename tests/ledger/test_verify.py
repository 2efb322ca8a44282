"""Offline verification: any byte that changes in a workspace is reported, and named."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gradatim
from gradatim.errors import IntegrityError
from gradatim.ledger import Ledger
from gradatim.ledger.verify import verify_workspace
from gradatim.workspace import Workspace

ROOT = Path(gradatim.__file__).parent.parent
BASE = {"source": "bundled", "digest": "b" * 64, "kind": "bundled"}
UNCOVERED = {"charter.toml", "lock", "records.sqlite"}


def make_workspace(folder: Path, source: Path) -> Workspace:
    """A small workspace with two releases, an adapter, and a finished step."""
    workspace = Workspace.create(folder, BASE, "")
    source.mkdir()
    (source / "adapter_model.safetensors").write_bytes(bytes(range(200)))
    (source / "adapter_config.json").write_text("{}")
    adapter = workspace.adapters.add(source)
    verdict = workspace.blobs.put_json({"outcome": "pass"})
    ledger, registry = workspace.ledger, workspace.registry
    ledger.append("phase", {"step": "step-0001", "phase": "judge", "result": verdict, "seconds": 0.0})
    release = registry.create(base=BASE["digest"], adapters=(adapter,), step="step-0001", verdict=verdict)
    registry.promote(release.id, "passed", "test")
    ledger.append("step-finished", {"step": "step-0001", "outcome": "promoted", "result": verdict})
    return workspace


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    return make_workspace(folder / "workspace", folder / "trained").folder


@pytest.fixture
def workspace(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "workspace")


def covered_files(workspace: Path) -> list[Path]:
    return sorted(path for path in workspace.rglob("*") if path.is_file() and path.name not in UNCOVERED)


def test_a_good_workspace_is_found_good(workspace: Path) -> None:
    result = verify_workspace(workspace)
    ledger = Ledger.open(workspace / "ledger")
    assert (result.ok, result.problem) == (True, None)
    assert (result.entries, result.head) == (ledger.size, ledger.head)
    assert len(covered_files(workspace)) >= 13


def test_verifying_changes_nothing(workspace: Path) -> None:
    before = {path: path.read_bytes() for path in covered_files(workspace)}
    assert verify_workspace(workspace).ok
    assert {path: path.read_bytes() for path in covered_files(workspace)} == before


def test_a_flipped_byte_in_any_file_is_reported_and_named(workspace: Path) -> None:
    draw = random.Random(0)
    for path in covered_files(workspace):
        data = path.read_bytes()
        name = str(path.relative_to(workspace))
        positions = {0, len(data) - 1, *(draw.randrange(len(data)) for _ in range(12))}
        for position in positions:
            flipped = bytes([data[position] ^ (1 << draw.randrange(8))])
            path.write_bytes(data[:position] + flipped + data[position + 1 :])
            result = verify_workspace(workspace)
            assert not result.ok, f"{name} byte {position}"
            assert result.problem is not None
            wanted = ("ledger/checkpoint", "ledger/key.pub") if name.startswith("ledger/") else ()
            assert any(each in result.problem for each in (name, *wanted)), f"{name}: {result.problem}"
        path.write_bytes(data)
    assert verify_workspace(workspace).ok


def test_the_flipped_entry_is_named(workspace: Path) -> None:
    path = workspace / "ledger" / "log.jsonl"
    data = path.read_bytes()
    starts = [0, *(match.end() for match in re.finditer(b"\n", data))]
    for position in [*range(0, len(data), 7), len(data) - 1]:
        entry = sum(start <= position for start in starts) - 1
        path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        assert f"log.jsonl entry {entry} " in (verify_workspace(workspace).problem or "")


def test_every_missing_file_is_reported(workspace: Path) -> None:
    for path in covered_files(workspace):
        if path.name != "key.pem":
            data = path.read_bytes()
            path.unlink()
            assert not verify_workspace(workspace).ok, path
            path.write_bytes(data)
    assert verify_workspace(workspace).ok


def test_the_private_key_may_be_kept_elsewhere(workspace: Path) -> None:
    (workspace / "ledger" / "key.pem").unlink()
    assert verify_workspace(workspace).ok


@pytest.mark.parametrize("name", ["adapters", "blobs", "ledger"])
def test_a_missing_store_is_reported(workspace: Path, name: str) -> None:
    shutil.rmtree(workspace / name)
    result = verify_workspace(workspace)
    assert not result.ok
    assert name in (result.problem or "")


def test_what_does_not_belong_is_reported(workspace: Path) -> None:
    (workspace / "blobs" / "readme.txt").write_text("")
    assert "blobs/readme.txt is not named by a digest" in (verify_workspace(workspace).problem or "")


def test_an_added_entry_is_reported(workspace: Path) -> None:
    with (workspace / "ledger" / "log.jsonl").open("ab") as log:
        log.write(b'{"at":"","body":{},"index":9,"kind":"forged"}\n')
    assert "goes on after" in (verify_workspace(workspace).problem or "")


def test_a_trusted_checkpoint_shows_that_the_log_only_grew(workspace: Path, tmp_path: Path) -> None:
    trusted = Path(shutil.copy(workspace / "ledger" / "checkpoint", tmp_path / "trusted"))
    assert verify_workspace(workspace, trusted).ok
    Ledger.open(workspace / "ledger").append("more", {})
    assert verify_workspace(workspace, trusted).ok


def test_a_trusted_checkpoint_shows_that_the_log_was_cut(workspace: Path, tmp_path: Path) -> None:
    older = shutil.copytree(workspace, tmp_path / "older")
    Ledger.open(workspace / "ledger").append("more", {})
    result = verify_workspace(older, workspace / "ledger" / "checkpoint")
    assert "was cut" in (result.problem or "")


def test_a_trusted_checkpoint_shows_that_the_log_was_rewritten(workspace: Path, tmp_path: Path) -> None:
    other = shutil.copytree(workspace, tmp_path / "other")
    for folder, word in ((workspace, "one"), (other, "another")):
        Ledger.open(folder / "ledger").append("said", {"word": word})
    Ledger.open(other / "ledger").append("said", {})
    assert verify_workspace(other).ok
    result = verify_workspace(other, workspace / "ledger" / "checkpoint")
    assert "was rewritten" in (result.problem or "")


def test_a_trusted_checkpoint_of_another_key_is_refused(workspace: Path, tmp_path: Path) -> None:
    Ledger.create(tmp_path / "ledger")
    result = verify_workspace(workspace, tmp_path / "ledger" / "checkpoint")
    assert "does not carry a signature" in (result.problem or "")
    assert "No checkpoint at" in (verify_workspace(workspace, tmp_path / "nowhere").problem or "")


def test_a_folder_without_a_ledger_is_no_workspace(tmp_path: Path) -> None:
    assert "No ledger in" in (verify_workspace(tmp_path).problem or "")


def test_it_imports_nothing_heavy(workspace: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gradatim.ledger.verify import verify_workspace;"
        f"print(verify_workspace(Path({str(workspace)!r})).ok,"
        " sorted({'torch', 'numpy', 'sqlalchemy', 'alembic', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


def test_it_is_a_command(workspace: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "gradatim.ledger.verify", str(workspace)]
    good = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert good.returncode == 0
    assert re.fullmatch(r"ok: \d+ entries, head [0-9a-f]{64}\n", good.stdout)
    (workspace / "live").write_text("nobody\n")
    bad = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert bad.returncode == IntegrityError.exit_code
    assert bad.stdout.startswith("PROBLEM: live does not name")
