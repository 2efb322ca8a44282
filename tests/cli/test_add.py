"""`gradatim add`: all files or none, nothing twice, no text in the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.observe.files import MAX_BYTES
from gradatim.store.records import load_document
from gradatim.workspace import Workspace

Run = Callable[..., Any]


def test_a_document_is_stored_and_named(run: Run, folder: Path, handbook: Path) -> None:
    done = run("add", handbook, "-w", folder, "--json")
    assert (done.code, done.err) == (0, "")
    here = Workspace.open(folder)
    (record,) = here.records.documents("new")
    assert done.data == {
        "added": [{"id": record.id, "title": "Mill rules", "passages": 3}],
        "skipped": [],
        "questions": 0,
    }
    assert load_document(record, here.blobs).text == handbook.read_text("utf-8")
    (entry,) = here.ledger.entries("document")
    assert entry.body == {"digest": record.id, "source": str(handbook), "title": "Mill rules"}


def test_again_it_is_skipped(run: Run, folder: Path, handbook: Path) -> None:
    run("add", handbook, "-w", folder)
    done = run("add", handbook, "-w", folder, "--json")
    assert done.code == 0
    assert done.data["added"] == []
    assert done.data["skipped"] == [{"file": str(handbook), "reason": "was added before"}]
    assert len(list(Workspace.open(folder).ledger.entries("document"))) == 1


def test_adding_again_mends_what_a_kill_left(run: Run, folder: Path, handbook: Path) -> None:
    run("add", handbook, "-w", folder)
    for file in folder.glob("records.sqlite*"):
        file.unlink()  # as if it had been killed between the ledger and the table
    done = run("add", handbook, "-w", folder, "--json")
    assert len(done.data["added"]) == 1
    assert len(list(Workspace.open(folder).ledger.entries("document"))) == 1


def bad(folder: Path, which: str) -> Path:
    file = folder / f"{which}.md"
    if which == "folder":
        file.mkdir()
    elif which == "large":
        with file.open("wb") as writer:
            writer.truncate(MAX_BYTES + 1)
    elif which != "missing":
        contents = {
            "empty": b"",
            "binary": b"MZ\0\0\1\2",
            "encoding": b"caf\xe9 au lait\n",
            "headings": b"# One\n\n## Two\n",
        }
        file.write_bytes(contents[which])
    return file


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("empty", "is empty"),
        ("binary", "is binary"),
        ("encoding", "is not UTF-8"),
        ("large", "split it"),
        ("missing", "there is no such file"),
        ("folder", "is a folder"),
        ("headings", "holds no sentence"),
    ],
)
def test_one_bad_file_stores_nothing(
    run: Run, folder: Path, handbook: Path, tmp_path: Path, which: str, words: str
) -> None:
    file = bad(tmp_path, which)
    done = run("add", handbook, file, "-w", folder, "--json")
    assert done.code == 2
    assert words in done.data["error"]
    assert str(file) in done.data["error"]
    assert done.err == f"error: {done.data['error']}\n"
    here = Workspace.open(folder)
    assert here.records.documents() == []
    assert list(here.ledger.entries("document")) == []


def test_the_charter_says_where_from(run: Run, folder: Path, handbook: Path) -> None:
    (folder / "charter.toml").write_text('[sources]\nallow = ["/srv/*"]\n')
    done = run("add", handbook, "-w", folder, "--json")
    assert done.code == 2
    assert 'charter.toml line 2: allow = ["/srv/*"]' in done.data["error"]
    assert Workspace.open(folder).records.documents() == []


def test_a_broken_charter(run: Run, folder: Path, handbook: Path) -> None:
    (folder / "charter.toml").write_text("[gate]\nleast_gain = \n")
    done = run("add", handbook, "-w", folder, "--json")
    assert done.code == 2
    assert "charter.toml:2: is not TOML" in done.data["error"]


def test_a_name_that_is_no_text(run: Run, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "caf\udce9.md"
    file.write_text("The mill opens at five.")
    done = run("add", file, "-w", folder, "--json")
    assert done.code == 2
    assert "rename the file" in done.data["error"]


QUESTIONS = [
    {"question": "When does it open?", "accepted": ["five", "5"]},
    {"question": "Who weighs?", "accepted": ["Vole"]},
]


def write(file: Path, *lines: object) -> Path:
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return file


def test_questions_are_kept_for_the_judge(run: Run, folder: Path, handbook: Path, tmp_path: Path) -> None:
    questions = write(tmp_path / "questions.jsonl", *QUESTIONS, "")
    for _ in range(2):
        done = run("add", handbook, "--questions", questions, "-w", folder, "--json")
        assert done.data["questions"] == 2
    here = Workspace.open(folder)
    (entry,) = here.ledger.entries("questions")
    assert entry.body["document"] == here.records.documents()[0].id
    assert here.blobs.get_json(entry.body["blob"], list[dict[str, Any]]) == QUESTIONS


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        '{"question": "Q?"}',
        '{"question": "Q?", "accepted": []}',
        '{"question": "Q?", "accepted": "five"}',
        '{"question": " ", "accepted": ["a"]}',
        '{"question": "Q?", "accepted": [5]}',
        '{"question": "\\ud800", "accepted": ["a"]}',
    ],
)
def test_a_bad_question_stores_nothing(run: Run, folder: Path, handbook: Path, tmp_path: Path, line: str) -> None:
    questions = write(tmp_path / "questions.jsonl", QUESTIONS[0], line)
    done = run("add", handbook, "--questions", questions, "-w", folder, "--json")
    assert done.code == 2
    assert f"{questions}:2: is not a question" in done.data["error"]
    assert Workspace.open(folder).records.documents() == []


def test_questions_are_about_one_document(run: Run, folder: Path, handbook: Path, tmp_path: Path) -> None:
    done = run(
        "add", handbook, handbook, "--questions", write(tmp_path / "q.jsonl", *QUESTIONS), "-w", folder, "--json"
    )
    assert done.code == 2
    assert "one by one" in done.data["error"]


def test_people_read_titles(run: Run, folder: Path, handbook: Path) -> None:
    assert "added “Mill rules”: 3 passages" in run("add", handbook, "-w", folder).out
    assert "was added before" in run("add", handbook, "-w", folder).out
