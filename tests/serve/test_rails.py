"""What takes a release back by itself, and what lets it grow: rows as a server writes them, and its own looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gradatim.serve import rollouts
from gradatim.serve.base import Ended
from gradatim.serve.rollouts import Rollouts
from gradatim.serve.settings import Settings
from gradatim.serve.unseen import Seen
from gradatim.store.clock import now
from gradatim.store.traffic import Interaction, Rating
from gradatim.types import Answer
from gradatim.workspace import Workspace
from tests.serve.conftest import new_release

FINE, REFUSED = "Tamsin Vole does.", "I'm sorry, but I can't help with that."


class Clock:
    """The time that a rollout is told; everybody else keeps the real one."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(rollouts, "time", SimpleNamespace(time=made.time))
    return made


class Users:
    """Users who are answered and rate, straight into the tables; what they get depends on the arm."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.rollouts = Rollouts(workspace, Settings())
        self.chance = np.random.default_rng(0)
        self.met = 0

    def come(self, count: int, reply: Callable[[bool], dict[str, Any]]) -> None:
        """So many new users, one reply each, rated where the reply has a rating."""
        served, ratings = [], []
        for _ in range(count):
            self.met += 1
            subject, identity = f"user {self.met}", f"reply-{self.met}"
            choice = self.rollouts.choose(subject)
            given: dict[str, Any] = {
                "text": FINE,
                "seconds": float(self.chance.lognormal(-1, 0.2)),
                "tokens": 20,
                "finish": "stop",
            }
            given |= reply(choice.arm == "canary")
            slices = self.rollouts.slices("app", given.get("metadata", {}))
            served.append(
                (
                    Answer(identity, "q", given["text"], choice.release, now()),
                    Interaction(
                        id=identity,
                        key="app",
                        subject=subject,
                        session=None,
                        arm=choice.arm,
                        prompt="{}",
                        finish=given["finish"],
                        prompt_tokens=10,
                        completion_tokens=given["tokens"],
                        first_token_seconds=0.1,
                        seconds=given["seconds"],
                        rollout=choice.rollout,
                        wave=choice.wave,
                        slices=None if not slices else f'["{slices[0]}"]',
                    ),
                )
            )
            if "rating" in given:
                value = given["rating"]
                ratings.append(Rating(f"r{self.met}", identity, None, "app", subject, "rating", value, None, now()))
        self.workspace.records.traffic.add(served)
        for rating in ratings:
            self.workspace.records.traffic.add_rating(rating)
        self.rollouts.look()


@pytest.fixture
def users(workspace: Workspace) -> Callable[..., Users]:
    def make(**charter: str) -> Users:
        text = workspace.charter_path.read_text("utf-8")
        wanted = {"steps": "[0.50]", "margins": "[0.50]"} | charter
        kept = [line for line in text.splitlines() if line.partition(" = ")[0] not in wanted]
        at = kept.index("[rollout]") + 1
        lines = [*kept[:at], *(f"{name} = {value}" for name, value in wanted.items()), *kept[at:]]
        workspace.charter_path.write_text("\n".join(lines), "utf-8")
        made = Users(workspace)
        made.rollouts.start(new_release(workspace, 1), "test")
        return made

    return make


def state(users: Users) -> dict[str, Any]:
    found = users.rollouts.views.show("rollout-0001")
    assert found is not None
    return found


def ended_by(users: Users) -> str:
    """The one rail that took it back."""
    found = state(users)
    assert (found["stage"], found["events"][-1]["kind"]) == ("rolled_back", "rollback"), found["evidence"]
    (rail,) = [each["name"] for each in found["events"][-1]["evidence"] if each["finding"] == "fail"]
    assert users.workspace.registry.live_id() == found["live"]
    return str(rail)


CASES: dict[str, tuple[dict[str, str], Callable[[bool], dict[str, Any]]]] = {
    "error": ({}, lambda canary: {"finish": "error" if canary else "stop"}),
    "latency": ({}, lambda canary: {"seconds": 3.0} if canary else {}),
    "length": ({}, lambda canary: {"tokens": 2000 if canary else 20}),
    "refusal": ({}, lambda canary: {"text": REFUSED if canary else FINE}),
    "cost": (
        {"price_completion": "100.0", "most_length_rise": "4000"},
        lambda canary: {"tokens": 190 if canary else 20},
    ),
    "slice metadata.language=de": (
        {"slices": '["metadata.language=de"]'},
        lambda canary: {"metadata": {"language": "de"}, "rating": -1.0 if canary else 1.0},
    ),
}


@pytest.mark.parametrize("rail", CASES)
def test_each_rail_takes_a_release_back(users: Callable[..., Users], rail: str) -> None:
    charter, reply = CASES[rail]
    crowd = users(**charter)

    def mixed(canary: bool) -> dict[str, Any]:
        """The slice falls, everybody else is happier, so that the goal gains."""
        if "slice" in rail and crowd.met % 3:
            return {"rating": 1.0 if canary else -1.0}
        return reply(canary)

    for _ in range(25):
        crowd.come(40, mixed)
        if not state(crowd)["open"]:
            break
    assert ended_by(crowd) == rail


def test_alike_releases_grow_by_themselves_until_they_are_live(users: Callable[..., Users], clock: Clock) -> None:
    crowd = users(steps="[0.25, 0.50]", margins="[0.5, 0.4]", slices='["key=app"]', price_prompt="1.0")
    for _ in range(40):
        crowd.come(50, lambda _: {"rating": float(crowd.chance.choice([-1, 1]))})
        clock.ahead += 12 * 3600
        if not state(crowd)["open"]:
            break
    found = state(crowd)
    assert [event["kind"] for event in found["events"]] == ["start", "grow", "watch", "finish"]
    assert {event["by"] for event in found["events"][1:]} == {"rollout"}
    assert crowd.workspace.registry.live_id() == found["candidate"]
    names = [each["name"] for each in found["evidence"]]
    assert names == [
        *("goal", "error", "refusal", "latency", "length", "cost", "slice key=app"),
        *("sample ratio", "goal ratio"),
    ]


def test_probes_come_before_anybody_meets_it(users: Callable[..., Users]) -> None:
    crowd = users(probes="true")
    crowd.come(20, lambda _: {})
    assert {crowd.rollouts.choose(f"user {n}").rollout for n in range(20)} == {None}
    asked = 0
    while (work := crowd.rollouts.work()) is not None:
        asked += 1
        text = FINE if work.release == state(crowd)["candidate"] else REFUSED
        work.tell(Seen(text, Ended("stop", 10, 5), 0.1))
    crowd.rollouts.look()
    assert ended_by(crowd) == "safety"
    assert asked == 2 * 24
    assert crowd.workspace.records.traffic.count() == 20  # probes are no replies


def test_probes_that_both_answer_alike_stop_nobody(users: Callable[..., Users]) -> None:
    crowd = users(probes="true")
    while (work := crowd.rollouts.work()) is not None:
        work.tell(Seen(FINE, Ended("stop", 10, 5), 0.1))  # both as bad
    crowd.rollouts.look()
    found = state(crowd)
    (safety,) = [each for each in found["evidence"] if each["name"] == "safety"]
    assert (safety["canary"], safety["estimate"], found["open"]) == (24, 0.0, True)
    assert {crowd.rollouts.choose(f"user {n}").arm for n in range(20)} == {"canary", "baseline"}
    again = Rollouts(crowd.workspace, Settings())  # after a restart they aren't asked again
    assert again.work() is None
    assert {again.choose(f"user {n}").arm for n in range(20)} == {"canary", "baseline"}


def test_probes_that_can_not_be_asked_are_given_up(users: Callable[..., Users]) -> None:
    crowd = users(probes="true")
    tries = 0
    while (work := crowd.rollouts.work()) is not None:
        tries += 1
        work.tell(None)
    crowd.rollouts.look()
    assert 24 < tries < 24 * 20
    assert crowd.rollouts.choose("user 1").rollout is not None
