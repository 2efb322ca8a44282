"""Drawings: small functions from traced values to SVG, in the page's own colours through CSS classes.

Nothing is scaled: places along an axis are percentages, sizes are pixels, so that type and strokes keep their size
from a telephone to a wall. Curves, which know no percentages, lie in an inner frame of 1000 by 1000 units that is
stretched. The figures beside a drawing are the page's; those inside carry their place in the API's answer, except the
ticks of an axis (class `tick`), which are no figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from markupsafe import Markup

from gradatim.dashboard import formats
from gradatim.dashboard.traced import Traced, place, plain

UNITS = 1000
EPOCHS = {"shadow": "shadow", "step": "steps", "watch": "watch"}
"""Evidence starts anew where the stage's epoch changes."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to percentages of a length."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, in percent; what is beyond an end lies on it."""
        width = self.high - self.low
        share = (value - self.low) / width if width > 0 else 0.5
        return round(100 * min(max(share, 0.0), 1.0), 3)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values along it."""
        raw = (self.high - self.low) / most
        if raw <= 0:
            return [self.low]
        power = 10 ** math.floor(math.log10(raw))
        step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def around(values: Iterable[float], room: float = 0.08) -> Axis:
    """An axis that holds these values with some room."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    margin = (high - low) * room or abs(high) * room or 1.0
    return Axis(low - margin, high + margin)


# ------------------------------------------------------------------ one interval


def interval(low: Traced, estimate: Traced, high: Traced, limit: Traced, outcome: str) -> Markup:
    """An estimate with its interval, the limit that it is held against, and zero."""
    values = [number(low), number(estimate), number(high), number(limit), 0.0]
    axis = around(values)
    left = axis.at(values[0]) if math.isfinite(values[0]) else 0.0
    right = axis.at(values[2]) if math.isfinite(values[2]) else 100.0
    parts = [
        _line(0, 50, 100, 50, "axis"),
        _line(axis.at(0), 22, axis.at(0), 78, "zero"),
        _line(axis.at(values[3]), 5, axis.at(values[3]), 95, "limit"),
        _line(left, 50, right, 50, f"span is-{outcome}"),
    ]
    parts += [_line(end, 32, end, 68, f"end is-{outcome}") for end in (left, right)]
    if math.isfinite(values[1]):
        parts.append(_dot(axis.at(values[1]), 50, 5, f"is-{outcome}"))
    marks = " ".join(place(each) for each in (low, estimate, high, limit))
    return Markup('<svg class="strip" aria-hidden="true" data-drawn="{}">{}</svg>').format(
        marks, Markup("").join(parts)
    )


# ------------------------------------------------------------------ evidence over time


def evidence_over_time(looks: Traced, name: str) -> Markup:
    """One test of a rollout over time: its estimate, its band, its limit; a gap where the evidence started anew."""
    points = [point for look in looks for point in _points(look, name)]
    if not points:
        return Markup("")
    time = _time_axis([point.at for point in points])
    value = _value_axis(points)
    curves: list[Markup] = []
    for _, group in groupby(points, key=lambda point: point.epoch):
        curves += _band(list(group), time, value)
    limits = [
        Markup('<polyline class="limit" points="{}"/>').format(
            _polyline(_stairs([(time.at(point.at), 100 - value.at(point.limit)) for point in points]))
        )
    ]
    return _plot(name, [*limits, *curves], time, value)


def share_over_time(looks: Traced) -> Markup:
    """What share of the users met the candidate."""
    found = [(float(plain(look)["at"]), float(plain(look)["share"])) for look in looks]
    if not found:
        return Markup("")
    time, value = _time_axis([at for at, _ in found]), Axis(0.0, 1.0)
    stairs = _stairs([(time.at(at), 100 - value.at(share)) for at, share in found])
    area = [(stairs[0][0], 100.0), *stairs, (stairs[-1][0], 100.0)]
    curves = [
        Markup('<polygon class="area" points="{}"/>').format(_polyline(area)),
        Markup('<polyline class="estimate" points="{}"/>').format(_polyline(stairs)),
    ]
    return _plot("share", curves, time, value, percent=True)


def arms_over_time(arms: Traced) -> Markup:
    """Each arm's mean rating with its band."""
    found = plain(arms)
    points = {arm["arm"]: [_arm_point(point) for point in arm["points"]] for arm in found}
    every = [point for part in points.values() for point in part]
    if not every:
        return Markup("")
    time = _time_axis([point.at for point in every])
    settled = [point for part in points.values() for point in part[len(part) // 4 :]]
    value = around([end for point in settled for end in (point.low, point.high)])
    curves = [
        Markup('<g class="arm-{}">{}</g>').format(arm, Markup("").join(_band(part, time, value)))
        for arm, part in points.items()
    ]
    return _plot("arms", curves, time, value)


def _arm_point(told: dict[str, Any]) -> _Point:
    return _Point(told["at"], "", told["low"], told["mean"], told["high"], math.nan)


@dataclass(frozen=True, slots=True)
class _Point:
    at: float
    epoch: str
    low: float
    estimate: float
    high: float
    limit: float


def _points(look: Traced, name: str) -> Iterator[_Point]:
    told = plain(look)
    for each in told["evidence"]:
        if each["name"] == name and each["canary"] + each["baseline"]:
            ends = [math.nan if each[key] is None else float(each[key]) for key in ("low", "estimate", "high", "limit")]
            yield _Point(float(told["at"]), EPOCHS.get(told["stage"], told["stage"]), *ends)


def _value_axis(points: Sequence[_Point]) -> Axis:
    """Room for what is known in the end; the first values, and bands far wider than the limit, may lie beyond it."""
    settled = points[len(points) // 3 :]
    must = [value for point in settled for value in (point.estimate, point.limit) if math.isfinite(value)]
    reach = 4 * (max(must, default=1.0) - min(must, default=0.0)) or 1.0
    floor, roof = min(must, default=0.0) - reach, max(must, default=1.0) + reach
    ends = [value for point in settled for value in (point.low, point.high) if math.isfinite(value)]
    return around([*must, *(min(max(value, floor), roof) for value in ends)])


def _band(points: list[_Point], time: Axis, value: Axis) -> list[Markup]:
    lows = [(time.at(p.at), 100 - value.at(p.low if math.isfinite(p.low) else value.low)) for p in points]
    highs = [(time.at(p.at), 100 - value.at(p.high if math.isfinite(p.high) else value.high)) for p in points]
    middle = [(time.at(p.at), 100 - value.at(p.estimate)) for p in points if math.isfinite(p.estimate)]
    return [
        Markup('<polygon class="band" points="{}"/>').format(_polyline([*highs, *lows[::-1]])),
        Markup('<polyline class="estimate" points="{}"/>').format(_polyline(middle)),
    ]


def _plot(name: str, curves: list[Markup], time: Axis, value: Axis, *, percent: bool = False) -> Markup:
    """The frame around curves: grid, ticks, zero."""
    grid: list[Markup] = []
    for tick in value.ticks(4):
        y = 100 - value.at(tick)
        grid += [_line(0, y, 100, y, "zero" if abs(tick) < 1e-12 else "grid")]
        text = formats.percent(tick) if percent else formats.figure(round(tick, 10))
        grid += [Markup('<text class="tick" x="-8" y="{}%" dy="0.32em" text-anchor="end">{}</text>').format(y, text)]
    days = time.high - time.low > 36 * 3600
    for tick in _moments(time):
        x = time.at(tick)
        when = datetime.fromtimestamp(tick, UTC)
        text = f"{when:%-d %b}" if days else f"{when:%H:%M}"
        grid += [_line(x, 100, x, 102, "grid")]
        grid += [
            Markup('<text class="tick" x="{}%" y="100%" dy="1.6em" text-anchor="middle">{}</text>').format(x, text)
        ]
    inner = Markup('<svg viewBox="0 0 {0} {0}" preserveAspectRatio="none" class="curves">{1}</svg>').format(
        UNITS, Markup("").join(curves)
    )
    return Markup('<svg class="plot" aria-hidden="true" data-plot="{}">{}{}</svg>').format(
        name, Markup("").join(grid), inner
    )


def _time_axis(times: Sequence[float]) -> Axis:
    low, high = min(times), max(times)
    return Axis(low, high if high > low else low + 60)


def _moments(time: Axis) -> list[float]:
    """Round moments along a time axis, some four of them."""
    length = time.high - time.low
    nice = [60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 28 * 86400]
    step = next((each for each in nice if length / each <= 5), 365 * 86400)
    first = math.ceil(time.low / step)
    found = [float(number * step) for number in range(first, int(time.high // step) + 1)]
    return [at for at in found if 3 <= time.at(at) <= 97] or [time.low + length / 2]


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    stairs = [points[0]]
    for x, y in points[1:]:
        stairs += [(x, stairs[-1][1]), (x, y)]
    return stairs


# ------------------------------------------------------------------ lineage


ROW, LANE = 48, 22


def lineage(releases: Traced, home: str) -> Markup:
    """Each release below its child, the newest on top, with a line to the one that it was built on."""
    rows = list(releases)[::-1]
    ids = [str(plain(each)["id"]) for each in rows]
    lanes = _lanes([(str(each["id"]), each["parent"]) for each in plain(releases)])
    parts: list[Markup] = []
    text_x = LANE * (max(lanes.values(), default=0) + 1) + 16
    for index, release in enumerate(rows):
        parent = plain(release)["parent"]
        x, y = _node(lanes[ids[index]], index)
        if parent in lanes:
            to_x, to_y = _node(lanes[parent], ids.index(parent))
            curve = f"M{x} {y} C{x} {y + ROW / 2} {to_x} {y + ROW / 2} {to_x} {y + ROW} L{to_x} {to_y}"
            parts.insert(0, Markup('<path class="edge" d="{}"/>').format(curve))
        state = str(plain(release)["state"])
        parts.append(Markup('<circle class="node is-{}" cx="{}" cy="{}" r="7"/>').format(state.replace(" ", "-"), x, y))
        parts.append(_release_text(release, text_x, y, home))
    height = ROW * len(rows)
    return Markup('<svg class="lineage" height="{}" role="group" aria-label="Lineage of the releases">{}</svg>').format(
        height, Markup("").join(parts)
    )


def _release_text(release: Traced, x: int, y: int, home: str) -> Markup:
    digest = str(plain(release)["id"])
    return Markup(
        '<a href="{home}/releases/{digest}"><text x="{x}" y="{y}" dy="-0.25em">'
        '<tspan class="digest" data-from="{at}/id" data-value="&#34;{digest}&#34;">{short}</tspan></text></a>'
        '<text class="quiet" x="{x}" y="{y}" dy="1.15em"><tspan data-from="{at}/state">{state}</tspan>{step}</text>'
    ).format(
        home=home,
        digest=digest,
        short=formats.short(digest),
        x=x,
        y=y,
        at=place(release),
        state=plain(release)["state"],
        step=Markup(' · <tspan data-from="{}/step">{}</tspan>').format(place(release), plain(release)["step"])
        if plain(release)["step"]
        else " · the base model alone",
    )


def _node(lane: int, row: int) -> tuple[int, int]:
    return 14 + lane * LANE, row * ROW + ROW // 2


def _lanes(releases: Sequence[tuple[str, str | None]]) -> dict[str, int]:
    """The first child goes on in its parent's lane, each other one gets a lane of its own."""
    lanes: dict[str, int] = {}
    went_on: set[str] = set()
    for release, parent in releases:
        if parent in lanes and parent not in went_on:
            lanes[release] = lanes[parent]
            went_on.add(parent)
        else:
            lanes[release] = max(lanes.values(), default=-1) + 1
    return lanes


# ------------------------------------------------------------------ bars and curves


def bar(value: Traced, whole: float, css: str = "") -> Markup:
    """A value as a part of a whole."""
    width = Axis(0.0, whole).at(number(value)) if whole > 0 else 0.0
    return Markup(
        '<svg class="bar {}" aria-hidden="true"><rect class="trough" width="100%" height="100%" rx="3"/>'
        '<rect class="filled" width="{}%" height="100%" rx="3"/></svg>'
    ).format(css, width)


def losses(values: Traced) -> Markup:
    """A curve without axes: how a loss went down."""
    known = [number(value) for value in values]
    known = [value for value in known if math.isfinite(value)]
    if len(known) < 2:
        return Markup("")
    axis, last = Axis(min(0.0, *known), max(known)), len(known) - 1
    points = [(100 * index / last, 96 - 0.92 * axis.at(value)) for index, value in enumerate(known)]
    return Markup(
        '<svg class="spark" aria-hidden="true"><svg viewBox="0 0 {0} {0}" preserveAspectRatio="none">'
        '<polyline class="estimate" points="{1}"/></svg></svg>'
    ).format(UNITS, _polyline(points))


def largest(values: Iterable[Traced]) -> float:
    """The largest of some values: the whole that bars are parts of."""
    return max((number(value) for value in values), default=0.0)


# ------------------------------------------------------------------ pieces


def number(value: Traced) -> float:
    """A number as JSON has it; one that is not finite, or is not there, is none."""
    try:
        return float(plain(value))
    except (TypeError, ValueError):
        return math.nan


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return Markup('<line class="{}" x1="{}%" y1="{}%" x2="{}%" y2="{}%"/>').format(css, x1, y1, x2, y2)


def _dot(x: float, y: float, radius: float, css: str) -> Markup:
    return Markup('<circle class="dot {}" cx="{}%" cy="{}%" r="{}"/>').format(css, x, y, radius)


def _polyline(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x * UNITS / 100:.1f},{y * UNITS / 100:.1f}" for x, y in points)


DRAWINGS: dict[str, Callable[..., Any]] = {
    "interval": interval,
    "arms_over_time": arms_over_time,
    "evidence_over_time": evidence_over_time,
    "share_over_time": share_over_time,
    "lineage": lineage,
    "bar": bar,
    "losses": losses,
    "largest": largest,
}
"""What templates may draw."""
