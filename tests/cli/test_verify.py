"""`gradatim verify` and `gradatim doctor`: findings, each with its remedy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.cli.doctor import available_memory
from gradatim.workspace import Workspace

Run = Callable[..., Any]


def test_a_whole_workspace(run: Run, folder: Path) -> None:
    ledger = Workspace.open(folder).ledger
    done = run("verify", "-w", folder, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.data == {"ok": True, "entries": ledger.size, "head": ledger.head, "problem": None}
    assert run("verify", "-w", folder).out == f"ok: {ledger.size} entries, head {ledger.head}\n"


def test_one_changed_byte(run: Run, folder: Path, handbook: Path) -> None:
    run("add", handbook, "-w", folder)
    record = Workspace.open(folder).records.documents()[0]
    (folder / "blobs" / record.blob).write_text("The mill opens at six.")
    done = run("verify", "-w", folder, "--json")
    assert (done.code, done.data["ok"]) == (2, False)
    assert f"blobs/{record.blob} does not match its digest" in done.data["problem"]
    assert run("verify", "-w", folder).out.startswith("PROBLEM: ")


def test_against_a_checkpoint_kept_elsewhere(run: Run, folder: Path, handbook: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "older")
    run("add", handbook, "-w", folder)
    shutil.copy(folder / "ledger" / "checkpoint", tmp_path / "kept")
    assert run("verify", "--trusted", tmp_path / "kept", "-w", folder).code == 0
    done = run("verify", "--trusted", tmp_path / "kept", "-w", tmp_path / "older", "--json")
    assert done.code == 2
    assert "was cut" in done.data["problem"]


def test_no_workspace(run: Run, tmp_path: Path) -> None:
    done = run("verify", "-w", tmp_path, "--json")
    assert (done.code, done.data["ok"]) == (2, False)
    assert "No ledger" in done.data["problem"]


def test_verifying_needs_no_torch(folder: Path) -> None:
    code = (
        f"import sys; sys.argv = ['gradatim', 'verify', '-w', {str(folder)!r}, '--json']\n"
        "from gradatim.cli.main import main\n"
        "try: main()\nfinally: print(sorted({'torch', 'numpy', 'sqlalchemy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


NAMES = ["python", "torch", "processor", "memory", "disk", "bundled model", "cache", "workspace"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADATIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def findings(data: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {each["name"]: each for each in data["findings"]}


def test_the_doctor_looks_at_everything(run: Run, folder: Path, cache: Path) -> None:
    done = run("doctor", "-w", folder, "--json")
    found = findings(done.data)
    assert list(found) == NAMES
    assert (done.code, done.data["ok"]) == (0, True)
    assert all(each["remedy"] for each in found.values() if each["state"] != "ok")
    assert found["cache"]["state"] == found["workspace"]["state"] == "ok"
    assert list(cache.iterdir()) == []
    assert len(run("doctor", "-w", folder).out.splitlines()) >= len(NAMES)


def test_the_doctor_without_a_workspace(run: Run, tmp_path: Path, cache: Path) -> None:
    done = run("doctor", "-w", tmp_path / "none" / "here", "--json")
    found = findings(done.data)
    assert (done.code, found["workspace"]["state"]) == (0, "warn")
    assert found["workspace"]["remedy"] == "make one: gradatim init"
    assert not (tmp_path / "none").exists()


def test_the_doctor_finds_what_is_broken(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRADATIM_CACHE", str(tmp_path / "file" / "cache"))
    (folder / "live").write_text("nonsense")
    done = run("doctor", "-w", folder, "--json")
    found = findings(done.data)
    assert (done.code, done.data["ok"]) == (2, False)
    assert (found["cache"]["state"], found["workspace"]["state"]) == ("fail", "fail")
    assert "GRADATIM_CACHE" in found["cache"]["remedy"]


def test_the_doctor_reads_the_charter(run: Run, folder: Path, cache: Path) -> None:
    (folder / "charter.toml").write_text("[gates]\n")
    done = run("doctor", "-w", folder, "--json")
    assert done.code == 2
    assert "gates is unknown" in findings(done.data)["workspace"]["detail"]


def test_the_container_counts_where_it_is_tighter(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:  8000 kB\nMemAvailable:    4000 kB\n")
    assert available_memory(tmp_path) == 4_096_000
    cgroup = tmp_path / "sys/fs/cgroup"
    cgroup.mkdir(parents=True)
    (cgroup / "memory.current").write_text("1000\n")
    (cgroup / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) == 4_096_000
    (cgroup / "memory.max").write_text("3000\n")
    assert available_memory(tmp_path) == 2000
