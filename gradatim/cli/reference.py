"""docs/commands.md, written from the app itself.

    python -m gradatim.cli.reference > docs/commands.md

A test holds that the file is what this writes.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import typer.main

from gradatim.cli.main import app

_OPENING = """# Commands

Written from the app by `python -m gradatim.cli.reference > docs/commands.md`; a test holds that it is current.

Every command takes `-w DIR` for the workspace (`./.gradatim` by default; `init` takes it as its argument) and `--json`,
which prints one JSON object on stdout while progress goes to stderr. What a person can mend is one line on stderr,
`error: ...`, and exit code 2, with `--json` also `{"error": "..."}` on stdout. Ctrl-C exits with 130, and
`gradatim step` takes up a step that was cut short.
"""


def reference() -> str:
    """The page."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="gradatim")
    sections = [_section(command, typer.Context(command, context, name)) for name, command in group.commands.items()]
    return "\n".join([_OPENING, *sections])


def _section(command: Any, context: typer.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    text = "\n\n".join(map(_paragraph, inspect.cleandoc(command.help).split("\n\n")))
    rows = [row for row in map(_row, command.get_params(context)) if row]
    parameters = "\n".join(["| | |", "|---|---|", *rows])
    return f"## {command.name}\n\n```\n{context.command_path} {usage}\n```\n\n{text}\n\n{parameters}\n"


def _paragraph(text: str) -> str:
    """A paragraph of the docstring, with the shape of the JSON set as code."""
    return f"```text\n{text}\n```" if text.startswith("JSON: ") else text


def _row(parameter: Any) -> str:
    """A table row for one argument or option; empty for --help."""
    if parameter.name == "help":
        return ""
    if parameter.param_type_name == "argument":
        return f"| `{parameter.metavar}` | {_cell(parameter.help)} |"
    value = f" {parameter.metavar}" if parameter.metavar else ""
    names = ", ".join(f"`{name}{value}`" for name in sorted(parameter.opts, key=len))
    default = parameter.default
    said = "" if parameter.is_flag or default in (None, "") else f" Default: `{default}`."
    said = " Required." if parameter.required else said
    return f"| {names} | {_cell(parameter.help)}{said} |"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def main() -> None:
    sys.stdout.write(reference())


if __name__ == "__main__":
    main()
