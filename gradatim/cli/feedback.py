"""`gradatim feedback`: a person's word on an answer, typed or from a file.

All of it is checked before any of it is stored. Storing goes ledger (id only), then table, so a kill in between is
mended by giving the same feedback again, which otherwise changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened, person, words
from gradatim.cli.reported import Result
from gradatim.errors import CharterError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from gradatim.types import Feedback
    from gradatim.workspace import Workspace


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
    with opened(workspace) as here:
        records = _from_file(file) if file else [_typed(answer, question, rating, correction, person(by))]
        _refuse_forbidden(here, records)
        records = [_with_question(here, record) for record in records]
        added = [record for record in records if _store(here, record)]
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


def _refuse_forbidden(workspace: Workspace, records: Sequence[Feedback]) -> None:
    from gradatim.charter import Charter

    charter = Charter.load(workspace.charter_path)
    source = records[0].provenance.source
    if not charter.allows_source(source):
        rules = f"{charter.line('sources.allow')}; {charter.line('sources.deny')}"
        raise CharterError(f"{source}: is no source that may be learnt from ({rules}); a person may change the charter")


def _with_question(workspace: Workspace, record: Feedback) -> Feedback:
    """The record with the question of the answer it names; InputError when that was never served."""
    if record.answer is None:
        return record
    served = workspace.records.answer(record.answer)
    if served is None:
        raise InputError(f"No answer {record.answer} was served here: name one that was, or only a question")
    return replace(record, question=record.question or served.question)


def _store(workspace: Workspace, record: Feedback) -> bool:
    """Store a record; False when it was here before."""
    if all(entry.body["feedback"] != record.id for entry in workspace.ledger.entries("feedback")):
        workspace.ledger.append("feedback", {"feedback": record.id, "digest": record.provenance.digest})
    return workspace.records.add_feedback(record)


def _show(data: dict[str, Any], to: Console) -> None:
    to.print(f"{len(data['added'])} added, {data['skipped']} known already")
