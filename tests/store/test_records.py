"""Records: rows in, equal values out, and never twice; in SQLite and in PostgreSQL alike."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import DatabaseError

from gradatim.errors import InputError, WorkspaceError
from gradatim.store.blobs import Blobs
from gradatim.store.records import Records, load_document
from gradatim.store.tables import metadata
from gradatim.types import Answer, Document, Feedback, Provenance
from tests.store.conftest import Raw

PROVENANCE = Provenance("handbook.md", "d" * 64, "2026-01-01T00:00:00Z")
ANSWER = Answer("answer-1", "Who?", "Nobody", "r" * 64, "2026-01-01T00:00:00Z")
FEEDBACK = Feedback("feedback-1", "answer-1", "Who?", -1, "Ada", "lena", PROVENANCE)


def document(number: int) -> Document:
    return Document(f"{number:064x}", f"Title {number}", f"Text {number}", PROVENANCE)


def test_documents_come_back_with_their_text(records: Records, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    wanted = document(1)
    assert records.add_document(wanted, blobs.put(wanted.text.encode()))
    assert not records.add_document(wanted, "another", status="quarantined")
    (record,) = records.documents()
    assert load_document(record, blobs) == wanted
    assert (record.status, record.reason) == ("new", None)


def test_documents_are_marked_and_filtered_in_order_of_arrival(records: Records) -> None:
    for number in (3, 1, 2):
        records.add_document(document(number), "blob")
    records.mark_documents([document(1).id, document(3).id], "quarantined", "looks planted")
    assert [record.title for record in records.documents("new")] == ["Title 2"]
    assert [record.title for record in records.documents("quarantined")] == ["Title 3", "Title 1"]
    assert {record.reason for record in records.documents("quarantined")} == {"looks planted"}
    assert len(records.documents()) == 3


def test_marking_an_unknown_record_changes_nothing(records: Records) -> None:
    records.add_document(document(1), "blob")
    with pytest.raises(InputError, match="No documents record nowhere"):
        records.mark_documents([document(1).id, "nowhere"], "studied")
    assert len(records.documents("new")) == 1


def test_answers_and_feedback_come_back(records: Records) -> None:
    assert records.answer("answer-1") is None
    assert records.add_answer(ANSWER)
    assert not records.add_answer(ANSWER)
    assert records.answer("answer-1") == ANSWER
    assert records.add_feedback(FEEDBACK)
    assert not records.add_feedback(FEEDBACK)
    alone = Feedback("feedback-2", None, "What?", None, "That", "max", PROVENANCE)
    assert records.add_feedback(alone, "quarantined", "contradicts")
    assert [record.feedback for record in records.feedback()] == [FEEDBACK, alone]
    records.mark_feedback(["feedback-1"], "studied")
    assert [record.feedback.id for record in records.feedback("studied")] == ["feedback-1"]


def test_feedback_on_an_answer_that_was_never_served_is_refused(records: Records) -> None:
    with pytest.raises(InputError, match="No answer answer-1"):
        records.add_feedback(FEEDBACK)
    assert records.feedback() == []


def test_an_outcome_counts_once_for_a_step(records: Records) -> None:
    assert records.add_outcome("raw", "step-0001", 0.5)
    assert not records.add_outcome("raw", "step-0001", 0.9)
    assert records.add_outcome("qa", "step-0001", -0.1)
    assert records.add_outcome("raw", "step-0002", 0.2)
    assert records.outcomes() == [("raw", 0.5), ("qa", -0.1), ("raw", 0.2)]


def test_settings_are_kept(records: Records) -> None:
    assert records.setting("cursor") is None
    for value in ("1", "2"):
        records.set_setting("cursor", value)
        assert records.setting("cursor") == value


def test_opening_again_keeps_everything_and_prints_nothing(
    records: Records, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    records.add_outcome("raw", "step-0001", 0.5)
    again = Records(url)
    assert again.outcomes() == [("raw", 0.5)]
    again.close()
    assert capfd.readouterr() == ("", "")


def test_two_connections_write_in_turn(records: Records, url: str) -> None:
    other = Records(url)
    for number in range(10):
        assert (records if number % 2 else other).add_outcome("raw", f"step-{number}", 0.0)
    assert len(records.outcomes()) == len(other.outcomes()) == 10
    other.close()


@pytest.mark.usefixtures("records")
def test_the_migrations_make_the_tables(url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        made = inspect(connection)
        for table in metadata.tables.values():
            wanted = {str(c.name) for c in table.constraints if type(c).__name__ == "CheckConstraint"}
            assert {check["name"] for check in made.get_check_constraints(table.name)} == wanted
    engine.dispose()


def test_statuses_and_ratings_are_held_by_the_database(records: Records, raw: Raw) -> None:
    records.add_document(document(1), "blob")
    with pytest.raises(DatabaseError, match="ck_documents_status"):
        raw("UPDATE documents SET status = 'odd'")


def test_sqlite_writes_ahead(tmp_path: Path) -> None:
    Records(f"sqlite:///{tmp_path / 'r.sqlite'}").close()
    with closing(sqlite3.connect(tmp_path / "r.sqlite")) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.usefixtures("records")
def test_a_database_of_a_newer_version_is_refused(url: str, raw: Raw) -> None:
    raw("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(WorkspaceError, match="newer Gradatim"):
        Records(url)
