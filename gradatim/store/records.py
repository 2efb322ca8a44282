"""What happened in use: documents, answers, feedback, and how each edit strategy fared.

SQLite by default (write-ahead log, foreign keys, ten seconds' patience with another writer), PostgreSQL by URL; one
contract for both (`tests/store/test_contract.py`). Each method is one transaction. Adding what is already there
changes nothing, so a step that runs again may add again. The text of a document is a blob; rows hold its digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import RowMapping, Select, Table, bindparam, select, update

from gradatim.errors import InputError
from gradatim.store import tables
from gradatim.store.blobs import Blobs
from gradatim.store.clock import now
from gradatim.store.database import Database
from gradatim.store.keys import Keys
from gradatim.store.quarantine import Quarantine
from gradatim.store.rollouts import RolloutTable
from gradatim.store.traffic import Traffic
from gradatim.store.watched import Watched
from gradatim.types import Answer, Digest, Document, Feedback, Provenance

_OWNER = "workspace"

Status = Literal["new", "studied", "quarantined"]


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A document as the table knows it: `load_document` fetches the text."""

    id: Digest
    title: str
    blob: Digest
    provenance: Provenance
    status: Status
    reason: str | None


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """Feedback, and what became of it."""

    feedback: Feedback
    status: Status
    reason: str | None


def load_document(record: DocumentRecord, blobs: Blobs) -> Document:
    """The document with its text; IntegrityError when the blob is damaged."""
    return Document(record.id, record.title, blobs.get(record.blob).decode(), record.provenance)


class Records:
    """The tables behind a URL such as sqlite:////path/to/records.sqlite; migrated when opened."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.traffic = Traffic(self._database)
        self.keys = Keys(self._database)
        self.rollouts = RolloutTable(self._database)
        self.quarantine = Quarantine(self._database)
        self.watched = Watched(self._database)

    def close(self) -> None:
        self._database.close()

    @property
    def database(self) -> Database:
        """What all of it is in."""
        return self._database

    def claim(self, owner: str) -> bool:
        """Make these records an owner's, for good; False, and nothing changed, when they are another's."""
        with self._database.writing() as connection:
            connection.execute(self._database.insert_new(tables.meta).values(key=_OWNER, value=owner))
        return self.owner == owner

    @property
    def owner(self) -> str | None:
        """Whose they are, where several workspaces could reach them."""
        return self.setting(_OWNER)

    def add_document(self, document: Document, blob: Digest, status: Status = "new", reason: str | None = None) -> bool:
        """Add a document whose text is in `blob`; False, and nothing changed, when it is already there."""
        row = {"id": document.id, "title": document.title, "blob": blob, "status": status, "reason": reason}
        return self._add(tables.documents, row | asdict(document.provenance))

    def documents(self, status: Status | None = None) -> list[DocumentRecord]:
        """Documents in order of arrival, of one status or all."""
        return [
            DocumentRecord(row["id"], row["title"], row["blob"], _provenance(row), row["status"], row["reason"])
            for row in self._of_status(tables.documents, status)
        ]

    def mark_documents(self, ids: Iterable[Digest], status: Status, reason: str | None = None) -> None:
        """Set the status of documents; InputError, and nothing changed, when an id is unknown."""
        self._mark(tables.documents, list(ids), status, reason)

    def add_answer(self, answer: Answer) -> bool:
        return self._add(tables.answers, asdict(answer))

    def answer(self, answer_id: str) -> Answer | None:
        rows = self._read(select(tables.answers).where(tables.answers.c.id == answer_id))
        return next((Answer(**{key: row[key] for key in Answer.__slots__}) for row in rows), None)

    def add_feedback(self, feedback: Feedback, status: Status = "new", reason: str | None = None) -> bool:
        """Add feedback; InputError when it speaks of an answer that was never recorded."""
        if feedback.answer is not None and self.answer(feedback.answer) is None:
            raise InputError(f"No answer {feedback.answer} was served here: name one that was, or only a question")
        row = {name: getattr(feedback, name) for name in Feedback.__slots__ if name != "provenance"}
        row |= {"status": status, "reason": reason}
        return self._add(tables.feedback, row | asdict(feedback.provenance))

    def has_feedback(self, feedback_id: str) -> bool:
        return bool(self._read(select(tables.feedback.c.id).where(tables.feedback.c.id == feedback_id)))

    def feedback(self, status: Status | None = None) -> list[FeedbackRecord]:
        """Feedback in order of arrival, of one status or all."""
        return [
            FeedbackRecord(_feedback(row), row["status"], row["reason"])
            for row in self._of_status(tables.feedback, status)
        ]

    def mark_feedback(self, ids: Iterable[str], status: Status, reason: str | None = None) -> None:
        """Set the status of feedback; InputError, and nothing changed, when an id is unknown."""
        self._mark(tables.feedback, list(ids), status, reason)

    def add_outcome(self, strategy: str, step: str, gain: float) -> bool:
        """Record what a strategy gained in a step; False when that was recorded before."""
        row = {"strategy": strategy, "step": step, "gain": gain, "at": now()}
        return self._add(tables.strategy_outcomes, row)

    def outcomes(self) -> list[tuple[str, float]]:
        """(strategy, gain) in order."""
        table = tables.strategy_outcomes
        return [(row["strategy"], row["gain"]) for row in self._read(select(table).order_by(table.c.position))]

    def setting(self, key: str) -> str | None:
        """A value kept beside the records, or None."""
        rows = self._read(select(tables.meta).where(tables.meta.c.key == key))
        return next((str(row["value"]) for row in rows), None)

    def set_setting(self, key: str, value: str) -> None:
        with self._database.writing() as connection:
            connection.execute(self._database.insert_new(tables.meta).values(key=key, value=value))
            connection.execute(update(tables.meta).where(tables.meta.c.key == key).values(value=value))

    def _add(self, table: Table, row: dict[str, Any]) -> bool:
        with self._database.writing() as connection:
            return connection.execute(self._database.insert_new(table).values(row)).rowcount == 1

    def _mark(self, table: Table, ids: list[str], status: Status, reason: str | None) -> None:
        change = update(table).where(table.c.id == bindparam("marked")).values(status=status, reason=reason)
        with self._database.writing() as connection:
            for marked in ids:
                if connection.execute(change, {"marked": marked}).rowcount != 1:
                    raise InputError(f"No {table.name} record {marked}: nothing was marked")

    def _of_status(self, table: Table, status: Status | None) -> list[RowMapping]:
        query = select(table).order_by(table.c.position)
        return self._read(query if status is None else query.where(table.c.status == status))

    def _read(self, query: Select[Any]) -> list[RowMapping]:
        with self._database.reading() as connection:
            return list(connection.execute(query).mappings())


def _provenance(row: RowMapping) -> Provenance:
    return Provenance(row["source"], row["digest"], row["added_at"])


def _feedback(row: RowMapping) -> Feedback:
    values = {name: row[name] for name in Feedback.__slots__ if name != "provenance"}
    return Feedback(**values, provenance=_provenance(row))
