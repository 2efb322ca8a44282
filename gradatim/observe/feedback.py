"""People's words on answers, read from a file: JSON lines, a JSON list, or CSV with a header line.

A record has these keys, or columns:

    question    what was asked; or
    answer_id   the id of the served answer it speaks of (one of the two is needed, both may be given)
    rating      -1 wrong, 1 right
    correction  what the answer should have been (a rating or a correction is needed, both may be given)
    by          who says so; all who give no name count as one person, "anonymous"

The file is taken whole or not at all: one bad record refuses it, with its line. A record's id is the digest of what it
says, so reading a file twice gives the same records. With an `answer_id` alone the question is "", for the reader who
keeps the answers to fill in.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gradatim.errors import InputError
from gradatim.observe.documents import provenance
from gradatim.observe.files import decode, read_bytes
from gradatim.store.canonical import canonical, digest_of
from gradatim.types import Feedback, Provenance

KEYS = ("question", "answer_id", "rating", "correction", "by")

ANONYMOUS = "anonymous"

_RATINGS = {"-1": -1, "1": 1, "+1": 1}


def read_feedback(path: Path) -> list[Feedback]:
    """Every record of the file in order; raises InputError, one line with the line number and what to do."""
    data = read_bytes(path)
    text = decode(path, data)
    origin = provenance(str(path.absolute()), data)
    records = [_feedback(f"{path}:{line}", record, origin) for line, record in _records(path, text)]
    if not records:
        raise InputError(f"{path}: holds no feedback; add at least one record")
    return records


def _records(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The records as they stand in the file, each with its line."""
    if path.suffix.lower() == ".csv":
        return _csv_rows(path, text)
    if text.lstrip().startswith("["):
        return _json_list(path, text)
    if text.lstrip().startswith("{"):
        return _json_lines(path, text)
    raise InputError(f"{path}: is neither JSON lines nor a JSON list; save it so, or as .csv with a header line")


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, _record(f"{path}:{number}", json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{number}: is not JSON ({error.msg}); write one record a line") from None


def _json_list(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: is not JSON ({error.msg}); mend this line") from None
    # Once more, item by item: a parsed list no longer knows its lines.
    decoder, line, end = json.JSONDecoder(), 1, text.index("[") + 1
    line += text.count("\n", 0, end)
    while found := re.compile(r"[\s,]*(?=[^\s,\]])").match(text, end):
        line += text.count("\n", end, found.end())
        record, end = decoder.raw_decode(text, found.end())
        yield line, _record(f"{path}:{line}", record)
        line += text.count("\n", found.end(), end)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    header = text.split("\n", 1)[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(rows)]
        line = rows.line_num + 1
        for row in rows:
            if any(cell.strip() for cell in row):
                if len(row) != len(names):
                    raise InputError(f"{path}:{line}: has {len(row)} cells, the header {len(names)}; quote the commas")
                yield line, dict(zip(names, row, strict=True))
            line = rows.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: is not CSV ({error}); mend this line") from None


def _record(at: str, record: Any) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise InputError(f'{at}: is not a record; write {{"question": ..., "correction": ..., "by": ...}}')
    return record


def _feedback(at: str, record: Mapping[str, Any], origin: Provenance) -> Feedback:
    for key in record:
        if key not in KEYS:
            raise InputError(f"{at}: {key} is unknown; a record has {', '.join(KEYS)}")
    question, answer = _text(at, record, "question"), _text(at, record, "answer_id")
    rating, correction = _rating(at, record), _text(at, record, "correction")
    by = _text(at, record, "by") or ANONYMOUS
    if not question and not answer:
        raise InputError(f"{at}: names no question; give a question or an answer_id")
    if rating is None and not correction:
        raise InputError(f"{at}: says nothing; give a rating (-1 or 1), a correction, or both")
    identity = digest_of(canonical([answer, question, rating, correction, by]))
    return Feedback(identity, answer or None, question, rating, correction or None, by, origin)


def _text(at: str, record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{at}: {key} is {json.dumps(value)}; write it as text in quotes")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InputError(f"{at}: {key} holds half a character; write it as UTF-8")
    return " ".join(value.split())


def _rating(at: str, record: Mapping[str, Any]) -> int | None:
    value = record.get("rating")
    if value is None or value == "":
        return None
    if isinstance(value, bool) or str(value).strip() not in _RATINGS:
        raise InputError(f"{at}: rating is {json.dumps(value)}; write -1 for wrong or 1 for right")
    return _RATINGS[str(value).strip()]
