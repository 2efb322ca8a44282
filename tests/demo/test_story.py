"""The story: told by commands alone, honest when nothing is released, careful with other people's folders."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gradatim.charter import DEFAULT_PATH
from gradatim.demo.folder import MARKER, prepare, refuse_unwritable
from gradatim.demo.story import GENERAL, MATERIAL, PATIENCE, tell
from gradatim.errors import InputError, WorkspaceError
from gradatim.workspace import Workspace

QUESTIONS = [json.loads(line) for line in (MATERIAL / "handbook.questions.jsonl").read_text("utf-8").splitlines()]
ACCEPTED = {each["question"]: each["accepted"][0] for each in QUESTIONS}


class ScriptedCommands:
    """Answers as the command line would; knows the handbook when the release is "new"."""

    def __init__(self, story: dict[str, Any], outcome: str) -> None:
        self.story, self.outcome, self.live = story, outcome, "old"
        self.ran: list[tuple[str, ...]] = []

    def __call__(self, command: str, *arguments: str) -> dict[str, Any]:
        self.ran.append((command, *arguments))
        result: dict[str, Any] = getattr(self, command)(*arguments)
        return result

    def init(self, folder: str, *model: str) -> dict[str, Any]:
        Workspace.create(Path(folder), {"digest": "b" * 64}, DEFAULT_PATH.read_text("utf-8"))
        return {"model": model[1], "base": "b" * 64, "workspace": folder, "release": "old"}

    def ask(self, *arguments: str) -> dict[str, Any]:
        known = {
            question: f"I think {answer}." if self.live == "new" else "No idea."
            for question, answer in ACCEPTED.items()
        }
        return {
            "answers": [
                {"question": each, "answer": known.get(each, "Of course."), "release": self.live, "id": "a"}
                for each in arguments[2:]
            ]
        }

    def add(self, *arguments: str) -> dict[str, Any]:
        return {"added": [], "skipped": [], "questions": 0}

    def feedback(self, *arguments: str) -> dict[str, Any]:
        return {"added": [], "skipped": 0}

    def step(self, *arguments: str) -> dict[str, Any]:
        report: dict[str, Any] = self.story["step"] | {"outcome": self.outcome}
        self.live = "new" if self.outcome == "released" else "old"
        return report

    def show(self, *arguments: str) -> dict[str, Any]:
        return {"release": None, "step": self.story["details"]}

    def rollback(self, *arguments: str) -> dict[str, Any]:
        self.live = "old"
        return {"live": "old", "was": "new"}

    def promote(self, *arguments: str) -> dict[str, Any]:
        self.live = "new"
        return {"live": "new", "was": "old"}

    def verify(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = self.story["verify"]
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "demo"


def test_told_from_end_to_end(story: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    commands, lines = ScriptedCommands(story, "released"), list[str]()
    told = tell(commands, folder, tmp_path / "report.html", lines.append, seed=5)
    assert [ran[0] for ran in commands.ran] == (
        "init ask add add feedback step show ask rollback ask promote verify".split()
    )
    assert commands.ran[0] == ("init", str(folder), "--model", "bundled")
    assert commands.ran[2][-3:] == (
        str(MATERIAL / "handbook.md"),
        "--questions",
        str(MATERIAL / "handbook.questions.jsonl"),
    )
    assert commands.ran[5] == ("step", "-w", str(folder), "--unguarded", "--seed", "5")
    assert all(ran[1:3] == ("-w", str(folder)) for ran in commands.ran[1:])
    assert (told["before"]["right"], told["after"]["right"], told["after"]["of"]) == (0, 14, 14)
    assert [each["question"] for each in told["general"]] == list(GENERAL)
    assert told["rollback"] == {
        "question": QUESTIONS[0]["question"],
        "former": "No idea.",
        "again": "No idea.",
        "same": True,
    }
    assert commands.live == "new"
    assert told["outcomes"] == [
        {"name": "guarded", "guarded": True, "outcome": "pass"},
        {"name": "unguarded", "guarded": False, "outcome": "fail"},
    ]
    assert "14 of 14 after" in (tmp_path / "report.html").read_text("utf-8")
    text = "\n".join(lines)
    for words in (
        "$ gradatim step --unguarded --seed 5 -w",
        "quarantined: Forged <notice>\n    why: gives orders",
        "weak spot: When? “At <noon>.”",
        "it wrote for itself: When do the ovens start? At 3:20.\n    from: Lit at 3:20.",
        "unguarded candidate unguarded: fail",
        "drift: unguarded & <drift>",
        "the former answer",
    ):
        assert words in text
    assert told["ledger"]["head"] == Workspace.open(folder).ledger.head


def test_a_slow_machine_has_time(story: dict[str, Any], folder: Path) -> None:
    """Only the seconds change: each other bound is the default's."""
    tell(ScriptedCommands(story, "released"), folder, folder.parent / "report.html", list[str]().append, seed=0)
    default, given = (
        tomllib.loads(DEFAULT_PATH.read_text("utf-8")),
        tomllib.loads((folder / "charter.toml").read_text()),
    )
    assert given["budget"]["seconds"] == PATIENCE
    given["budget"]["seconds"] = default["budget"]["seconds"]
    assert given == default


def test_nothing_released_is_said_and_not_hidden(story: dict[str, Any], folder: Path) -> None:
    commands = ScriptedCommands(story, "rejected")
    told = tell(commands, folder, folder / "report.html", lambda _: None)
    assert [ran[0] for ran in commands.ran][-2:] == ["ask", "verify"]
    assert (told["rollback"], told["after"]["right"]) == (None, 0)
    assert '<span class="rejected">rejected</span>' in (folder / "report.html").read_text("utf-8")


def test_a_former_demo_is_replaced(story: dict[str, Any], folder: Path) -> None:
    tell(ScriptedCommands(story, "released"), folder, folder / "report.html", lambda _: None)
    (folder / "former").touch()
    tell(ScriptedCommands(story, "released"), folder, folder / "report.html", lambda _: None)
    assert not (folder / "former").exists()
    assert (folder / "report.html").is_file()


def test_a_half_made_demo_is_replaced_too(folder: Path) -> None:
    prepare(folder)
    (folder / "workspace.json").write_text("half")
    prepare(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_nothing_else_is(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").touch()
    (tmp_path / "file").touch()
    for taken in (folder, tmp_path / "file"):
        with pytest.raises(WorkspaceError, match="is no former demo: name another folder with --keep"):
            prepare(taken)
    assert (folder / "thesis.txt").exists()


def test_an_empty_folder_and_a_link_will_do(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    prepare(folder)
    prepare(tmp_path / "link")
    assert (folder / MARKER).is_file()
    assert (tmp_path / "link").is_symlink()


def test_a_demo_that_runs_is_left_alone(story: dict[str, Any], folder: Path) -> None:
    tell(ScriptedCommands(story, "released"), folder, folder / "report.html", lambda _: None)
    with Workspace.open(folder).lock(), pytest.raises(WorkspaceError, match="Another step is running"):
        prepare(folder)
    assert (folder / "report.html").is_file()


def test_a_report_that_can_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for report in (tmp_path, tmp_path / "file" / "report.html"):
        with pytest.raises(InputError, match="report"):
            refuse_unwritable(report)
