"""Where the demo may work: a folder of its own, which the next demo replaces, and nothing else's."""

from __future__ import annotations

import shutil
from pathlib import Path

from gradatim.errors import GradatimError, InputError, WorkspaceError

MARKER = "gradatim-demo.txt"


def prepare(folder: Path) -> None:
    """A folder for the demo alone; a former demo is replaced, anything else is refused."""
    real = folder.resolve()
    if folder.exists():
        if not (folder / MARKER).is_file() and not _is_empty(folder):
            raise WorkspaceError(f"{folder} exists and is no former demo: name another folder with --keep DIR")
        _refuse_busy(folder)
        shutil.rmtree(real)
    real.mkdir(parents=True)
    (real / MARKER).write_text("Made by `gradatim demo`, which replaces this folder when it runs again.\n", "utf-8")


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def refuse_unwritable(report: Path) -> None:
    """Say so now, and not after the step: InputError when the report can't be written where it should go."""
    if report.is_dir():
        raise InputError(f"{report}: is a folder; name a file with --report")
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.touch()
    except OSError as error:
        raise InputError(f"{report}: can't be written ({error.strerror}); name another file with --report") from error


def _refuse_busy(folder: Path) -> None:
    """WorkspaceError when a step runs there; a former demo that can't even be opened is not busy."""
    from gradatim.workspace import Workspace

    try:
        workspace = Workspace.open(folder)
    except GradatimError:
        return
    with workspace.lock():
        return
