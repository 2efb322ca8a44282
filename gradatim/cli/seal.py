"""`gradatim seal`: the model learns to write its own study material."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.display import progress
from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result

if TYPE_CHECKING:
    from rich.console import Console


def seal(
    rounds: Annotated[
        int, typer.Option(min=1, max=20, metavar="N", help="Of drafting, trying, keeping the best and imitating it.")
    ] = 2,
    seeds: Annotated[
        int, typer.Option(min=1, max=50, metavar="N", help="Trainings of each document that judges, before and after.")
    ] = 2,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything that is drawn by chance.")] = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Train a writer of study material on the workspace's documents (SEAL); steps use it where it is found good.

    A loop that was cut short goes on after its last finished round, when it is called with the same options.

    JSON: {"adapter", "adopted", "gain", "low", "high", "right_before", "right_after", "judged_on", "passages",
    "rounds": [{"trials", "reliability", "tried", "kept", "seconds"}], "cost": {"seconds", "tokens", "joules"}}
    """
    with opened(workspace) as here, progress() as shown:
        shown.phase("starting")
        from gradatim.recipes.writer import WriterOptions, train_writer

        report = train_writer(here, WriterOptions(rounds, seeds, seed), shown)
    data = asdict(report)
    return Result(data, lambda to: _show(data, to))


def _show(data: dict[str, Any], to: Console) -> None:
    for number, of_round in enumerate(data["rounds"], start=1):
        to.print(
            f"round {number}: {of_round['trials']:.0f} trainings in {of_round['seconds']:.0f} s, reward "
            f"{of_round['tried']:.2f} tried, {of_round['kept']:.2f} kept (reliability {of_round['reliability']:.2f})"
        )
    to.print(
        f"told word for word: {data['right_before']:.0%} before, {data['right_after']:.0%} after; gain "
        f"{data['gain']:+.2f} nats [{data['low']:+.2f}, {data['high']:+.2f}] over {data['passages']} passages, "
        f"by {data['judged_on']}"
    )
    if data["adopted"]:
        to.print(f"the writer {data['adapter'][:12]} is adopted: the next steps may study what it writes")
    else:
        to.print("the writer is not adopted: it may be no better than the model untrained")
