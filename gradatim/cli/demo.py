"""`gradatim demo`: the whole story in a fresh folder, told by running the other commands."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.reported import Result, call, console
from gradatim.cli.tables import cost_line, table
from gradatim.errors import IntegrityError

if TYPE_CHECKING:
    from rich.console import Console

FOLDER = Path("gradatim-demo")


def demo(
    context: typer.Context,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything that is drawn by chance.")] = 0,
    workspace: Annotated[
        Path,
        typer.Option("--keep", "--workspace", "-w", metavar="DIR", help="The demo's workspace; it stays afterwards."),
    ] = FOLDER,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The HTML report. By default, report.html in DIR.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="MODEL", help="Another model than the bundled one.")] = "bundled",
) -> Result:
    """Watch a model learn a handbook: before, one step, after, and the way back.

    JSON: {"folder", "model", "before", "after", "general", "outcomes", "step", "details", "rollback", "verify",
    "ledger", "cost", "report"}; "before" and "after" are {"right", "of", "answers": [{"question", "answer", "right"}]}
    """
    from gradatim.demo.story import tell

    run = partial(call, context.find_root().command)
    told = tell(run, workspace, report or workspace / "report.html", console(stderr=True).print, seed=seed, model=model)
    return Result(told, partial(_show, told), 0 if told["verify"]["ok"] else IntegrityError.exit_code)


def _show(story: dict[str, Any], to: Console) -> None:
    before, after = story["before"], story["after"]
    rows = [
        (first["question"], first["answer"], _mark(first), second["answer"], _mark(second))
        for first, second in zip(before["answers"], after["answers"], strict=True)
    ]
    title = f"Before {before['right']} of {before['of']}, after {after['right']} of {after['of']}"
    to.print(table(title, ("question", "before", "", "after", ""), rows))
    general = [(each["question"], each["before"], each["after"]) for each in story["general"]]
    to.print(table("What it knew anyway", ("question", "before", "after"), general))
    to.print(cost_line(story["cost"]))
    to.print(f"The whole story, with figures: {story['report']}")
    to.print("\nGo on:")
    for line in story["next"]:
        to.print(f"  {line}")


def _mark(answer: dict[str, Any]) -> str:
    return "right" if answer["right"] else "wrong"
