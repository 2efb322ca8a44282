"""`gradatim init`: a workspace around a base model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.display import progress
from gradatim.cli.options import DEFAULT_WORKSPACE, words
from gradatim.cli.reported import Result
from gradatim.errors import WorkspaceError

if TYPE_CHECKING:
    from rich.console import Console


def init(
    workspace: Annotated[Path, typer.Argument(metavar="DIR", help="The workspace folder.")] = DEFAULT_WORKSPACE,
    model: Annotated[
        str,
        typer.Option(metavar="MODEL", help="`bundled`, a Hugging Face id, a model folder, or a .gguf file."),
    ] = "bundled",
    database: Annotated[
        str,
        typer.Option(metavar="URL", help="A PostgreSQL database for its rows, instead of an SQLite file in DIR."),
    ] = "",
) -> Result:
    """Make a workspace around a base model, with the default charter.

    The model is loaded once, to show that it can be. Release 0 is the base model alone. A database's URL is kept in
    database.toml, without a password: that is taken from PGPASSWORD, or from PGPASSFILE.

    JSON: {"workspace", "model", "base", "release"}
    """
    from gradatim.charter import DEFAULT_PATH
    from gradatim.workspace import SETTINGS, Workspace, refuse_taken

    if (workspace / SETTINGS).exists():
        raise WorkspaceError(f"{workspace} is a workspace already: use it, or choose another folder")
    if database:
        refuse_taken(database)  # before the model is loaded
    source = _source(words(model, "model"))
    base = {"source": source, "digest": _digest(source)}
    made = Workspace.create(workspace, base, DEFAULT_PATH.read_text("utf-8"), database=database or None)
    data = {
        "workspace": str(workspace),
        "model": source,
        "base": made.base["digest"],
        "release": made.registry.live_id(),
    }
    return Result(data, partial(_show, data))


def _source(model: str) -> str:
    """The model's name as it can be found again from any folder."""
    path = Path(model).expanduser()
    return str(path.resolve()) if path.exists() and model != "bundled" else model


def _digest(source: str) -> str:
    """Load the model; ModelError when it can't be."""
    with progress() as shown:
        shown.phase(f"loading {source}")
        from gradatim.model.base import load_base

        return load_base(source).digest


def _show(data: dict[str, Any], to: Console) -> None:
    to.print(f"{data['workspace']} is a workspace around {data['model']} (base {data['base'][:12]}).")
    to.print(f"Its bounds are in {data['workspace']}/charter.toml. Next: gradatim add FILE, gradatim step.")
