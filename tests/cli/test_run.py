"""`gradatim run` and `gradatim incidents` without a step: what would be done and why, and a person's word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradatim.workspace import Workspace

Run = Callable[..., Any]


def test_a_dry_run_says_why_and_changes_nothing(run: Run, folder: Path, handbook: Path) -> None:
    assert run("add", handbook, "-w", folder).code == 0
    before = Workspace.open(folder).ledger.size
    done = run("run", "--dry-run", "-w", folder, "--json")
    assert done.code == 0
    decision = done.data["decision"]
    assert (decision["start"], decision["waiting"]) == (False, {"documents": 1, "corrections": 0})
    assert decision["why"].startswith("more may come in until ")
    assert decision["again"] is not None
    unmet = [condition for condition in decision["conditions"] if not condition["holds"]]
    assert [condition["name"] for condition in unmet] == ["quiet"]
    assert "quiet_minutes = 10" in unmet[0]["rule"]
    assert done.data["ended"] is None
    shown = run("run", "--dry-run", "-w", folder).out
    assert shown.startswith("no step now: more may come in until ")
    assert "no   quiet" in shown
    assert Workspace.open(folder).ledger.size == before
    assert run("run", "--once", "-w", folder, "--json").data["ended"] is None  # not yet: nothing is taken


def test_resuming_is_a_persons_word(run: Run, folder: Path) -> None:
    done = run("run", "--resume", "--by", "ada", "--reason", "more memory", "-w", folder, "--json")
    assert done.code == 0
    (entry,) = Workspace.open(folder).ledger.entries("schedule")
    assert entry.body == {"event": "resumed", "by": "ada", "reason": "more memory"}


def test_what_can_not_be_asked_of_it(run: Run, folder: Path) -> None:
    for arguments, words in (
        (["run", "--once", "--dry-run"], "give one of them"),
        (["run", "--by", "ada"], "go with --resume"),
        (["incidents", "burn"], "is no action"),
        (["incidents", "show"], "Which incident?"),
        (["incidents", "list", "incident-3"], "takes no INCIDENT"),
        (["incidents", "show", "incident-3", "--to", "a.zip"], "goes with export"),
        (["incidents", "show", "incident-3"], "No incident is called incident-3"),
    ):
        done = run(*arguments, "-w", folder, "--json")
        assert (done.code, words in done.data["error"]) == (2, True), arguments


def test_an_incident_from_opening_to_bundle(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("incidents", "-w", folder).out.strip() == "no incidents"
    opened = Workspace.open(folder).incidents.open("drift", "seconds", "twice as slow", {"p_value": 1e-9})
    assert opened is not None
    listed = run("incidents", "-w", folder, "--json").data["incidents"]
    assert [(one["id"], one["state"]) for one in listed] == [(opened.id, "open")]
    assert run("incidents", "show", opened.id, "-w", folder, "--json").data["evidence"] == {"p_value": 1e-9}
    assert run("incidents", "acknowledge", opened.id, "--by", "ada", "-w", folder).code == 0
    assert run("incidents", "close", opened.id, "--by", "ada", "-w", folder, "--json").code == 2  # a reason is wanted
    closed = run("incidents", "close", opened.id, "--by", "ada", "--reason", "a slow disk", "-w", folder).out
    assert "closed after" in closed
    assert "by ada: a slow disk" in closed
    file = tmp_path / "bundle.zip"
    done = run("incidents", "export", opened.id, "--to", file, "-w", folder, "--json")
    assert done.data["file"] == str(file)
    checked = run("verify", "--bundle", file, "--json")
    assert (checked.code, checked.data["ok"], checked.data["entries"]) == (0, True, 3)
    assert "signed by gradatim/" in run("verify", "--bundle", file).out
    file.write_bytes(file.read_bytes()[:-10])
    damaged = run("verify", "--bundle", file, "--json")
    assert (damaged.code, json.loads(damaged.out)["ok"]) == (2, False)
