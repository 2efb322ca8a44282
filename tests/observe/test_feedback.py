"""Feedback files: three formats, taken whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gradatim.errors import InputError
from gradatim.observe.feedback import read_feedback
from gradatim.types import Feedback

ADA = {"question": "When do you open?", "rating": -1, "correction": "At nine.", "by": "ada"}
BEN = {"answer_id": "a17", "rating": 1}


def saved(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def complaint(folder: Path, name: str, text: str) -> str:
    path = saved(folder, name, text)
    with pytest.raises(InputError) as caught:
        read_feedback(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def said(records: list[Feedback]) -> list[tuple[object, ...]]:
    return [(item.answer, item.question, item.rating, item.correction, item.by) for item in records]


EXPECTED = [(None, "When do you open?", -1, "At nine.", "ada"), ("a17", "", 1, None, "anonymous")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("feedback.jsonl", f"{json.dumps(ADA)}\n\n{json.dumps(BEN)}\n"),
        ("feedback.json", json.dumps([ADA, BEN], indent=2)),
        ("feedback.txt", json.dumps([ADA, BEN])),
        (
            "feedback.csv",
            "question,answer_id,rating,correction,by\r\nWhen do you open?,,-1,At nine.,ada\r\n\r\n,a17,+1,,\r\n",
        ),
        ("feedback.CSV", 'question;answer_id;rating;correction;by\n"When do\nyou open?";;-1;At nine.;ada\n;a17;1;;\n'),
    ],
)
def test_each_format_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    assert said(read_feedback(saved(tmp_path, name, text))) == EXPECTED


def test_a_record_is_named_by_what_it_says(tmp_path: Path) -> None:
    first = read_feedback(saved(tmp_path, "a.jsonl", json.dumps(ADA)))
    again = read_feedback(saved(tmp_path, "b.json", json.dumps([BEN, ADA])))
    assert first[0].id == again[1].id
    assert len({item.id for item in again}) == 2


def test_provenance_is_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.jsonl", json.dumps(ADA))
    origin = read_feedback(path)[0].provenance
    assert origin.source == str(path)
    assert origin.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_empty_json_list(tmp_path: Path) -> None:
    assert complaint(tmp_path, "a.json", "[ ]") == ": holds no feedback; add at least one record"


GOOD = json.dumps(ADA)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.jsonl", f"{GOOD}\n{{broken\n", ":2: is not JSON ("),
        ("a.jsonl", f"{GOOD}\n\n[1]\n", ":3: is not a record; write {"),
        (
            "a.jsonl",
            f'{GOOD}\n{{"question": "Q", "ratng": 1}}',
            ":2: ratng is unknown; a record has question, answer_id",
        ),
        ("a.jsonl", f'{GOOD}\n{{"rating": 1}}', ":2: names no question; give a question or an answer_id"),
        ("a.jsonl", f'{GOOD}\n{{"question": "Q", "correction": " "}}', ":2: says nothing; give a rating (-1 or 1)"),
        ("a.jsonl", f'{GOOD}\n{{"question": "Q", "rating": 5}}', ":2: rating is 5; write -1 for wrong or 1 for right"),
        ("a.jsonl", '{"question": "Q", "rating": true}', ":1: rating is true; write -1"),
        ("a.jsonl", '{"question": "Q", "rating": 0}', ":1: rating is 0; write -1"),
        ("a.jsonl", '{"question": 7, "rating": 1}', ":1: question is 7; write it as text in quotes"),
        ("a.jsonl", '{"question": "Q", "correction": "\\ud83d", "by": "x"}', ":1: correction holds half a character"),
        ("a.json", f'[{GOOD},\n{GOOD},\n {{"question": "Q"}}]', ":3: says nothing"),
        ("a.json", f"[{GOOD},\n{GOOD}\n{GOOD}]", ":3: is not JSON ("),
        ("a.json", f"[{GOOD},\n\n7]", ":3: is not a record"),
        ("a.csv", "question,rating\nQ,1\nQ,x\n", ':3: rating is "x"; write -1'),
        ("a.csv", "question,rating\nQ, or so,1\n", ":2: has 3 cells, the header 2; quote the commas"),
        ("a.csv", 'question,rating\n"Q\nand more",1\nQ,7\n', ':4: rating is "7"'),
        ("a.csv", 'question,rating\n"Q"x,1\n', ":2: is not CSV ("),
        ("a.csv", "question,stars\nQ,1\n", ":2: stars is unknown"),
        ("a.csv", "question,rating\n", ": holds no feedback"),
        ("a.txt", "the oven is lit at three\n", ": is neither JSON lines nor a JSON list"),
    ],
)
def test_one_bad_record_refuses_the_file_with_its_line(tmp_path: Path, name: str, text: str, expected: str) -> None:
    assert complaint(tmp_path, name, text).startswith(expected)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_feedback(tmp_path / "none.jsonl")
