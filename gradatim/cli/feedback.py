"""`gradatim feedback`: a person's word on an answer, typed or from a file.

All of it is checked before any of it is stored (`observe/intake.py`); giving the same feedback again changes nothing.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened, person, words
from gradatim.cli.reported import Result
from gradatim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from gradatim.types import Feedback


def feedback(
    answer: Annotated[
        str | None, typer.Argument(metavar="ANSWER", help="Id of the answer, as `gradatim ask` shows it.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Many at once: JSON lines, a JSON list, or CSV with a header line."),
    ] = None,
    question: Annotated[str, typer.Option(metavar="TEXT", help="What was asked, when no ANSWER is named.")] = "",
    rating: Annotated[int | None, typer.Option(metavar="±1", help="-1 wrong, 1 right.")] = None,
    correction: Annotated[str, typer.Option(metavar="TEXT", help="What the answer should have been.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME", help="Who says so. By default, who is logged in.")] = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Say what was wrong with an answer, or right.

    A file's records have the keys question or answer_id, rating, correction, by. Without a file, name the ANSWER or
    give the --question, and give a --rating, a --correction or both.

    JSON: {"added": [{"id", "question", "by"}], "skipped"}
    """
    typed = [value for value in (answer, question, rating, correction, by) if value not in (None, "")]
    if file is not None and typed:
        raise InputError("--file says everything by itself: leave out the rest, or leave out --file")
    from gradatim.charter import Charter
    from gradatim.observe.intake import refuse_forbidden, take_in, with_question

    with opened(workspace) as here:
        records = _from_file(file) if file else [_typed(answer, question, rating, correction, person(by))]
        refuse_forbidden(Charter.load(here.charter_path), records[0].provenance.source)
        records = [with_question(here.records, record) for record in records]
        added = [record for record in records if take_in(here.ledger, here.records, record)]
    data = {
        "added": [{"id": record.id, "question": record.question, "by": record.by} for record in added],
        "skipped": len(records) - len(added),
    }
    return Result(data, partial(_show, data))


def _from_file(file: Path) -> list[Feedback]:
    from gradatim.observe.feedback import read_feedback

    return read_feedback(file)


def _typed(answer: str | None, question: str, rating: int | None, correction: str, by: str) -> Feedback:
    """One record from the command line, checked as those of a file are."""
    from gradatim.observe.documents import provenance
    from gradatim.store.canonical import canonical, digest_of
    from gradatim.types import Feedback

    if not answer and not question:
        raise InputError("Feedback names no answer: give its id, or --question, or --file")
    if rating not in (None, -1, 1):
        raise InputError(f"--rating is {rating}: write -1 for wrong or 1 for right")
    if rating is None and not correction:
        raise InputError("Feedback says nothing: give --rating, --correction, or both")
    question = words(question, "question") if question else ""
    correction = words(correction, "correction") if correction else ""
    identity = canonical([answer or "", question, rating, correction, by])
    origin = provenance("cli", identity)
    return Feedback(digest_of(identity), answer or None, question, rating, correction or None, by, origin)


def _show(data: dict[str, Any], to: Console) -> None:
    to.print(f"{len(data['added'])} added, {data['skipped']} known already")
