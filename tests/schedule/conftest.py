"""The workspace of the step's tests, and a scheduler whose steps are real and small."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.charter import DEFAULT_PATH
from gradatim.schedule.keeping import Scheduler
from gradatim.schedule.stepping import Share
from gradatim.workspace import Workspace
from tests.step.conftest import tiny_folder, workspace

__all__ = ["tiny_folder", "workspace"]

TAKER = (sys.executable, "-W", "ignore", "-m", "tests.schedule.taker")
EAGER = "[schedule]\nquiet_minutes = 0\nretry_minutes = 0\n"


def attempts(here: Workspace) -> list[dict[str, Any]]:
    """What each attempt at a step said of itself."""
    file = here.folder.parent / "attempts"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def events(here: Workspace) -> list[str]:
    """What the scheduler wrote into the ledger."""
    return [entry.body["event"] for entry in here.ledger.entries("schedule")]


@pytest.fixture
def charter(workspace: Workspace) -> Callable[..., None]:
    """Writes the charter: [schedule] with nothing to wait for, and what else is said."""

    def write(more: str = "", before: str = "") -> None:
        workspace.charter_path.write_text(f"{before}\n{EAGER}{more}\n", "utf-8")

    write()
    return write


@pytest.fixture
def following(workspace: Workspace) -> Callable[..., None]:
    """Says what becomes of the next attempts."""

    def write(**what: Any) -> None:
        (workspace.folder.parent / "next").write_text(json.dumps(what), "utf-8")

    return write


@pytest.fixture
def scheduler(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Scheduler:
    monkeypatch.setenv("GRADATIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    (tmp_path_factory.getbasetemp() / "cache").mkdir(exist_ok=True)
    monkeypatch.chdir(Path(DEFAULT_PATH).parents[1])
    return Scheduler(workspace, Share(), command=TAKER, every=0.05)
