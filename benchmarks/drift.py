"""The drift watch on simulated days: alarms on days like all others, and how long a real shift goes untold.

    python benchmarks/drift.py [--days 4000] [--shifts 100] [--users 2000] [--week]

Users differ, some come daily and some once a month, values have heavy tails and ties. Each day is held against up to 28
days before it, as a server does, at the defaults. Beside it, on the same replies in the same order, three streaming
detectors of river where it is installed (`pip install river`), one for each feature, at its own defaults; an alarm of
any feature on a day counts as one. Then shifts: from one day on, prompts are longer by a share. `--week` gives the
days of the week different prompts, which the watch's limits speak of. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from gradatim.watch.drift import FEATURES, TERMS, Sample, drifted

REFERENCE = 28
PER_DAY = 150
"""Subjects of a usual day, about; the share of the users who come."""


@dataclass(frozen=True)
class Day:
    """Each feature's values, one for each subject that came, with the subjects."""

    users: np.ndarray
    values: dict[str, np.ndarray]


def days(seed: int, users: int, shift: float = 0.0, at: int = 10**9, *, week: bool = False) -> Iterator[Day]:
    """Day after day; from day `at` on, prompts are longer by the share `shift`."""
    chance = np.random.default_rng(seed)
    often = chance.beta(0.4, 2.0, users)
    often *= PER_DAY / often.sum()
    size, mood = chance.normal(0, 0.7, users), chance.beta(4, 2, users)
    for number in range(10**9):
        came = np.flatnonzero(chance.random(users) < often)
        n = len(came)
        longer = (1 + shift * (number >= at)) * (0.8 if week and number % 7 >= 5 else 1.0)
        yield Day(
            came,
            {
                "prompt tokens": np.ceil(longer * chance.lognormal(3 + size[came], 0.6)),
                "reply tokens": np.minimum(np.ceil(chance.lognormal(4 + size[came] / 2, 0.6)), 200),
                "seconds": chance.gamma(2.0, 0.4, n),
                "errors": (chance.random(n) < 0.01).astype(float),
                "cut short": (chance.random(n) < 0.1).astype(float),
                "refusals": (chance.random(n) < 0.05).astype(float),
                "ratings": (chance.random(n) < mood[came]).astype(float),
                "corrections": (chance.random(n) < 0.02).astype(float),
            },
        )


class Ours:
    """`gradatim.watch.drift`, with the days that it looks back on."""

    def __init__(self) -> None:
        self._past: deque[Day] = deque(maxlen=REFERENCE)

    def alarm(self, day: Day) -> bool:
        found = False
        if self._past:
            users = np.concatenate([past.users for past in self._past])
            _, counts = np.unique(users, return_counts=True)
            effective = float(len(users) ** 2 / (counts**2).sum())
            before = {
                feature: Sample(np.concatenate([past.values[feature] for past in self._past]), effective)
                for feature in FEATURES
            }
            now = {feature: Sample(day.values[feature], float(len(day.users))) for feature in FEATURES}
            found = bool(drifted(before, now))
        self._past.append(day)
        return found


class Streaming:
    """A detector of river for each feature, fed with one value after another."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._detectors = {feature: make() for feature in FEATURES}

    def alarm(self, day: Day) -> bool:
        found = False
        for feature, detector in self._detectors.items():
            for value in day.values[feature]:
                detector.update(float(value))
                found = found or detector.drift_detected
        return found


def detectors() -> dict[str, Callable[[], Any]]:
    """What there is to compare."""
    made: dict[str, Callable[[], Any]] = {"gradatim": Ours}
    try:
        from river import drift
    except ImportError:
        print("river is not installed: nothing to compare with")
        return made
    made["river ADWIN"] = lambda: Streaming(drift.ADWIN)
    made["river KSWIN"] = lambda: Streaming(lambda: drift.KSWIN(seed=0))
    made["river PageHinkley"] = lambda: Streaming(drift.PageHinkley)
    return made


def false_alarms(make: Callable[[], Any], count: int, users: int, week: bool) -> dict[str, Any]:
    """Alarms a day, on days like all others; the first 28 are not counted."""
    detector, alarms = make(), 0
    for number, day in enumerate(days(0, users, week=week)):
        if number == REFERENCE + count:
            break
        alarms += detector.alarm(day) and number >= REFERENCE
    interval = binomtest(alarms, count).proportion_ci()
    return {"alarms": alarms, "days": count, "rate": alarms / count, "low": interval.low, "high": interval.high}


def delay(make: Callable[[], Any], shift: float, runs: int, users: int) -> dict[str, Any]:
    """Days of the shift that had gone by when it was told, and the share told within a fortnight."""
    told = []
    for seed in range(runs):
        detector = make()
        for number, day in enumerate(days(seed + 1, users, shift, REFERENCE)):
            alarm = detector.alarm(day)
            if number >= REFERENCE and (alarm or number == REFERENCE + 13):
                told.append(number - REFERENCE + 1 if alarm else None)
                break
    found = [each for each in told if each is not None]
    return {"shift": shift, "told": len(found) / runs, "median": statistics.median(found) if found else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=4000)
    parser.add_argument("--shifts", type=int, default=100)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--week", action="store_true")
    chosen = parser.parse_args()
    rows: dict[str, Any] = {}
    for name, make in detectors().items():
        began = time.monotonic()
        # An update of KSWIN is a test of its own: the others get as many days as show what they are.
        count = chosen.days if name == "gradatim" else min(chosen.days, 60)
        row: dict[str, Any] = {"null": false_alarms(make, count, chosen.users, chosen.week)}
        runs = chosen.shifts if name == "gradatim" else min(chosen.shifts, 5)
        row["shifts"] = [delay(make, shift, runs, chosen.users) for shift in (0.1, 0.25, 0.5, 1.0)]
        rows[name] = row
        null = row["null"]
        print(f"{name}: {null['alarms']} alarms on {count} days [{null['low']:.4f}, {null['high']:.4f}] a day")
        for one in row["shifts"]:
            print(f"    {one['shift']:+.0%}: told {one['told']:.0%}, median day {one['median']}")
        print(f"    {time.monotonic() - began:.0f} s", flush=True)
    print(json.dumps({"alpha": TERMS.alpha, "least_distance": TERMS.least_distance, "detectors": rows}))


if __name__ == "__main__":
    main()
