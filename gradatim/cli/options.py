"""Options that several commands share, the workspace they open, and the words a person typed."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradatim.errors import InputError

if TYPE_CHECKING:
    from gradatim.workspace import Workspace

DEFAULT_WORKSPACE = Path(".gradatim")

WorkspaceOption = Annotated[Path, typer.Option("--workspace", "-w", metavar="DIR", help="The workspace folder.")]
ReleaseArgument = Annotated[
    str, typer.Argument(metavar="RELEASE", help="A release's id, or its first six characters or more.")
]
ByOption = Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so. By default, who is logged in.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the ledger.")]


@contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    """An open workspace; its tables are closed afterwards if they were used."""
    from gradatim.workspace import Workspace

    workspace = Workspace.open(folder)
    try:
        yield workspace
    finally:
        if "records" in vars(workspace):
            workspace.records.close()


def words(text: str, what: str) -> str:
    """What a person typed, with single spaces; InputError when it is empty or no text at all."""
    tidy = " ".join(text.split())
    if not tidy:
        raise InputError(f"The {what} is empty: write it out")
    if any("\ud800" <= letter <= "\udfff" for letter in tidy):
        raise InputError(f"The {what} is not UTF-8: set the terminal to it")
    return tidy


def person(by: str) -> str:
    """Who gives an order: the name given, or who is logged in."""
    if by.strip():
        return words(by, "name after --by")
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
