"""`gradatim step`: one walk through the rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.account import report_data
from gradatim.cli.display import progress
from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result
from gradatim.cli.tables import short, show_report

if TYPE_CHECKING:
    from rich.console import Console


def step(
    controls: Annotated[
        bool, typer.Option("--controls", help="Also train the raw text at the same budget, to compare with.")
    ] = False,
    unguarded: Annotated[
        bool, typer.Option("--unguarded", help="Also train a candidate without guards, which must be refused.")
    ] = False,
    strategy: Annotated[str | None, typer.Option(metavar="NAME", help="Force one edit strategy.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything that is drawn by chance.")] = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Take one step: observe, diagnose, propose, learn, judge, release, watch.

    A step that was cut short is taken up where it was, with the options it began with.

    JSON: {"step", "outcome", "candidates": [{"name", "strategy", "guarded", "tokens", "losses", "verdict":
    {"outcome", "checks": [...], "controls"}}], "release", "cost": {"seconds", "tokens", "joules"}, "reason"}
    """
    with opened(workspace) as here, progress() as shown:
        shown.phase("starting")
        from gradatim.step import StepOptions, take_step

        options = StepOptions(controls=controls, unguarded=unguarded, strategy=strategy, seed=seed)
        report = take_step(here, options, shown)
    data = report_data(report)
    return Result(data, lambda to: _show(data, to), exit_code=1 if report.outcome == "error" else 0)


def _show(data: dict[str, Any], to: Console) -> None:
    show_report(to, data)
    if data["outcome"] == "awaiting-approval":
        to.print(f"  Next: gradatim show {short(data['release'])}, then gradatim approve or gradatim reject it.")
