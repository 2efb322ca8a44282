"""`gradatim show`: a release or a step, with all that led to it."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim import account
from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result
from gradatim.cli.tables import checks, cost_line, outcome, short, table

if TYPE_CHECKING:
    from rich.console import Console

STEP = "step-"


def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="A release's id (its first six characters do), or a step.")],
    examples: Annotated[int, typer.Option(metavar="N", min=0, help="Study examples to show of each set.")] = 3,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Show a release or a step: quarantine, weak spots, study examples beside their sources, candidates, verdicts.

    JSON: {"release", "step": null or {"step", "outcome", "reason", "cost", "quarantined", "asked", "right",
    "weaknesses", "study", "candidates"}}
    """
    with opened(workspace) as here:
        release = None if name.startswith(STEP) else here.registry.get(name)
        step = name if release is None else release.step
        data = {
            "release": asdict(release) if release else None,
            "step": account.step_data(here, step, examples) if step else None,
        }
    return Result(data, partial(_show, data))


def _show(data: dict[str, Any], to: Console) -> None:
    if release := data["release"]:
        to.print(f"release  {release['id']}")
        to.print(f"parent   {short(release['parent'])}, made {release['created_at']}")
        to.print(f"adapters {', '.join(map(short, release['adapters'])) or 'none: the base model alone'}")
    if step := data["step"]:
        to.print(f"{step['step']}: ", outcome(step["outcome"]), f" {step['reason']}", sep="")
        if step["cost"]:
            to.print(cost_line(step["cost"]))
        _show_step(step, to)


def _show_step(step: dict[str, Any], to: Console) -> None:
    if step["quarantined"]:
        rows = [(each["kind"], each["what"], each["reason"]) for each in step["quarantined"]]
        to.print(table("Quarantine", ("", "what", "why"), rows))
    if step["weaknesses"]:
        weak = [
            (each["example"], each["reply"], each["source"], f"{each['right']}/{each['asked']}")
            for each in step["weaknesses"]
        ]
        title = f"Weak spots ({step['right']} of {step['asked']} right)"
        to.print(table(title, ("asked", "said", "the sentence", "right"), weak))
    for study in step["study"]:
        samples = [(e["kind"], e["prompt"], e["target"], e["source"]) for e in study["sample"]]
        title = f"Study set “{study['strategy']}”: {study['examples']} examples"
        to.print(table(title, ("kind", "prompt", "target", "source"), samples))
    for candidate in step["candidates"]:
        to.print(checks(candidate))
