"""Figures and drawings: that what is written and drawn stands for the value, whatever the value is."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gradatim.dashboard import formats, plots
from gradatim.dashboard.traced import FILTERS, Traced
from tests.dashboard.page import stands_for

finite = some.floats(min_value=-1e6, max_value=1e6, allow_nan=False)
shares = some.floats(min_value=-1, max_value=1, allow_nan=False)
amounts = some.floats(min_value=0, max_value=1e7, allow_nan=False)


@given(finite)
def test_a_figure_is_a_rounding(value: float) -> None:
    assert stands_for(formats.figure(value), value)
    assert stands_for(formats.integer(value), value)


@given(shares)
def test_a_share_is_a_rounding(value: float) -> None:
    assert stands_for(formats.percent(value), value)
    assert stands_for(formats.points(value), value)
    assert formats.points(value)[0] in "+−"


@given(amounts)
def test_times_and_energies_are_roundings(value: float) -> None:
    assert stands_for(formats.seconds(value), value)
    assert stands_for(formats.joules(value), value)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 s"), (0.0844, "0.084 s"), (59.96, "1 min 00 s"), (252.4, "4 min 12 s"), (7530, "2 h 06 min")],
)
def test_how_times_are_written(seconds: float, written: str) -> None:
    assert formats.seconds(seconds) == written


def test_a_value_knows_its_place() -> None:
    value = Traced({"a/b": [{"c~d": 7}]}, "step")
    assert FILTERS["integer"](value["a/b"][0]["c~d"]) == (
        '<span data-from="step#/a~1b/0/c~0d" data-value="7" class="number">7</span>'
    )
    assert str(Traced({"t": "<b>"}, "s").t) == '<span data-from="s#/t">&lt;b&gt;</span>'
    with pytest.raises(TypeError, match="s#/n is no text"):
        str(Traced({"n": 7}, "s").n)
    with pytest.raises(AttributeError):
        _ = Traced({"n": 7}, "s").m


@pytest.mark.parametrize("number", [None, "NaN", "Infinity", True])
def test_what_is_no_number_is_written_as_it_is(number: Any) -> None:
    for name in ("figure", "percent", "points", "bare_points", "seconds", "joules", "integer"):
        assert ">" in FILTERS[name](Traced({"x": number}, "s").x)


def places(svg: str) -> list[float]:
    """Every percentage in a drawing."""
    return [float(place) for place in re.findall(r'="(-?[\d.]+)%"', svg)]


@given(shares, shares, shares, shares)
def test_an_interval_is_drawn_in_order_and_inside(one: float, two: float, three: float, limit: float) -> None:
    low, estimate, high = sorted((one, two, three))
    told = Traced({"low": low, "estimate": estimate, "high": high, "threshold": limit}, "s")
    svg = plots.interval(told.low, told.estimate, told.high, told.threshold, "pass")
    assert all(0 <= place <= 100 for place in places(svg))
    (left, right) = re.findall(r'class="span is-pass" x1="([\d.]+)%" y1="50%" x2="([\d.]+)%"', svg)[0]
    (middle,) = re.findall(r'<circle class="dot is-pass" cx="([\d.]+)%"', svg)
    assert float(left) <= float(middle) <= float(right)
    assert svg.count("style") == 0


def looks_of(*looks: tuple[float, str, float | None, float, float | None]) -> Traced:
    found = []
    for at, stage, low, estimate, high in looks:
        told = {"name": "goal", "low": low, "estimate": estimate, "high": high, "limit": -0.05}
        found.append({"at": at, "stage": stage, "share": 0.1, "evidence": [told | {"canary": 5, "baseline": 5}]})
    return Traced(found, "history#/looks")


def test_a_band_has_a_gap_where_the_evidence_starts_anew() -> None:
    looks = looks_of((0, "step", -1, 0, 1), (10, "step", -0.4, 0, 0.4), (20, "watch", None, 0.1, None))
    svg = plots.evidence_over_time(looks, "goal")
    assert svg.count('class="band"') == 2
    assert plots.evidence_over_time(looks, "other") == ""
    assert plots.evidence_over_time(Traced([], "history#/looks"), "goal") == ""


@given(some.lists(some.tuples(amounts, shares), min_size=1, max_size=8))
def test_curves_stay_within_their_frame(points: list[tuple[float, float]]) -> None:
    looks = looks_of(*((at, "step", mean - 0.1, mean, mean + 0.1) for at, mean in sorted(points)))
    svg = plots.evidence_over_time(looks, "goal") + plots.share_over_time(looks)
    pairs = [pair.split(",") for found in re.findall(r'points="([^"]*)"', svg) for pair in found.split()]
    assert all(0 <= float(x) <= plots.UNITS and 0 <= float(y) <= plots.UNITS for x, y in pairs)


@given(finite, some.floats(min_value=1e-6, max_value=1e6))
def test_ticks_are_few_and_within(low: float, width: float) -> None:
    axis = plots.Axis(low, low + width)
    ticks = axis.ticks()
    assert len(ticks) <= 7
    slack = 1e-6 * max(width, abs(low))
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)


def test_a_second_child_has_a_lane_of_its_own() -> None:
    releases = [
        {"id": letter * 64, "parent": parent and parent * 64, "state": "was live", "step": None}
        for letter, parent in (("a", None), ("b", "a"), ("c", "a"), ("d", "b"))
    ]
    svg = plots.lineage(Traced(releases, "releases#/releases"), "/ui")
    nodes = re.findall(r'<circle class="node is-was-live" cx="(\d+)" cy="(\d+)"', svg)
    d, c, b, a = [int(x) for x, _ in nodes]
    assert a == b == d < c
    assert [int(y) for _, y in nodes] == sorted(int(y) for _, y in nodes)
    assert svg.count('class="edge"') == 3


def test_a_loss_that_is_not_finite_is_left_out() -> None:
    assert plots.losses(Traced([4.0, "NaN", 1.0, 0.5], "s#/l")).count(",") == 3
    assert plots.losses(Traced([4.0], "s#/l")) == ""
    assert math.isnan(plots.number(Traced(None, "s#/x")))
