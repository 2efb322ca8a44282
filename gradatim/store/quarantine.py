"""What is in quarantine, of whatever kind, and what people decided on it.

A document or a correction carries its status; a rating carries its doubt. A person's word is a row of its own: what was
released is new once more and is not doubted again, what was discarded stays where it is. A rating that is released is
added again, after all others, so that whoever reads ratings in order meets it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, Table, select, update

from gradatim.errors import InputError
from gradatim.store import tables
from gradatim.store.canonical import digest_of
from gradatim.store.clock import now
from gradatim.store.database import Database

Kind = Literal["document", "correction", "rating"]

_RECORDS = {"document": tables.documents, "correction": tables.feedback}


@dataclass(frozen=True, slots=True)
class Held:
    """An item in quarantine, or one that was, with the decision on it."""

    record: str
    kind: Kind
    what: str  # a title; a correction; a value with its comment
    about: str  # the question, or the response or session
    by: str  # who said it: a name, or key and subject
    reason: str  # why it is there
    at: str  # when it came
    decision: Literal["released", "discarded"] | None = None
    decided_by: str | None = None
    why: str | None = None  # the person's reason


class Quarantine:
    """The quarantine of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def held(self, *, decided: bool = False) -> list[Held]:
        """What waits for a person, kind by kind, oldest first; with `decided` also what was decided on."""
        with self._database.reading() as connection:
            found = [*_documents(connection), *_corrections(connection), *_ratings(connection)]
            said = {row["record"]: row for row in connection.execute(select(tables.decisions)).mappings()}
        result = []
        for item in found:
            if (word := said.get(item["record"])) is not None:
                item |= {"decision": "released" if word["released"] else "discarded"}
                item |= {"decided_by": word["by"], "why": word["reason"]}
            if word is None or decided:
                result.append(Held(**item))
        return result

    def find(self, prefix: str) -> Held:
        """The one item that waits and whose id begins so; InputError when there is none, or several."""
        found = [item for item in self.held() if len(prefix) >= 6 and item.record.startswith(prefix)]
        if len(found) != 1:
            what = "several items" if found else "nothing"
            raise InputError(f"{what.capitalize()} called {prefix[:64]} in quarantine: take an id from the list")
        return found[0]

    def decide(self, item: Held, *, released: bool, by: str, reason: str) -> bool:
        """Write a person's decision down; False, and nothing changed, when there is one already."""
        word = {"record": item.record, "released": released, "by": by, "reason": reason, "at": now()}
        with self._database.writing() as connection:
            if connection.execute(self._database.insert_new(tables.decisions).values(word)).rowcount != 1:
                return False
            if released and item.kind == "rating":
                self._add_again(connection, item.record)
            elif released:
                table = _RECORDS[item.kind]
                connection.execute(update(table).where(table.c.id == item.record).values(status="new", reason=None))
        return True

    def released(self) -> frozenset[str]:
        """The ids of all that people released."""
        query = select(tables.decisions.c.record).where(tables.decisions.c.released)
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def _add_again(self, connection: Connection, rating: str) -> None:
        row = connection.execute(select(tables.ratings).where(tables.ratings.c.id == rating)).mappings().one()
        again = {name: value for name, value in row.items() if name not in ("position", "doubt")}
        again["id"] = digest_of(f"{rating} released".encode())[:32]
        connection.execute(tables.ratings.insert().values(again))


def _doubted(connection: Connection, table: Table) -> list[RowMapping]:
    """Documents or corrections that are in quarantine, or that a person released from it."""
    query = (
        select(table, tables.decisions.c.released)
        .outerjoin(tables.decisions, tables.decisions.c.record == table.c.id)
        .where((table.c.status == "quarantined") | tables.decisions.c.released)
        .order_by(table.c.position)
    )
    return [*connection.execute(query).mappings()]


def _documents(connection: Connection) -> list[dict[str, Any]]:
    return [
        _item(row["id"], "document", row["title"], row["source"], "", row["reason"], row["added_at"])
        for row in _doubted(connection, tables.documents)
    ]


def _corrections(connection: Connection) -> list[dict[str, Any]]:
    return [
        _item(row["id"], "correction", row["correction"], row["question"], row["by"], row["reason"], row["added_at"])
        for row in _doubted(connection, tables.feedback)
    ]


def _ratings(connection: Connection) -> list[dict[str, Any]]:
    table = tables.ratings
    rows = connection.execute(select(table).where(table.c.doubt.is_not(None)).order_by(table.c.position)).mappings()
    return [
        _item(
            row["id"],
            "rating",
            " ".join([f"{row['metric']} {row['value']:g}", *filter(None, [row["comment"]])]),
            row["response"] or row["session"],
            f"{row['key']}/{row['subject'][:16]}",
            row["doubt"],
            row["at"],
        )
        for row in rows
    ]


def _item(record: str, kind: Kind, what: str, about: str, by: str, reason: str, at: str) -> dict[str, Any]:
    return {
        "record": record,
        "kind": kind,
        "what": what or "",
        "about": about or "",
        "by": by,
        "reason": reason or "",
        "at": at,
    }
