"""Rollouts that a step or an approval wants: begun by the server when it can, once, and never of what is outdated."""

from __future__ import annotations

import pytest

from gradatim import approvals
from gradatim.serve.rollouts import Rollouts
from gradatim.serve.settings import Limits, Settings
from gradatim.workspace import Workspace
from tests.serve.conftest import new_release

ROLLED = '[schedule]\nrelease = "rollout"\n'


@pytest.fixture
def candidate(workspace: Workspace) -> str:
    workspace.charter_path.write_text(ROLLED, "utf-8")
    return new_release(workspace, 1)


def rollouts(workspace: Workspace) -> list[tuple[str, str]]:
    return [(saved.candidate, saved.live) for saved in workspace.records.rollouts.all()]


def test_it_begins_at_the_next_look_and_only_once(workspace: Workspace, candidate: str) -> None:
    live = workspace.registry.live_id()
    server = Rollouts(workspace, Settings())
    approvals.want_rollout(workspace, candidate, "gradatim step")
    approvals.want_rollout(workspace, candidate, "gradatim step")  # a phase may run again
    server.look()
    assert rollouts(workspace) == [(candidate, live)]
    assert len(list(workspace.ledger.entries("rollout-wanted"))) == 1
    assert approvals.rollout_wanted(workspace) is None
    server.command("rollout-0001", "abort", "ada", "no")
    approvals.want_rollout(workspace, candidate, "gradatim step")  # the phase of a step that was killed late
    for _ in range(2):
        server.look()
    assert rollouts(workspace) == [(candidate, live)]
    assert approvals.rollout_wanted(workspace) is None
    assert workspace.registry.live_id() == live


def test_it_waits_for_the_one_under_way_and_is_dropped_when_outdated(workspace: Workspace, candidate: str) -> None:
    other = new_release(workspace, 2)
    server = Rollouts(workspace, Settings())
    server.start(other, "ada")
    approvals.want_rollout(workspace, candidate, "gradatim step")
    server.look()
    assert len(rollouts(workspace)) == 1
    approvals.promote(workspace, other, "ada", "for everybody, at once")
    server.look()  # which ends the rollout
    server.look()
    assert len(rollouts(workspace)) == 1
    dropped = next(workspace.ledger.entries("rollout-dropped")).body
    assert dropped["release"] == candidate
    assert "was judged against" in dropped["reason"]
    assert approvals.rollout_wanted(workspace) is None


def test_what_hinders_it_is_said_once_and_waited_out(
    workspace: Workspace, candidate: str, caplog: pytest.LogCaptureFixture
) -> None:
    approvals.want_rollout(workspace, candidate, "gradatim step")
    hindered = Rollouts(workspace, Settings(limits=Limits(warm_releases=1)))
    for _ in range(3):
        hindered.look()
    assert [record.message for record in caplog.records] == ["a rollout can't begin"]
    assert approvals.rollout_wanted(workspace) == candidate
    Rollouts(workspace, Settings()).look()
    assert rollouts(workspace)[0][0] == candidate


def test_an_approval_has_it_rolled_out(workspace: Workspace, candidate: str) -> None:
    live = workspace.registry.live_id()
    workspace.ledger.append("approval-needed", {"release": candidate, "step": "step-1"})
    approvals.approve(workspace, candidate, "ada", "fine")
    assert workspace.registry.live_id() == live
    assert approvals.awaiting(workspace) == []
    Rollouts(workspace, Settings()).look()
    assert rollouts(workspace) == [(candidate, live)]
