"""The app: every command under its name, in the order in which a newcomer meets them.

Limits: usage errors are Typer's (exit 2, on stderr, no JSON).
"""

from __future__ import annotations

from typing import Annotated

import typer

from gradatim import __version__
from gradatim.cli.add import add
from gradatim.cli.approve import approve
from gradatim.cli.ask import ask
from gradatim.cli.backup import backup, restore
from gradatim.cli.demo import demo
from gradatim.cli.doctor import doctor
from gradatim.cli.export import export
from gradatim.cli.feedback import feedback
from gradatim.cli.incidents import incidents
from gradatim.cli.init import init
from gradatim.cli.keys import keys
from gradatim.cli.promote import promote
from gradatim.cli.quarantine import quarantine
from gradatim.cli.reject import reject
from gradatim.cli.releases import releases
from gradatim.cli.reported import reported
from gradatim.cli.rollback import rollback
from gradatim.cli.run import run
from gradatim.cli.seal import seal
from gradatim.cli.serve import serve
from gradatim.cli.show import show
from gradatim.cli.status import status
from gradatim.cli.step import step
from gradatim.cli.verify import verify

COMMANDS = (
    *(demo, init, add, feedback, quarantine, ask, step, seal, status, releases, show),
    *(approve, reject, rollback, promote, keys, serve, run, incidents, export, backup, restore, verify, doctor),
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in COMMANDS:
    app.command(command.__name__)(reported(command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gradatim {__version__}")
        raise typer.Exit


@app.callback()
def gradatim(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Let a deployed language model improve itself, one verified step at a time.

    Begin with `gradatim demo`, or with `gradatim init`, `gradatim add FILE`, `gradatim step`, `gradatim ask QUESTION`.
    """


def main() -> None:
    """The console script."""
    app(prog_name="gradatim")
