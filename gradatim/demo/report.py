"""The report: one HTML file that needs nothing else, in light or dark as the reader's system is.

The plots are drawn by matplotlib as SVG and set into the page. They are drawn in stand-in colours that no plot would
choose; these are replaced by the page's own variables, so that a plot follows the page from light to dark.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradatim.store import durable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("report.html")

# Stand-ins and what they become. Series colours are the page's --series-1 and so on.
INK, QUIET, BOUND = "#010203", "#040506", "#070809"
SERIES = ("#0a0b0c", "#0d0e0f", "#101112", "#131415")
_PAINT = {INK: "var(--ink)", QUIET: "var(--quiet)", BOUND: "var(--bound)"}
_PAINT |= {stand_in: f"var(--series-{number})" for number, stand_in in enumerate(SERIES, start=1)}

WIDTH = 7.2  # inches, at 72 points each


def write_report(path: Path, story: dict[str, Any]) -> None:
    """Write the report of a story, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.replace(path, render(story).encode())


def render(story: dict[str, Any]) -> str:
    """The page."""
    from jinja2 import Environment, StrictUndefined

    candidates = story["step"]["candidates"]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = _figure
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(story=story, checks_plot=plot_checks(candidates), losses_plot=plot_losses(candidates))


# ------------------------------------------------------------------ plots


def plot_checks(candidates: Sequence[dict[str, Any]]) -> str:
    """One panel for each check: every candidate's interval against the bound. SVG, or "" when nothing was judged."""
    judged = [(candidate, _by_name(candidate)) for candidate in candidates]
    names = list(dict.fromkeys(name for _, checks in judged for name in checks))
    if not names:
        return ""
    with _figure_of(len(names), 0.42 + 0.30 * len(candidates)) as (figure, panels):
        for panel, name in zip(panels, names, strict=True):
            _plot_check(panel, name, [checks.get(name) for _, checks in judged])
            panel.set_yticks(range(len(candidates)), [candidate["name"] for candidate in candidates])
        return _svg(figure, "checks")


def plot_losses(candidates: Sequence[dict[str, Any]]) -> str:
    """Mean loss over the course of each training. SVG, or "" when nothing was trained."""
    curves = [(each["name"], [_number(loss) for loss in each["losses"]]) for each in candidates if each["losses"]]
    if not curves:
        return ""
    with _figure_of(1, 2.6) as (figure, panels):
        for number, (name, losses) in enumerate(curves):
            colour = SERIES[number % len(SERIES)]
            done = [(place + 1) / len(losses) for place in range(len(losses))]
            panels[0].plot(done, losses, color=colour, linewidth=2, label=name)
        panels[0].set_xlabel("share of the training")
        panels[0].set_ylabel("mean loss")
        panels[0].legend(frameon=False, labelcolor=INK)
        return _svg(figure, "losses")


def _plot_check(panel: Axes, name: str, checks: Sequence[dict[str, Any] | None]) -> None:
    for place, check in enumerate(checks):
        if check is not None:
            colour = SERIES[place % len(SERIES)]
            low, middle, high = (_number(check[key]) for key in ("low", "estimate", "high"))
            panel.plot([low, high], [place, place], color=colour, linewidth=2)
            panel.plot([middle], [place], color=colour, marker="o", markersize=6)
    for bound in {_number(check["threshold"]) for check in checks if check is not None}:
        panel.axvline(bound, color=BOUND, linewidth=1, linestyle=(0, (4, 3)))
    panel.set_title(name, loc="left", fontsize=10, color=INK)
    panel.set_ylim(len(checks) - 0.5, -0.5)
    panel.margins(x=0.08)


def _by_name(candidate: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in (candidate["verdict"] or {"checks": []})["checks"]}


@contextmanager
def _figure_of(panels: int, height: float) -> Iterator[tuple[Figure, list[Axes]]]:
    """Panels one below the other, without matplotlib's global state."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "gradatim",
        "font.family": "sans-serif",
        "font.size": 9,
    }
    colours = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    with matplotlib.rc_context(style | colours | {"axes.edgecolor": QUIET}):
        figure = Figure(figsize=(WIDTH, height * panels), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(panels, 1, squeeze=False)
        for panel in grid[:, 0]:
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(axis="x", color=QUIET, linewidth=0.4, alpha=0.5)
            panel.set_axisbelow(True)
        yield figure, list(grid[:, 0])


def _svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element: transparent, in the page's colours, with ids of its own."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for stand_in, variable in _PAINT.items():
        svg = svg.replace(stand_in, variable)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg role="img" viewBox="\1">', svg, count=1)


def _number(value: Any) -> float:
    """A figure as it came through JSON, where one that is not finite is a word; matplotlib leaves those out."""
    number = float(value)
    return number if math.isfinite(number) else math.nan


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)
