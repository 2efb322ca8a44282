"""One step in a process of its own, with little priority: `python -m gradatim.schedule.stepping DIR`.

A crash, or the system's killer of processes that take too much memory, ends the step and not the scheduler, and
what the step held is given back when it is over. What it says goes to `step.log` in the workspace; how it ended is in
the ledger, and in the exit code:

    0   it is over, or there was nothing to do     2   a person can mend it: the last line says what
    3   another step is running                    otherwise it broke off

Beside a server it takes what is left: a niceness, and one thread fewer than there are processors. Where Linux shares
time among sessions first (autogroup), the niceness of a process alone says nothing to another session, so the step
gets a session of its own and that is given the niceness too. Limits: memory and memory bandwidth are shared as ever.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gradatim.errors import GradatimError, InputError, WorkspaceError
from gradatim.store.clock import now

LOG = "step.log"
NICENESS = 10
BUSY = 3
KILL_SECONDS = 20.0
"""How long a step that is told to end has before it is killed: it loses nothing by either."""

_VARIABLE = "GRADATIM_STEP_NICENESS"
COMMAND = (sys.executable, "-P", "-m", "gradatim.schedule.stepping")


@dataclass(frozen=True, slots=True)
class Share:
    """What of the machine a step may take."""

    niceness: int = NICENESS
    threads: int = 0  # 0: one fewer than there are processors

    def __post_init__(self) -> None:
        if not 0 <= self.niceness <= 19:
            raise InputError(f"A niceness is from 0 to 19, not {self.niceness}")
        if self.threads < 0:
            raise InputError(f"A step needs a thread, not {self.threads}")

    def environment(self) -> dict[str, str]:
        """This process's, with what the child is to heed."""
        threads = self.threads or max(1, processors() - 1)
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        return dict(os.environ) | limits | {_VARIABLE: str(self.niceness)}


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Stepping:
    """A step under way in a child. `command` is what takes a step in the folder that is its last argument."""

    def __init__(self, folder: Path, share: Share, command: Sequence[str] = COMMAND) -> None:
        self._log = folder / LOG
        self._began = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=share.environment(),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def ended(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def end(self) -> int:
        """Tell it to end, and see to it that it does: the exit code."""
        self._process.terminate()
        try:
            return self._process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def said(self) -> str:
        """The last line that it wrote, shortened."""
        lines = self._log.read_text("utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip()[:500] if lines else ""


class _Log:
    """What a step tells, a line each, with the time."""

    def phase(self, name: str, total: float | None = None) -> None:
        self.say(f"{name} ...")

    def advance(self, amount: float = 1.0) -> None:
        return

    def say(self, text: str) -> None:
        sys.stdout.write(f"{now()} {text}\n")
        sys.stdout.flush()


def step_back() -> None:
    """Leave the processors to others where they want them; nothing here is worth failing for."""
    niceness = int(os.environ.get(_VARIABLE, NICENESS))
    with suppress(OSError):
        os.nice(niceness)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness), "ascii")


def take(folder: Path) -> int:
    """Take one step, or finish the one that was cut short: the exit code."""
    from gradatim.step import take_step
    from gradatim.workspace import Workspace

    log = _Log()
    try:
        workspace = Workspace.open(folder)
        try:
            report = take_step(workspace, progress=log)
        except WorkspaceError:
            if workspace.stepping() is None:
                raise
            log.say(f"process {workspace.stepping()} takes a step")
            return BUSY
    except GradatimError as error:
        log.say(f"error: {error}")
        return GradatimError.exit_code
    log.say(f"{report.step or 'no step'}: {report.outcome}; {report.reason}")
    return 0


if __name__ == "__main__":
    step_back()
    sys.exit(take(Path(sys.argv[1])))
