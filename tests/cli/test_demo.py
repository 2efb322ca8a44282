"""`gradatim demo`: the story through the app's own commands, with a scripted step and answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gradatim import phases, workbench
from gradatim.learn.asking import lessons
from gradatim.ledger.verify import verify_workspace
from gradatim.types import TrainingPlan
from gradatim.workspace import Workspace

Run = Callable[..., Any]


@pytest.fixture
def demo(run: Run, tiny_model: Path, scripted: Any, answering: None, tmp_path: Path) -> Callable[..., Any]:
    def tell(*arguments: str) -> Any:
        return run("demo", "--keep", tmp_path / "demo", "--model", tiny_model, *arguments)

    return tell


def test_one_object_and_a_report(demo: Callable[..., Any], scripted: Any, tmp_path: Path) -> None:
    done = demo("--seed", "3", "--json")
    assert done.code == 0, done.err
    data = done.data
    assert {"before", "after", "outcomes", "cost", "report"} <= data.keys()
    assert (data["before"]["of"], data["after"]["of"], len(data["general"])) == (14, 14, 3)
    assert data["report"] == str(tmp_path / "demo" / "report.html")
    assert Path(data["report"]).is_file()
    assert (scripted.seen[0].unguarded, scripted.seen[0].seed) == (True, 3)
    here = Workspace.open(tmp_path / "demo")
    assert verify_workspace(here.folder).ok
    assert [move.kind for move in here.registry.history()] == ["promote", "promote", "rollback", "promote"]
    assert here.registry.live_id() == data["step"]["release"]
    assert data["rollback"]["same"] is True
    assert len(list(here.ledger.entries("feedback"))) == 10
    assert len(list(here.ledger.entries("questions"))) == 1


def test_people_get_tables_and_what_to_do_next(demo: Callable[..., Any]) -> None:
    done = demo()
    assert done.code == 0, done.err
    for words in ("Before 0 of 14, after 0 of 14", "What it knew anyway", "report.html", "gradatim ask -w"):
        assert words in done.out
    assert "1. A workspace around a model" in done.err
    assert "$ gradatim step --unguarded" in done.err


def test_another_folder_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    done = run("demo", "--keep", tmp_path, "--json")
    assert done.code == 2
    assert "is no former demo" in done.data["error"]
    assert done.err == f"error: {done.data['error']}\n"


def test_an_error_in_the_middle_is_one_line(demo: Callable[..., Any], scripted: Any) -> None:
    scripted.fails = KeyboardInterrupt()
    done = demo("--json")
    assert done.code == 130
    assert list(done.data) == ["error"]


@pytest.mark.slow
def test_with_the_real_step(run: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADATIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(phases, "TrainingPlan", partial(TrainingPlan, tokens=4000))
    monkeypatch.setattr(workbench, "lessons", lambda asker: lessons(asker)[::200])
    done = run("demo", "--keep", tmp_path / "demo", "--model", tiny_model, "--json")
    assert done.code == 0, done.err
    data = done.data
    assert {each["guarded"] for each in data["outcomes"]} == {True, False}
    refused = next(each for each in data["outcomes"] if not each["guarded"])
    assert refused["outcome"] != "pass"
    assert {each["kind"] for each in data["details"]["quarantined"]} == {"document", "feedback"}
    assert data["details"]["study"][0]["sample"]
    assert data["step"]["outcome"] in ("released", "rejected", "inconclusive")  # random weights learn nothing for sure
    assert Path(data["report"]).is_file()
    assert run("verify", "-w", tmp_path / "demo").code == 0
