"""What work takes: seconds, tokens and joules.

    with Meter() as meter:
        meter.add_tokens(train())
        if reason := exceeds(meter.cost(), charter.budget): ...
    meter.cost()

The joules are codecarbon's, of the whole machine: the processor by its energy counter where there is one, NVIDIA and
AMD cards by theirs, memory always by a model. Without a counter, as in most virtual machines, the processor's share is
estimated from its rated power and its load; `source` says which. Nothing is sent, written or printed.

Limits: on a shared machine the neighbours' work is counted too, so a budget is kept on the safe side. codecarbon takes
about a second to look at the hardware, once a process, in the background: what it missed is filled in at the mean power
of the rest, and until its first reading, or when it fails, the joules are 0 and `source` is "unknown".
"""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Any, Literal

from gradatim.charter import Budget
from gradatim.types import Cost

Source = Literal["measured", "estimated", "unknown"]

JOULES_PER_KWH = 3_600_000.0

SHORTEST_READING = 0.05
"""Seconds that the energy must have been counted for before a mean power is taken from it."""


def exceeds(cost: Cost, budget: Budget) -> str | None:
    """Which bound of the budget is spent, as "budget.seconds: 912 of 900 spent", or None."""
    if cost.seconds > budget.seconds:
        return f"budget.seconds: {cost.seconds:,.0f} of {budget.seconds:,.0f} spent"
    if cost.joules > budget.joules:
        return f"budget.joules: {cost.joules:,.0f} of {budget.joules:,.0f} spent"
    return None


class Meter:
    """Measures one block of work; may be read while it runs. Tokens are the caller's to add."""

    def __init__(self) -> None:
        self._tokens = 0
        self._began: float | None = None
        self._final: Cost | None = None
        self._energy = _EnergyCounter()

    def __enter__(self) -> Meter:
        self._began = time.perf_counter()
        self._energy.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        seconds = self._seconds()
        self._final = Cost(seconds, self._tokens, self._energy.stop(seconds))

    def add_tokens(self, count: int) -> None:
        """Adds tokens that were read or written."""
        self._tokens += count

    def cost(self) -> Cost:
        """What the block has taken so far, or took in all once it is over."""
        if self._final:
            return self._final
        seconds = self._seconds()
        return Cost(seconds, self._tokens, self._energy.joules(seconds))

    @property
    def source(self) -> Source:
        """Whether the joules were measured by counters or estimated; "unknown" until the first reading."""
        return self._energy.source

    def _seconds(self) -> float:
        return 0.0 if self._began is None else time.perf_counter() - self._began


class _EnergyCounter:
    """codecarbon's tracker, started in the background. It is also the output handler that the tracker reports to."""

    def __init__(self) -> None:
        self.source: Source = "unknown"
        self._tracker: Any = None
        self._counted = False
        self._kwh = 0.0
        self._covered = 0.0
        self._thread = threading.Thread(target=self._start, name="energy counter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def joules(self, seconds: float) -> float:
        """The energy of the seconds since `start`, at the mean power of those that were counted."""
        if self._tracker is not None and not self._thread.is_alive():
            self._tracker.flush()
        if self._covered < SHORTEST_READING:
            return 0.0
        return self._kwh * JOULES_PER_KWH / self._covered * seconds

    def stop(self, seconds: float) -> float:
        """Waits until the start is over, and ends with a last reading of at least SHORTEST_READING."""
        self._thread.join()
        self.joules(seconds)
        if self._tracker is not None and self._covered < SHORTEST_READING:
            time.sleep(SHORTEST_READING)
        joules = self.joules(seconds)
        if self._tracker is not None:
            self._tracker.stop()
        return joules

    def _start(self) -> None:
        from codecarbon import OfflineEmissionsTracker
        from codecarbon.core.cpu import is_rapl_available
        from codecarbon.core.windows_emi import is_emi_available

        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
        # Each setting is given, so that no configuration file on the machine can turn on an output or a request.
        tracker = OfflineEmissionsTracker(
            country_iso_code="USA",
            allow_multiple_runs=True,
            api_call_interval=-1,
            electricitymaps_api_token=None,
            emissions_endpoint=None,
            force_carbon_intensity_g_co2e_kwh=0.0,
            log_level="critical",
            output_handlers=[self],
            output_methods=[],
            tracking_mode="machine",
        )
        self._counted = is_rapl_available() or is_emi_available()
        tracker.start()
        self._tracker = tracker

    # The tracker calls these three.

    def out(self, total: Any, delta: Any) -> None:
        self._kwh, self._covered = total.energy_consumed, total.duration
        self.source = "measured" if self._counted else "estimated"

    def live_out(self, total: Any, delta: Any) -> None:
        self.out(total, delta)

    def exit(self) -> None:
        """Nothing to close."""
