"""Rollouts in a server: arms that stick, ratings that take a release back, and nothing lost by a restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gradatim.ledger.verify import verify_workspace
from gradatim.serve import rollouts
from gradatim.serve.measures import unit_value
from gradatim.serve.rollouts import Rollouts
from gradatim.serve.settings import Metric, Settings
from gradatim.workspace import Workspace
from tests.serve.conftest import ADMIN, CLIENT, Running, Serve, new_release

CONTROL = "/api/v1"
TOLD = Settings(tell_arms=True)
LENA = {"by": "lena", "reason": "the figures are in"}


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "LOOK_SECONDS", 0.01)


@pytest.fixture
def candidate(workspace: Workspace) -> str:
    """A release that is not live, in a workspace where half of the subjects meet a canary at once."""
    charter = workspace.charter_path.read_text("utf-8")
    charter = charter.replace("steps = [0.05, 0.25, 0.50]", "steps = [0.50]")
    workspace.charter_path.write_text(charter.replace("margins = [0.20, 0.08, 0.05]", "margins = [0.05]"), "utf-8")
    return new_release(workspace, 1)


def control(running: Running, path: str, body: dict[str, Any] | None = None, status: int = 200) -> Any:
    """GET, or POST of a body."""
    with running.http(ADMIN) as client:
        done = client.get(CONTROL + path) if body is None else client.post(CONTROL + path, json=body)
    assert done.status_code == status, done.text
    return done.json()


def ask(running: Running, user: str) -> Any:
    """The response to one request of a user."""
    body = {"model": "gradatim", "messages": [{"role": "user", "content": "Who weighs?"}], "max_tokens": 2}
    with running.http() as client:
        done = client.post("/v1/chat/completions", json=body | {"user": user})
    assert done.status_code == 200, done.text
    return done


def rate(running: Running, reply: Any, value: int) -> None:
    token = reply.headers["x-gradatim-feedback-token"]
    with running.http() as client:
        done = client.post("/v1/feedback", json={"response_id": reply.json()["id"], "value": value, "token": token})
    assert done.status_code == 200, done.text


def until(running: Running, rollout: str, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The rollout as soon as something is true of it."""
    for _ in range(3000):
        found: dict[str, Any] = control(running, f"/rollouts/{rollout}")
        if what(found):
            return found
        time.sleep(0.01)
    raise AssertionError(f"it never came: {found}")


def counted(found: dict[str, Any], name: str) -> int:
    """Subjects that a test has counted."""
    (evidence,) = [each for each in found["evidence"] if each["name"] == name]
    return int(evidence["canary"] + evidence["baseline"])


def test_each_subject_keeps_its_arm_and_its_row_says_so(workspace: Workspace, serve: Serve, candidate: str) -> None:
    live, running = workspace.registry.live_id(), serve(workspace, TOLD)
    assert ask(running, "ada").headers["x-gradatim-arm"] == "live"
    rollout = control(running, "/rollouts", {"candidate": candidate[:12]})["id"]
    users = [f"user-{number}" for number in range(12)]
    replies = {user: [ask(running, user), ask(running, user)] for user in users}
    arms = {user: {reply.headers["x-gradatim-arm"] for reply in both} for user, both in replies.items()}
    assert {arm for each in arms.values() for arm in each} == {"canary", "baseline"}
    assert all(len(each) == 1 for each in arms.values())
    for reply in (reply for both in replies.values() for reply in both):
        arm = reply.headers["x-gradatim-arm"]
        assert reply.headers["x-gradatim-release"] == (candidate if arm == "canary" else live)
        served = workspace.records.traffic.interaction(reply.json()["id"])
        assert served is not None
        assert (served.arm, served.rollout, served.wave) == (arm, rollout, 0)
    found = until(running, rollout, lambda found: counted(found, "error") == len(users))
    assert [each["name"] for each in found["evidence"]] == [
        "goal",
        "error",
        "refusal",
        "latency",
        "length",
        "sample ratio",
        "goal ratio",
    ]
    assert sum(arm["replies"] for arm in found["arms"]) == 2 * len(users)
    assert {arm["arm"]: arm["release"] for arm in found["arms"]} == {"canary": candidate, "baseline": live}


def test_bad_ratings_take_a_release_back(workspace: Workspace, serve: Serve, candidate: str) -> None:
    live, running = workspace.registry.live_id(), serve(workspace, TOLD)
    rollout = control(running, "/rollouts", {"candidate": candidate})["id"]
    for number in range(400):
        reply = ask(running, f"user-{number}")
        if reply.headers["x-gradatim-arm"] == "live":
            break
        rate(running, reply, -1 if reply.headers["x-gradatim-arm"] == "canary" else 1)
    found = until(running, rollout, lambda found: not found["open"])
    last = found["events"][-1]
    assert (found["stage"], last["kind"], last["verdict"], last["by"]) == ("rolled_back", "rollback", "fail", "rollout")
    (goal,) = [each for each in last["evidence"] if each["name"] == "goal"]
    assert goal["high"] < 0
    assert goal["canary"] > 0
    after = ask(running, "user-0")
    assert (after.headers["x-gradatim-arm"], after.headers["x-gradatim-release"]) == ("live", live)
    assert workspace.registry.live_id() == live
    told = [entry.body for entry in workspace.ledger.entries("rollout")]
    assert [body["event"] for body in told] == found["events"]
    assert [body["number"] for body in told] == [0, 1]
    (incident,) = workspace.incidents.all()
    assert (incident.kind, incident.state) == ("rollback", "open")
    assert workspace.incidents.evidence(incident)["event"] == found["events"][-1]
    assert verify_workspace(workspace.folder).ok


def test_to_live_and_back(workspace: Workspace, serve: Serve, candidate: str) -> None:
    live, running = workspace.registry.live_id(), serve(workspace, TOLD)
    rollout = control(running, "/rollouts", {"candidate": candidate})["id"]
    assert control(running, f"/rollouts/{rollout}:pause", LENA)["paused"] == "lena"
    assert control(running, f"/rollouts/{rollout}:resume", LENA)["paused"] is None
    assert control(running, f"/rollouts/{rollout}:promote", LENA | {"full": True})["stage"] == "watch"
    assert workspace.registry.live_id() == live
    assert control(running, f"/rollouts/{rollout}:promote", LENA)["stage"] == "live"
    move = workspace.registry.history()[-1]
    assert (move.kind, move.release, move.by) == ("promote", candidate, "lena")
    after = ask(running, "ada")
    assert (after.headers["x-gradatim-arm"], after.headers["x-gradatim-release"]) == ("live", candidate)
    back = control(running, f"/rollouts/{rollout}:rollback", LENA)
    assert (back["stage"], [event["kind"] for event in back["events"]][-2:]) == ("rolled_back", ["finish", "rollback"])
    assert ask(running, "ada").headers["x-gradatim-release"] == live
    assert [move.kind for move in workspace.registry.history()] == ["promote", "promote", "rollback"]


def test_a_restart_changes_nothing(workspace: Workspace, serve: Serve, candidate: str) -> None:
    running = serve(workspace, TOLD)
    rollout = control(running, "/rollouts", {"candidate": candidate})["id"]
    users = [f"user-{number}" for number in range(10)]
    replies = {user: ask(running, user) for user in users}
    until(running, rollout, lambda found: counted(found, "error") == len(users))
    before = {user: reply.headers["x-gradatim-arm"] for user, reply in replies.items()}
    running.stop()
    again = serve(workspace, TOLD)
    assert {user: ask(again, user).headers["x-gradatim-arm"] for user in users} == before
    for user, reply in replies.items():
        rate(again, reply, 1 if before[user] == "canary" else -1)
    found = until(again, rollout, lambda found: counted(found, "goal") == len(users))
    assert counted(found, "error") == len(users)
    (goal,) = [each for each in found["evidence"] if each["name"] == "goal"]
    assert goal["estimate"] > 0
    assert [event["kind"] for event in found["events"]] == ["start"]


class Killed(BaseException):
    """What a test dies of in the middle of something."""


@pytest.mark.parametrize("kind", ["promote", "rollout"])
def test_what_a_kill_left_undone_is_done(
    workspace: Workspace, candidate: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Killed before the live release moves, or after it moved and before the ledger tells of the rollout's end."""
    append = workspace.ledger.append

    def dying(of_kind: str, body: dict[str, Any]) -> Any:
        if of_kind == kind:
            raise Killed
        return append(of_kind, body)

    first = Rollouts(workspace, Settings())
    rollout = first.start(candidate, "lena")
    first.command(rollout, "promote", "lena", "to all", full=True)
    monkeypatch.setattr(workspace.ledger, "append", dying)
    with pytest.raises(Killed):
        first.command(rollout, "promote", "lena", "for good")
    monkeypatch.setattr(workspace.ledger, "append", append)
    assert (workspace.registry.live_id() == candidate) == (kind == "rollout")
    second = Rollouts(workspace, Settings())
    second.look()
    second.look()
    assert workspace.registry.live_id() == candidate
    found = second.views.show(rollout)
    assert found is not None
    told = [entry.body["event"] for entry in workspace.ledger.entries("rollout")]
    assert [event["kind"] for event in told] == ["start", "watch", "finish"]
    assert told == found["events"]


def test_the_live_release_moved_by_hand_ends_it(workspace: Workspace, serve: Serve, candidate: str) -> None:
    other, running = new_release(workspace, 2), serve(workspace, TOLD)
    rollout = control(running, "/rollouts", {"candidate": candidate})["id"]
    control(running, f"/releases/{other}:promote", LENA)
    assert ask(running, "ada").headers["x-gradatim-release"] == other
    found = until(running, rollout, lambda found: not found["open"])
    assert (found["events"][-1]["kind"], found["events"][-1]["by"]) == ("abort", "gradatim serve")
    assert workspace.registry.live_id() == other


def test_the_candidate_made_live_by_hand_ends_its_watch_and_stays(
    workspace: Workspace, serve: Serve, candidate: str
) -> None:
    running = serve(workspace, TOLD)
    rollout = control(running, "/rollouts", {"candidate": candidate})["id"]
    assert control(running, f"/rollouts/{rollout}:promote", LENA | {"full": True})["stage"] == "watch"
    control(running, f"/releases/{candidate}:promote", LENA)
    found = until(running, rollout, lambda found: not found["open"])
    assert (found["stage"], found["events"][-1]["kind"]) == ("live", "finish")
    assert workspace.registry.live_id() == candidate


def test_one_at_a_time_and_only_what_passed(workspace: Workspace, serve: Serve, candidate: str) -> None:
    waiting, running = new_release(workspace, 3), serve(workspace, TOLD)
    workspace.ledger.append("approval-needed", {"release": waiting, "step": "step-0001"})
    assert "awaits approval" in control(running, "/rollouts", {"candidate": waiting}, 403)["error"]["message"]
    live = workspace.registry.live_id()
    assert "two different" in control(running, "/rollouts", {"candidate": live}, 400)["error"]["message"]
    rollout = control(running, "/rollouts", {"candidate": candidate})["id"]
    assert "under way" in control(running, "/rollouts", {"candidate": candidate}, 400)["error"]["message"]
    assert control(running, "/rollouts/nowhere", status=404)["error"]["code"] == "unknown_rollout"
    control(running, f"/rollouts/{rollout}:resume", LENA, 400)
    control(running, f"/rollouts/{rollout}:abort", {"by": "lena", "reason": " "}, 400)
    assert control(running, f"/rollouts/{rollout}:abort", LENA)["open"] is False
    second = control(running, "/rollouts", {"candidate": candidate})["id"]
    assert "over" in control(running, f"/rollouts/{rollout}:abort", LENA, 400)["error"]["message"]
    assert [each["id"] for each in control(running, "/rollouts")["rollouts"]] == [rollout, second]


@pytest.mark.parametrize(
    "settings",
    [
        {"limits": {"warm_releases": 1}},
        {"metrics": {"rating": {"type": "number", "low": 1.0}}},
        {"metrics": {"rating": {"level": "session"}}},
    ],
)
def test_settings_no_rollout_can_go_by(workspace: Workspace, serve: Serve, candidate: str, settings: Any) -> None:
    running = serve(workspace, Settings.model_validate(settings))
    control(running, "/rollouts", {"candidate": candidate}, 400)
    assert control(running, "/rollouts") == {"rollouts": []}


def test_values_from_zero_to_one() -> None:
    assert [unit_value(Metric(), value) for value in (-1, 1)] == [0, 1]
    assert unit_value(Metric(type="number", low=1, high=5, direction="lower"), 2) == 0.75
    assert unit_value(Metric(type="number", low=-2, high=0), -1) == 0.5
    assert unit_value(Metric(type="boolean"), 1) == 1


def test_clients_govern_nothing(workspace: Workspace, serve: Serve, candidate: str) -> None:
    running = serve(workspace, TOLD)
    for key, status in ((CLIENT, 403), (None, 401)):
        with running.http(key) as client:
            assert client.post(f"{CONTROL}/rollouts", json={"candidate": candidate}).status_code == status
            assert client.get(f"{CONTROL}/rollouts").status_code == status
    assert control(running, "/rollouts") == {"rollouts": []}
