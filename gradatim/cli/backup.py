"""`gradatim backup` and `gradatim restore`: a workspace in one file, and a workspace from it."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result

if TYPE_CHECKING:
    from rich.console import Console


def backup(
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="A new file.")],
    secrets: Annotated[
        bool,
        typer.Option("--secrets/--without-secrets", help="With the ledger's signing key and the server's secret."),
    ] = True,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Copy the workspace, rows included, into one file, while servers and steps go on.

    It holds everything that was acknowledged before it began, and was verified. With its secrets whoever has the file
    can sign for the ledger: keep it as you keep a key, or leave them out and keep those apart.

    JSON: {"file", "files", "bytes", "entries", "head", "rows", "secrets"}
    """
    from gradatim.backup import back_up

    with opened(workspace) as here:
        made = back_up(here, to, secrets=secrets)
    data = {"file": str(to)} | asdict(made)
    return Result(data, partial(_show, data, f"{to} holds"))


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `gradatim backup` made.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A new folder.")],
    database: Annotated[
        str, typer.Option(metavar="URL", help="An empty PostgreSQL database for its rows, instead of an SQLite file.")
    ] = "",
) -> Result:
    """Make a workspace from a backup, every digest checked and the whole verified; nothing is overwritten.

    JSON: {"workspace", "files", "bytes", "entries", "head", "rows", "secrets"}
    """
    from gradatim.backup import restore as restore_backup

    made = restore_backup(file, to, database or None)
    data = {"workspace": str(to)} | asdict(made)
    return Result(data, partial(_show, data, f"{to} is a workspace again, with"))


def _show(data: dict[str, Any], opening: str, to: Console) -> None:
    size = f"{data['bytes'] / 2**20:.1f} MiB"
    to.print(f"{opening} {data['entries']} ledger entries and {data['rows']} rows, {data['files']} files, {size}.")
    to.print(f"ok: head {data['head']}")
    if not data["secrets"]:
        to.print("The signing key is not among them: put ledger/key.pem back before anything is to be written.")
