"""What makes a function a command: `--json`, the error policy and the exit code, in one place.

A command is a function that returns a `Result`. `reported` adds the option `--json` to it, prints the result in one
form or the other, and turns what a person can mend into one line:

    GradatimError, full disk, no permission, busy or damaged database    error: ..., exit 2
    Ctrl-C                                                               exit 130

With `--json` exactly one object goes to stdout, of an error too, and whatever a library prints goes to stderr. Every
other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.errors import GradatimError

if TYPE_CHECKING:
    from rich.console import Console

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]

INTERRUPTED = "interrupted: what was finished is kept; a step that was cut short goes on with `gradatim step`"
_DISK_FULL = "disk full: make room, then run the command again; nothing that was finished is lost"
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
# What SQLite says, whose exceptions can't be named here without importing SQLAlchemy.
_DATABASE = {
    "database or disk is full": _DISK_FULL,
    "database is locked": "records.sqlite is in use by another command: wait for it and try again",
    "readonly database": "records.sqlite can't be written: make the workspace yours to write",
    "file is not a database": "records.sqlite is damaged: restore it from a copy of the workspace",
    "database disk image is malformed": "records.sqlite is damaged: restore it from a copy of the workspace",
    "unable to open database file": "records.sqlite can't be opened: make the workspace yours to read and write",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a command found or did: `data` for programs, `show` for people."""

    data: dict[str, Any]
    show: Callable[[Console], None]
    exit_code: int = 0


_inside: ContextVar[bool] = ContextVar("inside another command", default=False)


def call(app: Callable[..., Any], *arguments: str) -> dict[str, Any]:
    """Run a command from within another one: its data, with nothing printed but progress; errors propagate."""
    token = _inside.set(True)
    try:
        result: Result | int = app(list(arguments), standalone_mode=False)
    finally:
        _inside.reset(token)
    if isinstance(result, Result):
        return result.data
    raise KeyboardInterrupt  # Typer makes an exit code of it


def reported(function: Callable[..., Result]) -> Callable[..., Result | None]:
    """The function as a command of the app."""

    @wraps(function)
    def run(*, as_json: bool, **arguments: Any) -> Result | None:
        if _inside.get():
            return function(**arguments)
        with _mendable(as_json):
            with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
                result = function(**arguments)
            _print(result, as_json)
        if result.exit_code:
            raise typer.Exit(result.exit_code)
        return None

    signature = inspect.signature(function, eval_str=True)
    extra = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), extra])  # type: ignore[attr-defined]
    return run


def console(*, stderr: bool = False) -> Console:
    """Where people read: no markup and no control codes from other people's words, and room for tables in a pipe."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text), **options)

    made = Plain(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = max(made.width, 120)
    return made


def printable(text: str) -> str:
    """The text without what a terminal would take for an order."""
    return "".join(letter for letter in text if letter in "\n\t" or unicodedata.category(letter) != "Cc")


def _print(result: Result, as_json: bool) -> None:
    if not as_json:
        result.show(console())
        return
    from gradatim.store.canonical import canonical

    # There and back: dataclasses become objects, and a loss that is not finite becomes a string.
    sys.stdout.write(json.dumps(json.loads(canonical(result.data)), indent=2) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _mendable(as_json: bool) -> Iterator[None]:
    """Turn what a person can mend into one line and an exit code."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        line = _line(error)
        if line is None:
            raise
        interrupted = isinstance(error, KeyboardInterrupt)
        sys.stderr.write(f"{line}\n" if interrupted else f"error: {line}\n")
        if as_json:
            sys.stdout.write(json.dumps({"error": line}) + "\n")
        raise typer.Exit(130 if interrupted else GradatimError.exit_code) from None


def _line(error: BaseException) -> str | None:
    """What to tell a person, on one line; None when it is a bug."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    text = " ".join(str(error).split())
    if isinstance(error, GradatimError):
        return text
    if _is_disk_full(error):
        return _DISK_FULL
    if isinstance(error, OSError) and error.errno in _NOT_ALLOWED and error.filename:
        return f"{error.filename}: {error.strerror}; make it yours to read and write, or name another place"
    if type(error).__module__.startswith("sqlalchemy"):
        return next((line for words, line in _DATABASE.items() if words in text), None)
    return None


def _is_disk_full(error: BaseException) -> bool:
    """Whether the disk, or this user's share of it, is full; libraries say so in errors of their own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "No space left on device" in str(error)
