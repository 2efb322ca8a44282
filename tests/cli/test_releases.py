"""`approve`, `reject`, `rollback`, `promote`, `releases`: who is served, and who may say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.workspace import Workspace

Run = Callable[..., Any]


@pytest.fixture
def base(folder: Path) -> str:
    return Workspace.open(folder).registry.live_id()


@pytest.fixture
def waiting(run: Run, folder: Path, handbook: Path, base: str, scripted: Any) -> str:
    """A release that awaits approval."""
    run("add", handbook, "-w", folder)
    scripted.outcome, scripted.approval = "awaiting-approval", True
    release = run("step", "-w", folder, "--json").data["release"]
    assert isinstance(release, str)
    return release


@pytest.fixture
def released(run: Run, folder: Path, handbook: Path, base: str, scripted: Any) -> str:
    """A release that a step made live."""
    run("add", handbook, "-w", folder)
    release = run("step", "-w", folder, "--json").data["release"]
    assert isinstance(release, str)
    return release


def live(folder: Path) -> str:
    return Workspace.open(folder).registry.live_id()


def test_approving_makes_it_live(run: Run, folder: Path, waiting: str) -> None:
    assert live(folder) != waiting
    done = run("approve", waiting[:8], "--by", "ada", "--reason", "read it", "-w", folder, "--json")
    assert done.code == 0, done.err
    assert done.data == {"release": waiting, "live": True, "by": "ada"}
    assert live(folder) == waiting
    (entry,) = Workspace.open(folder).ledger.entries("approval")
    assert entry.body == {"release": waiting, "by": "ada", "reason": "read it"}
    move = Workspace.open(folder).registry.history()[-1]
    assert (move.kind, move.by, move.reason) == ("promote", "ada", "read it")
    again = run("approve", waiting[:8], "--by", "ada", "-w", folder, "--json")
    assert again.code == 2
    assert "was approved already" in again.data["error"]


def test_approving_again_mends_what_a_kill_left(run: Run, folder: Path, waiting: str) -> None:
    body = {"release": waiting, "by": "ada", "reason": ""}
    Workspace.open(folder).ledger.append("approval", body)  # and killed before the promotion
    assert run("approve", waiting[:8], "--by", "ada", "-w", folder).code == 0
    assert live(folder) == waiting
    assert len(list(Workspace.open(folder).ledger.entries("approval"))) == 1


def test_rejecting_keeps_the_live_one(run: Run, folder: Path, base: str, waiting: str) -> None:
    done = run("reject", waiting[:8], "--by", "ada", "--reason", "no", "-w", folder, "--json")
    assert done.data == {"release": waiting, "live": False, "by": "ada"}
    assert live(folder) == base
    (entry,) = Workspace.open(folder).ledger.entries("rejection")
    assert entry.body == {"release": waiting, "by": "ada", "reason": "no"}
    for command in ("approve", "promote"):
        refused = run(command, waiting[:8], "--by", "ada", "-w", folder, "--json")
        assert refused.code == 2
        assert "was rejected" in refused.data["error"]
    assert live(folder) == base


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_only_whom_the_charter_names(run: Run, folder: Path, base: str, waiting: str, command: str) -> None:
    (folder / "charter.toml").write_text('[approval]\nrequired = true\nby = ["ada"]\n')
    refused = run(command, waiting[:8], "--by", "mallory", "-w", folder, "--json")
    assert refused.code == 2
    assert 'charter.toml line 3: by = ["ada"]' in refused.data["error"]
    assert live(folder) == base
    assert run(command, waiting[:8], "--by", "ada", "-w", folder).code == 0


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_what_never_needed_approval(run: Run, folder: Path, base: str, command: str) -> None:
    done = run(command, base[:8], "--by", "ada", "-w", folder, "--json")
    assert done.code == 2
    assert "never needed approval" in done.data["error"]


def test_what_was_judged_against_another_release(run: Run, folder: Path, waiting: str) -> None:
    registry = Workspace.open(folder).registry
    other = registry.create(base="b" * 64, step="step-x")
    registry.promote(other.id, reason="meanwhile", by="test")
    done = run("approve", waiting[:8], "--by", "ada", "-w", folder, "--json")
    assert done.code == 2
    assert "was judged against" in done.data["error"]
    assert live(folder) == other.id


def test_neither_promote_nor_rollback_goes_around_approval(run: Run, folder: Path, base: str, waiting: str) -> None:
    promoted = run("promote", waiting[:8], "-w", folder, "--json")
    assert (promoted.code, "awaits approval" in promoted.data["error"]) == (2, True)
    rolled = run("rollback", waiting[:8], "-w", folder, "--json")
    assert (rolled.code, "was never live" in rolled.data["error"]) == (2, True)
    assert live(folder) == base


def test_what_failed_its_checks_is_not_promoted(
    run: Run, folder: Path, base: str, handbook: Path, scripted: Any
) -> None:
    run("add", handbook, "-w", folder)
    scripted.judged = "fail"
    release = run("step", "-w", folder, "--json").data["release"]
    run("rollback", "-w", folder)
    done = run("promote", release[:8], "-w", folder, "--json")
    assert (done.code, "did not pass its checks (fail)" in done.data["error"]) == (2, True)
    assert live(folder) == base


def test_back_and_forth(run: Run, folder: Path, base: str, released: str) -> None:
    back = run("rollback", "--by", "ada", "--reason", "odd answers", "-w", folder, "--json")
    assert (back.code, back.data) == (0, {"live": base, "was": released})
    assert run("rollback", "-w", folder).code == 2  # there is nothing before the base
    forth = run("promote", released[:8], "--by", "ada", "-w", folder, "--json")
    assert (forth.code, forth.data) == (0, {"live": released, "was": base})
    named = run("rollback", base[:8], "-w", folder, "--json")
    assert named.data == {"live": base, "was": released}
    history = run("releases", "-w", folder, "--json").data["history"]
    assert [each["kind"] for each in history] == ["promote", "promote", "rollback", "promote", "rollback"]
    assert (history[2]["by"], history[2]["reason"]) == ("ada", "odd answers")


def test_a_rollback_does_not_wait_for_a_step(run: Run, folder: Path, base: str, released: str) -> None:
    with Workspace.open(folder).lock():
        assert run("rollback", "-w", folder).code == 0
    assert live(folder) == base


@pytest.mark.parametrize("command", ["approve", "reject", "rollback", "promote", "show"])
def test_an_unknown_release(run: Run, folder: Path, base: str, command: str) -> None:
    who = ["--by", "ada"] if command in ("approve", "reject") else []
    done = run(command, "ffffffff", *who, "-w", folder, "--json")
    assert done.code == 2
    assert "No release begins with ffffffff" in done.data["error"]


def test_the_list(run: Run, folder: Path, base: str, released: str) -> None:
    listed = run("releases", "-w", folder, "--json").data
    assert listed["live"] == released
    assert [(each["id"], each["state"], each["parent"]) for each in listed["releases"]] == [
        (base, "was live", None),
        (released, "live", base),
    ]
    out = run("releases", "-w", folder).out
    assert base[:12] in out
    assert "was live" in out


def test_the_list_tells_what_waits(run: Run, folder: Path, waiting: str) -> None:
    assert run("releases", "-w", folder, "--json").data["releases"][1]["state"] == "awaiting"
    run("reject", waiting, "--by", "ada", "-w", folder)
    assert run("releases", "-w", folder, "--json").data["releases"][1]["state"] == "rejected"
