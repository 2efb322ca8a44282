"""Progress on stderr: bars with the time left for a person who watches, plain lines for a file or a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradatim.cli.reported import console
from gradatim.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Bars:
    """One bar for each phase; those that are over stay, with the time they took."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def phase(self, name: str, total: float | None = None) -> None:
        self.finish()
        self._task = self._bars.add_task(name, total=total)

    def advance(self, amount: float = 1.0) -> None:
        if self._task is not None:
            self._bars.advance(self._task, amount)

    def say(self, text: str) -> None:
        self._bars.console.print(text)

    def finish(self) -> None:
        """The present phase is over, whatever its bar says."""
        if self._task is not None:
            total = self._bars.tasks[self._task].total or 1.0
            self._bars.update(self._task, total=total, completed=total)
        self._task = None


class Lines:
    """A line for each phase."""

    def __init__(self, to: Console) -> None:
        self._console = to

    def phase(self, name: str, total: float | None = None) -> None:
        self._console.print(f"{name} ...")

    def advance(self, amount: float = 1.0) -> None:
        return

    def say(self, text: str) -> None:
        self._console.print(text)


@contextmanager
def progress(to: Console | None = None) -> Iterator[Progress]:
    """A display for one piece of long work, on stderr unless told otherwise."""
    shown = to or console(stderr=True)
    if not shown.is_terminal:
        yield Lines(shown)
        return
    with _bars(shown) as rich_progress:
        bars = Bars(rich_progress)
        yield bars
        bars.finish()


def _bars(shown: Console) -> RichProgress:
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        TextColumn("left", style="dim"),
        TimeRemainingColumn(compact=True),
        console=shown,
    )
