"""`gradatim run`: steps by themselves, within the charter's bounds, until told to stop."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, ByOption, ReasonOption, WorkspaceOption, opened, person
from gradatim.cli.reported import Result
from gradatim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from gradatim.schedule import Decision


def run(
    once: Annotated[bool, typer.Option("--once", help="Decide once, take the step if it is time, and end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be decided now; change nothing.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Say that a person has looked, and steps may be taken again; end.")
    ] = False,
    nice: Annotated[int, typer.Option(metavar="N", help="The niceness of a step, 0 to 19.", min=0, max=19)] = 10,
    threads: Annotated[
        int, typer.Option(metavar="N", help="Threads of a step; 0: one fewer than processors.", min=0)
    ] = 0,
    by: ByOption = "",
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Take steps by itself, when enough has come in and the charter's [schedule] lets it, until Ctrl-C or SIGTERM.

    A step runs in a process of its own, with little priority, so that a server beside it keeps answering. One that was
    cut short is taken up. Logs are lines of JSON on stderr; what a step says goes to step.log in the workspace.

    JSON: {"decision": {"at", "start", "why", "again", "unfinished", "running", "waiting", "day",
    "day_most", "step_most", "failures", "conditions": [{"name", "holds", "said", "rule", "again"}]},
    "ended": null or {"how", "step", "outcome", "said", "seconds"}, "steps"}
    """
    if once + dry_run + resume > 1:
        raise InputError("--once, --dry-run and --resume are different things: give one of them")
    if (by or reason) and not resume:
        raise InputError("--by and --reason go with --resume")
    with opened(workspace) as here:
        from gradatim.schedule.keeping import Scheduler, look, told_to_stop
        from gradatim.schedule.keeping import resume as resumed
        from gradatim.schedule.stepping import Share
        from gradatim.serve.telemetry import log_to_stderr

        if resume:
            resumed(here, person(by), reason)
        if resume or dry_run:
            return _result(look(here))
        scheduler = Scheduler(here, Share(nice, threads))
        log_to_stderr()
        with scheduler.alone(), told_to_stop(scheduler):
            if once:
                decision, ended = scheduler.once()
                return _result(decision, None if ended is None else asdict(ended), scheduler.steps)
            scheduler.keep()
            return _result(look(here), None, scheduler.steps)


def _result(decision: Decision, ended: dict[str, Any] | None = None, steps: int = 0) -> Result:
    data = {"decision": decision.data(), "ended": ended, "steps": steps}
    failed = ended is not None and (ended["how"] == "failed" or ended["outcome"] == "error")
    return Result(data, partial(_show, data), exit_code=1 if failed else 0)


def _show(data: dict[str, Any], to: Console) -> None:
    decision, ended = data["decision"], data["ended"]
    to.print(f"{'a step is due' if decision['start'] else 'no step now'}: {decision['why']}")
    for condition in decision["conditions"]:
        rule = f"  ({condition['rule']})" if condition["rule"] else ""
        to.print(f"  {'yes' if condition['holds'] else 'no ':3}  {condition['name']:<9} {condition['said']}{rule}")
    if ended:
        to.print(f"{ended['step'] or 'no step'}: {ended['outcome'] or ended['how']}, {ended['seconds']:.0f} s")
        to.print(f"  {ended['said']}", style="dim")
    elif data["steps"]:
        to.print(f"{data['steps']} steps were taken")
