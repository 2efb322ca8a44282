"""How a person reads what the commands return: tables and short lines, from the same data that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gradatim.cli.reported import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_STYLES = {
    **dict.fromkeys(("pass", "released", "live", "approved", "ok", "right"), "green"),
    **dict.fromkeys(("fail", "rejected", "error", "wrong"), "red"),
    **dict.fromkeys(("inconclusive", "awaiting-approval", "awaiting-rollout", "awaiting", "warn"), "yellow"),
}


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A plain table; a cell that is an outcome gets its colour."""
    from rich.box import SIMPLE
    from rich.table import Table

    made = Table(*columns, title=title or None, title_justify="left", box=SIMPLE, title_style="bold")
    for row in rows:
        made.add_row(*(outcome(str(cell)) for cell in row))
    return made


def outcome(word: str) -> Text:
    """A word, or whatever a cell holds, in the colour of what it says, if it says anything of the kind."""
    from rich.text import Text

    return Text(" ".join(printable(word).split()), style=_STYLES.get(word, ""))


def short(digest: str | None) -> str:
    """A digest as people write it."""
    return digest[:12] if digest else "-"


def figure(value: object) -> str:
    """A number in three digits; canonical JSON writes one that is not finite as a word."""
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)


def checks(candidate: dict[str, Any]) -> Table:
    """A candidate's checks: estimate, interval and threshold of each."""
    verdict = candidate["verdict"] or {"outcome": "not judged", "checks": [], "controls": {}}
    guarded = "guarded" if candidate["guarded"] else "unguarded, a control"
    title = f"{candidate['name']} ({candidate['strategy']}, {guarded}): {verdict['outcome']}"
    rows = [
        (
            check["name"],
            figure(check["estimate"]),
            f"{figure(check['low'])} to {figure(check['high'])}",
            figure(check["threshold"]),
            check["outcome"],
            check["explanation"],
        )
        for check in verdict["checks"]
    ]
    return table(title, ("check", "estimate", "interval", "bound", "outcome", ""), rows)


def show_report(to: Console, report: dict[str, Any]) -> None:
    """A step's report: its candidates, and how it ended."""
    for candidate in report["candidates"]:
        to.print(checks(candidate))
    to.print(f"{report['step'] or 'no step'}: ", outcome(report["outcome"]), sep="")
    to.print(f"  {report['reason']}")
    if report["release"]:
        to.print(f"  release {short(report['release'])}")
    to.print(f"  {cost_line(report['cost'])}")


def cost_line(cost: dict[str, Any]) -> str:
    return f"{cost['seconds']:,.0f} seconds, {cost['tokens']:,} tokens, {cost['joules']:,.0f} joules"
