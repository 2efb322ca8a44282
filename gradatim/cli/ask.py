"""`gradatim ask`: answers of the live release, kept so that feedback can name them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.display import progress
from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened, words
from gradatim.cli.reported import Result
from gradatim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from gradatim.types import Answer
    from gradatim.workspace import Workspace

ID_LENGTH = 12
"""Characters of an answer's id: short enough to type."""


def ask(
    questions: Annotated[list[str] | None, typer.Argument(metavar="QUESTION", help="What to ask.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Questions, one a line.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Ask the live release.

    JSON: {"answers": [{"question", "answer", "release", "id"}]}
    """
    if bool(questions) == (file is not None):
        raise InputError("Give QUESTIONs or --file, one of the two")
    asked = [words(question, "question") for question in (_lines(file) if file else questions or [])]
    with opened(workspace) as here:
        answers = _answers(here, asked)
    data = {
        "answers": [
            {"question": each.question, "answer": each.answer, "release": each.release, "id": each.id}
            for each in answers
        ]
    }
    return Result(data, partial(_show, data))


def _lines(file: Path) -> list[str]:
    from gradatim.observe.files import decode, read_bytes

    return [line for line in decode(file, read_bytes(file)).split("\n") if line.strip()]


def _answers(workspace: Workspace, questions: list[str]) -> list[Answer]:
    with progress() as shown:
        shown.phase("loading the model")
        from gradatim.release.answering import Answerer

        answerer = Answerer.open(workspace)
        replies = answerer.ask(questions, shown)
    return [
        _kept(workspace, question, reply, answerer.release.id, place)
        for place, (question, reply) in enumerate(zip(questions, replies, strict=True))
    ]


def _kept(workspace: Workspace, question: str, reply: str, release: str, place: int) -> Answer:
    from gradatim.store.canonical import canonical, digest_of
    from gradatim.store.clock import now
    from gradatim.types import Answer

    at = now()
    identity = digest_of(canonical([question, reply, release, at, place]))[:ID_LENGTH]
    answer = Answer(identity, question, reply, release, at)
    workspace.records.add_answer(answer)
    return answer


def _show(data: dict[str, Any], to: Console) -> None:
    for each in data["answers"]:
        to.print(each["question"], style="bold")
        to.print(f"  {each['answer']}")
        to.print(f"  answer {each['id']}, release {each['release'][:12]}", style="dim")
