"""`gradatim step`, `status` and `show`, with a scripted step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.journal import Journal
from gradatim.workspace import Workspace

Run = Callable[..., Any]


@pytest.fixture
def learnt(run: Run, folder: Path, handbook: Path) -> Path:
    """A workspace with something to learn."""
    assert run("add", handbook, "-w", folder).code == 0
    return folder


def test_the_shape_of_a_step(run: Run, learnt: Path, scripted: Any) -> None:
    done = run("step", "--controls", "--unguarded", "--strategy", "own words", "--seed", "7", "-w", learnt, "--json")
    assert done.code == 0, done.err
    assert vars(scripted.seen[0]) == {"controls": True, "unguarded": True, "strategy": "own words", "seed": 7}
    data = done.data
    assert data["release"] == Workspace.open(learnt).registry.live_id()
    del data["release"]
    check = {"name": "gain", "estimate": 0.4, "low": 0.1, "high": 0.7, "threshold": 0.2, "outcome": "pass"}
    assert data == {
        "step": "step-0001",
        "outcome": "released",
        "candidates": [
            {
                "name": "c-1",
                "strategy": "own words",
                "guarded": True,
                "tokens": 640,
                "losses": [2.0, "NaN"],  # JSON has no word for it
                "verdict": {
                    "outcome": "pass",
                    "checks": [{**check, "explanation": "4 of 10 more right"}],
                    "controls": {"no update": 0.1},
                },
            }
        ],
        "cost": {"seconds": 12.5, "tokens": 640, "joules": 300.0},
        "reason": "it learnt",
    }
    assert "one line worth reading" in done.err


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("released", 0),
        ("nothing-to-do", 0),
        ("awaiting-approval", 0),
        ("rejected", 0),
        ("inconclusive", 0),
        ("error", 1),
    ],
)
def test_exit_codes(run: Run, learnt: Path, scripted: Any, outcome: str, code: int) -> None:
    scripted.outcome, scripted.approval = outcome, outcome == "awaiting-approval"
    done = run("step", "-w", learnt, "--json")
    assert (done.code, done.data["outcome"]) == (code, outcome)
    assert outcome in run("show", "step-0001", "-w", learnt).out


def test_people_read_the_checks(run: Run, learnt: Path, scripted: Any) -> None:
    out = run("step", "-w", learnt).out
    for words in ("c-1 (own words, guarded): pass", "0.1 to 0.7", "4 of 10 more right", "12 seconds, 640 tokens"):
        assert words in out


def test_two_steps_at_once(run: Run, learnt: Path, scripted: Any) -> None:
    with Workspace.open(learnt).lock():
        done = run("step", "-w", learnt, "--json")
    assert done.code == 2
    assert "Another step is running" in done.data["error"]
    assert done.err.splitlines()[-1] == f"error: {done.data['error']}"


def test_show_a_release_and_its_step(run: Run, learnt: Path, scripted: Any) -> None:
    release = run("step", "-w", learnt, "--json").data["release"]
    by_release = run("show", release[:8], "--examples", "2", "-w", learnt, "--json").data
    by_step = run("show", "step-0001", "--examples", "2", "-w", learnt, "--json").data
    assert by_release["release"]["id"] == release
    assert (by_step["release"], by_step["step"]) == (None, by_release["step"])
    step = by_step["step"]
    assert (step["asked"], step["right"], step["outcome"]) == (4, 1, "released")
    assert [each["source"] for each in step["weaknesses"]] == ["The mill at Orrin opens at five."]
    assert step["quarantined"] == [
        {
            "record": Workspace.open(learnt).records.documents()[0].id,
            "kind": "document",
            "what": "Mill rules",
            "reason": step["quarantined"][0]["reason"],
        }
    ]
    assert step["quarantined"][0]["reason"].endswith('says "five" (“The mill at Orrin opens at five.”)')
    (study,) = step["study"]
    assert (study["strategy"], study["examples"], study["rejected"]) == ("own words", 4, {"twice": 3})
    assert [(each["prompt"], each["source"]) for each in study["sample"]] == [
        ("Q0?", "The mill at Orrin opens at five."),
        ("Q1?", "Sacks are weighed by Tamsin Vole."),
    ]


def test_people_read_it_too(run: Run, learnt: Path, scripted: Any) -> None:
    release = run("step", "-w", learnt, "--json").data["release"]
    out = " ".join(run("show", release[:6], "-w", learnt).out.split())
    for words in ("Quarantine", "Weak spots (1 of 4 right)", "Study set “own words”: 4 examples", "At nine.", "c-1"):
        assert words in out


def test_show_the_base_alone(run: Run, folder: Path) -> None:
    live = Workspace.open(folder).registry.live_id()
    done = run("show", live[:6], "-w", folder, "--json")
    assert (done.data["release"]["id"], done.data["step"]) == (live, None)
    assert "the base model alone" in run("show", live[:6], "-w", folder).out


@pytest.mark.parametrize(
    ("name", "words"), [("step-0009", "No step is called"), ("ffffff", "No release"), ("ff", "too short")]
)
def test_show_what_is_not_there(run: Run, folder: Path, name: str, words: str) -> None:
    done = run("show", name, "-w", folder, "--json")
    assert done.code == 2
    assert words in done.data["error"]


def test_status_tells_what_waits(run: Run, learnt: Path, scripted: Any) -> None:
    here = Workspace.open(learnt)
    before = run("status", "-w", learnt, "--json").data
    assert before == {
        "workspace": str(learnt),
        "model": "nowhere",
        "base": "b" * 64,
        "live": here.registry.live_id(),
        "releases": 1,
        "waiting": {"documents": 1, "feedback": 0, "approvals": []},
        "unfinished": None,
        "steps": [],
        "ledger": {"entries": here.ledger.size, "head": here.ledger.head},
    }
    scripted.outcome, scripted.approval = "awaiting-approval", True
    release = run("step", "-w", learnt, "--json").data["release"]
    after = run("status", "-w", learnt, "--json").data
    assert after["waiting"]["approvals"] == [release]
    assert [(each["step"], each["outcome"]) for each in after["steps"]] == [("step-0001", "awaiting-approval")]
    out = run("status", "-w", learnt).out
    assert f"release {release[:12]} awaits approval" in out
    assert after["ledger"]["head"] in out


def test_status_tells_of_an_unfinished_step(run: Run, folder: Path) -> None:
    here = Workspace.open(folder)
    Journal.begin_or_resume(here.ledger, here.blobs, {})
    assert run("status", "-w", folder, "--json").data["unfinished"] == "step-0001"
    assert "`gradatim step` takes it up" in run("status", "-w", folder).out
    assert run("show", "step-0001", "-w", folder, "--json").data["step"]["outcome"] == "unfinished"
