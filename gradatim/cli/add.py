"""`gradatim add`: documents to learn from, and questions to judge by.

Every file is read, cut into passages and held against the charter before anything is stored, so that a bad one leaves
nothing behind. Storing goes blob, ledger, table: a kill in between is mended by adding again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result
from gradatim.errors import CharterError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from gradatim.types import Document
    from gradatim.workspace import Workspace


def add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Text, Markdown or PDF.")],
    questions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Your questions about the one FILE, as JSON lines {"question", "accepted": [...]}; only the judge '
            "sees them.",
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Add documents to learn from at the next step.

    JSON: {"added": [{"id", "title", "passages"}], "skipped": [{"file", "reason"}], "questions"}
    """
    if questions is not None and len(files) != 1:
        raise InputError("--questions goes with one FILE: add the documents one by one")
    with opened(workspace) as here:
        documents = [_read(here, file) for file in files]
        asked = list(_questions(questions)) if questions else []
        data: dict[str, Any] = {"added": [], "skipped": [], "questions": len(asked)}
        for file, (document, passages) in zip(files, documents, strict=True):
            if _store(here, document):
                data["added"].append({"id": document.id, "title": document.title, "passages": passages})
            else:
                data["skipped"].append({"file": str(file), "reason": "was added before"})
        if asked:
            _store_questions(here, documents[0][0].id, asked)
    return Result(data, partial(_show, data))


def _read(workspace: Workspace, file: Path) -> tuple[Document, int]:
    """A document and the number of its passages; InputError or CharterError when it can't be learnt from."""
    from gradatim.charter import Charter
    from gradatim.observe.documents import read_document
    from gradatim.observe.passages import split_passages

    _refuse_unwritable(file)
    document = read_document(file)
    charter = Charter.load(workspace.charter_path)
    if not charter.allows_source(document.provenance.source):
        rules = f"{charter.line('sources.allow')}; {charter.line('sources.deny')}"
        raise CharterError(f"{file}: is no source that may be learnt from ({rules}); a person may change the charter")
    return document, len(split_passages(document))


def _refuse_unwritable(file: Path) -> None:
    try:
        str(file.absolute()).encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(file)!r}: has a name that is not UTF-8; rename the file") from None


def _store(workspace: Workspace, document: Document) -> bool:
    """Store a document; False when it was here before."""
    blob = workspace.blobs.put(document.text.encode())
    if all(entry.body["digest"] != document.id for entry in workspace.ledger.entries("document")):
        body = {"digest": document.id, "source": document.provenance.source, "title": document.title}
        workspace.ledger.append("document", body)
    return workspace.records.add_document(document, blob)


def _store_questions(workspace: Workspace, document: str, asked: list[dict[str, Any]]) -> None:
    body = {"document": document, "blob": workspace.blobs.put_json(asked)}
    if all(entry.body != body for entry in workspace.ledger.entries("questions")):
        workspace.ledger.append("questions", body)


def _questions(file: Path) -> Iterator[dict[str, Any]]:
    """The questions of a JSON lines file; InputError names the line that is none."""
    from gradatim.observe.files import decode, read_bytes

    text = decode(file, read_bytes(file))
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield _question(json.loads(line))
            except ValueError:
                expected = '{"question": "...", "accepted": ["...", "..."]}'
                raise InputError(f"{file}:{number}: is not a question; write {expected}") from None


def _question(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != {"question", "accepted"}:
        raise ValueError
    question, accepted = value["question"], value["accepted"]
    answers = accepted if isinstance(accepted, list) else []
    if not answers or not all(isinstance(text, str) and text.strip() for text in [question, *answers]):
        raise ValueError
    json.dumps(value, ensure_ascii=False).encode()  # half a character is a ValueError too
    return {"question": question, "accepted": answers}


def _show(data: dict[str, Any], to: Console) -> None:
    for document in data["added"]:
        to.print(f"added “{document['title']}”: {document['passages']} passages ({document['id'][:12]})")
    for skipped in data["skipped"]:
        to.print(f"skipped {skipped['file']}: {skipped['reason']}")
    if data["questions"]:
        to.print(f"{data['questions']} questions for the judge")
