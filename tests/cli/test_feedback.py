"""`gradatim feedback` and `gradatim ask`: answers get ids, feedback names them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.observe.feedback import read_feedback
from gradatim.workspace import Workspace

Run = Callable[..., Any]


@pytest.fixture
def answer(run: Run, folder: Path, answering: None) -> dict[str, Any]:
    asked = run("ask", "Who weighs the sacks?", "-w", folder, "--json").data["answers"][0]
    assert isinstance(asked, dict)
    return asked


def records(folder: Path) -> list[Any]:
    return [record.feedback for record in Workspace.open(folder).records.feedback()]


def test_ask_gives_answers_that_are_kept(run: Run, folder: Path, answering: None) -> None:
    done = run("ask", "One?", "Two  or\nthree?", "-w", folder, "--json")
    assert done.code == 0
    here = Workspace.open(folder)
    live = here.registry.live_id()
    answers = done.data["answers"]
    assert [each["question"] for each in answers] == ["One?", "Two or three?"]
    assert [each["answer"] for each in answers] == [f"ONE? {live[:6]}", f"TWO OR THREE? {live[:6]}"]
    for each in answers:
        kept = here.records.answer(each["id"])
        assert kept is not None
        assert (kept.question, kept.answer, kept.release) == (each["question"], each["answer"], live)


def test_the_same_question_twice_is_two_answers(run: Run, folder: Path, answering: None) -> None:
    answers = run("ask", "One?", "One?", "-w", folder, "--json").data["answers"]
    assert answers[0]["id"] != answers[1]["id"]


def test_ask_from_a_file(run: Run, folder: Path, answering: None, tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("One?\n\n  Two?\n")
    answers = run("ask", "--file", tmp_path / "questions.txt", "-w", folder, "--json").data["answers"]
    assert [each["question"] for each in answers] == ["One?", "Two?"]
    assert "Who?" in run("ask", "Who?", "-w", folder).out


@pytest.mark.parametrize("arguments", [[], ["  "], ["caf\udce9?"], ["One?", "--file", "questions.txt"]])
def test_ask_nothing(run: Run, folder: Path, arguments: list[str]) -> None:
    done = run("ask", *arguments, "-w", folder, "--json")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


def test_a_word_on_an_answer(run: Run, folder: Path, answer: dict[str, Any]) -> None:
    done = run(
        "feedback",
        answer["id"],
        "--rating",
        "-1",
        "--correction",
        "Tamsin  Vole.",
        "--by",
        "ada",
        "-w",
        folder,
        "--json",
    )
    assert (done.code, done.err) == (0, "")
    (kept,) = records(folder)
    assert done.data == {"added": [{"id": kept.id, "question": answer["question"], "by": "ada"}], "skipped": 0}
    assert (kept.answer, kept.rating, kept.correction) == (answer["id"], -1, "Tamsin Vole.")
    assert kept.provenance.source == "cli"
    (entry,) = Workspace.open(folder).ledger.entries("feedback")
    assert entry.body == {"feedback": kept.id, "digest": kept.provenance.digest}


def test_a_word_on_a_question_has_the_id_a_file_would_give(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("feedback", "--question", "Who?", "--correction", "Vole.", "--by", "ada", "-w", folder, "--json")
    file = tmp_path / "same.jsonl"
    file.write_text(json.dumps({"question": "Who?", "correction": "Vole.", "by": "ada"}))
    assert done.data["added"][0]["id"] == read_feedback(file)[0].id
    again = run("feedback", "--file", file, "-w", folder, "--json")
    assert again.data == {"added": [], "skipped": 1}
    assert len(records(folder)) == 1


def test_a_file_of_words(run: Run, folder: Path, answer: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "words.csv"
    file.write_text(f"answer_id,question,rating,correction,by\n{answer['id']},,1,,ada\n,When?,,At five.,ben\n")
    done = run("feedback", "--file", file, "-w", folder, "--json")
    assert done.code == 0, done.err
    assert [kept.question for kept in records(folder)] == [answer["question"], "When?"]
    assert "2 added" not in run("feedback", "--file", file, "-w", folder).out


def test_one_unknown_answer_stores_nothing(run: Run, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "words.jsonl"
    file.write_text('{"question": "When?", "rating": 1}\n{"answer_id": "ffffffffffff", "rating": 1}\n')
    for arguments in (["--file", file], ["ffffffffffff", "--rating", "1"]):
        done = run("feedback", *arguments, "-w", folder, "--json")
        assert done.code == 2
        assert "No answer ffffffffffff was served here" in done.data["error"]
    assert records(folder) == []
    assert list(Workspace.open(folder).ledger.entries("feedback")) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "names no answer"),
        (["--question", "Who?"], "says nothing"),
        (["--question", "Who?", "--rating", "3"], "--rating is 3"),
        (["--question", "Who?", "--correction", " "], "correction is empty"),
        (["--file", "words.jsonl", "--by", "ada"], "leave out the rest"),
        (["--file", "no-such-file.jsonl"], "there is no such file"),
    ],
)
def test_what_can_not_be_used(run: Run, folder: Path, arguments: list[str], words: str) -> None:
    done = run("feedback", *arguments, "-w", folder, "--json")
    assert done.code == 2
    assert words in done.data["error"]
    assert records(folder) == []


def test_the_charter_may_forbid_the_command_line(run: Run, folder: Path) -> None:
    (folder / "charter.toml").write_text('[sources]\ndeny = ["cli"]\n')
    done = run("feedback", "--question", "Who?", "--rating", "1", "-w", folder, "--json")
    assert done.code == 2
    assert 'charter.toml line 2: deny = ["cli"]' in done.data["error"]
