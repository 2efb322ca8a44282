"""The meter: seconds, tokens, joules, and what it leaves alone."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import codecarbon
import pytest

from gradatim.charter import Budget
from gradatim.types import Cost
from gradatim.watch.cost import Meter, exceeds


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(1000))


def test_seconds_and_tokens_of_the_block() -> None:
    with Meter() as meter:
        meter.add_tokens(7)
        time.sleep(0.2)
        meter.add_tokens(5)
    assert 0.2 <= meter.cost().seconds < 2
    assert meter.cost().tokens == 12


def test_the_cost_is_final_after_the_block() -> None:
    with Meter() as meter:
        busy(0.1)
    first = meter.cost()
    time.sleep(0.1)
    assert meter.cost() == first


def test_a_block_that_fails_has_cost_too() -> None:
    meter = Meter()

    def fails() -> None:
        with meter:
            meter.add_tokens(3)
            busy(0.1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert meter.cost().tokens == 3
    assert meter.cost().joules > 0


def test_joules_are_of_the_order_of_a_machine() -> None:
    with Meter() as meter:
        busy(0.5)
    watts = meter.cost().joules / meter.cost().seconds
    assert 1 < watts < 5_000
    assert meter.source in ("measured", "estimated")


def test_the_meter_can_be_read_while_it_runs() -> None:
    with Meter() as warm:  # codecarbon looks at the hardware once a process
        busy(0.1)
    assert warm.cost().joules > 0
    with Meter() as meter:
        readings = []
        for _ in range(4):
            busy(0.2)
            readings.append(meter.cost())
    readings.append(meter.cost())
    assert [cost.seconds for cost in readings] == sorted(cost.seconds for cost in readings)
    assert 0 < readings[0].joules < readings[-1].joules


class ScriptedTracker:
    """Reports one kilojoule in ten seconds, whatever happened."""

    def __init__(self, output_handlers: list[Any], **_: object) -> None:
        self.handler = output_handlers[0]

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def flush(self) -> None:
        reading = SimpleNamespace(energy_consumed=1_000 / 3_600_000, duration=10.0)
        self.handler.out(reading, reading)


def test_energy_is_mean_power_times_the_seconds_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecarbon, "OfflineEmissionsTracker", ScriptedTracker)
    with Meter() as meter:
        time.sleep(0.2)
    assert meter.cost().joules == pytest.approx(100 * meter.cost().seconds)


def test_an_empty_block_costs_nearly_nothing() -> None:
    with Meter() as meter:
        pass
    assert meter.cost().joules < 5


def test_meters_may_be_nested() -> None:
    with Meter() as outer:
        with Meter() as inner:
            busy(0.2)
        busy(0.2)
    assert outer.cost().seconds > inner.cost().seconds
    assert outer.cost().joules > inner.cost().joules > 0


def test_nothing_is_written_printed_or_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = "[codecarbon]\nsave_to_file = true\nsave_to_api = true\nemissions_endpoint = http://localhost:9\n"
    settings += "electricitymaps_api_token = secret\nlog_level = debug\n"
    (tmp_path / ".codecarbon.config").write_text(settings)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was opened"))
    with caplog.at_level(logging.DEBUG), Meter() as meter:
        busy(0.2)
    assert meter.cost().joules > 0
    assert [path.name for path in tmp_path.iterdir()] == [".codecarbon.config"]
    assert capfd.readouterr() == ("", "")


def test_without_a_reading_the_source_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecarbon.OfflineEmissionsTracker, "start", lambda _: None)
    with Meter() as meter:
        time.sleep(0.05)
    assert meter.source == "unknown"
    assert meter.cost().joules == 0
    assert meter.cost().seconds >= 0.05


@pytest.mark.parametrize(
    ("cost", "reason"),
    [
        (Cost(seconds=900, joules=60_000), None),
        (Cost(seconds=900.6, joules=0), "budget.seconds: 901 of 900 spent"),
        (Cost(seconds=0, joules=60_001), "budget.joules: 60,001 of 60,000 spent"),
        (Cost(seconds=0, tokens=10**9, joules=0), None),
    ],
)
def test_what_exceeds_a_budget(cost: Cost, reason: str | None) -> None:
    assert exceeds(cost, Budget(seconds=900, joules=60_000)) == reason
