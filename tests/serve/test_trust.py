"""Feedback that nobody should rely on: too much of one reply, bursts, copies; and what a client may know of arms."""

from __future__ import annotations

from typing import Any

import pytest

from gradatim.charter import Charter, Trust
from gradatim.serve import rollouts
from gradatim.serve.doubts import Doubts, said_in
from gradatim.serve.feedback import SOURCE, FeedbackRequest, Listener
from gradatim.serve.rollouts import HELD_LEAST, Rollouts
from gradatim.serve.settings import Settings
from gradatim.serve.tokens import Tokens
from gradatim.store.clock import now
from gradatim.store.traffic import Interaction
from gradatim.types import Answer
from gradatim.workspace import Workspace
from tests.serve.conftest import ADMIN, Running, Serve, new_release

CONTROL = "/api/v1"
LENA = {"by": "lena", "reason": "it is genuine"}


def charter(workspace: Workspace, **values: Any) -> None:
    """Set keys of the charter."""
    text = workspace.charter_path.read_text("utf-8").splitlines()
    lines = [f"{name} = {values[name]}" if (name := line.partition(" = ")[0]) in values else line for line in text]
    workspace.charter_path.write_text("\n".join(lines), "utf-8")
    Charter.load(workspace.charter_path)  # it is one


class Speakers:
    """Users whose replies stand in the table, and who speak through a listener."""

    def __init__(self, workspace: Workspace, rollout: Rollouts | None = None) -> None:
        self.workspace, self.rollout = workspace, rollout
        self.tokens = Tokens(b"s" * 32, 1.0)
        self.listener = Listener(workspace, Settings(), self.tokens)
        self.answered = 0

    def says(self, user: str, key: str = "app", **given: Any) -> Any:
        """A user asks something new, and says this of the reply."""
        self.answered += 1
        identity = f"reply-{self.answered}"
        choice = self.rollout.choose(user) if self.rollout else None
        answer = Answer(identity, f"Question {self.answered}?", "a", "r" * 64, now())
        self.workspace.records.traffic.add(
            [
                (
                    answer,
                    Interaction(
                        *(identity, key, user, None, choice.arm if choice else "live", "{}", "stop", 1, 1, 0.1, 0.1),
                        choice.rollout if choice else None,
                        choice.wave if choice else None,
                    ),
                )
            ]
        )
        return self.again(identity, key, **given)

    def again(self, identity: str, key: str = "app", **given: Any) -> Any:
        request = FeedbackRequest(response_id=identity, token=self.tokens.make(identity, key), **given)
        return self.listener.take(request, key)


def test_only_so_many_words_on_one_reply(workspace: Workspace) -> None:
    charter(workspace, reply_words=3)
    speakers = Speakers(workspace)
    speakers.says("ada", value=1)
    speakers.again("reply-1", value=-1)
    speakers.again("reply-1", correction="Tamsin Vole does.")
    for more in ({"value": 1}, {"correction": "Nobody does."}, {"value": 1, "correction": "Nobody does."}):
        with pytest.raises(Exception, match="3 words were taken on this reply") as refused:
            speakers.again("reply-1", **more)
        assert refused.value.status == 429  # type: ignore[attr-defined]
    assert speakers.again("reply-1", value=-1).known  # what is known already may be said again
    records = workspace.records
    assert (len(records.traffic.ratings()), len(records.feedback())) == (2, 1)


def test_a_correction_needs_no_look_at_the_whole_ledger(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    speakers = Speakers(workspace)
    monkeypatch.setattr(workspace.ledger, "entries", lambda *_: pytest.fail("the ledger was read"))
    assert not speakers.says("ada", correction="Tamsin Vole does.").known


def test_a_burst_of_ratings_waits_and_counts_once_released(workspace: Workspace) -> None:
    charter(workspace, burst_ratings=5, steps="[0.50]", margins="[0.05]")
    rollout = Rollouts(workspace, Settings())
    name = rollout.start(new_release(workspace, 1), "test")
    speakers = Speakers(workspace, rollout)
    taken = [speakers.says(f"user {n}", value=1) for n in range(8)]
    assert [one.held for one in taken] == [None] * 5 + ["is beyond the 5 ratings of one key in 10 minutes"] * 3
    assert speakers.says("another", key="other-app", value=1).held is None
    rollout.look()
    assert goal(rollout, name) == 6
    held = workspace.records.quarantine.held()
    assert [(item.kind, item.record) for item in held] == [("rating", one.rating) for one in taken[5:]]
    workspace.records.quarantine.decide(held[0], released=True, by="lena", reason="a class of pupils")
    workspace.records.quarantine.decide(held[1], released=False, by="lena", reason="a script")
    assert not workspace.records.quarantine.decide(held[1], released=True, by="lena", reason="after all")
    rollout.look()
    assert goal(rollout, name) == 7
    assert [item.record for item in workspace.records.quarantine.held()] == [held[2].record]


def goal(rollout: Rollouts, name: str) -> int:
    found = rollout.views.show(name)
    assert found is not None
    (evidence,) = [each for each in found["evidence"] if each["name"] == "goal"]
    return int(evidence["canary"] + evidence["baseline"])


def test_a_key_with_a_habit_may_give_more(workspace: Workspace) -> None:
    speakers = Speakers(workspace)
    for n in range(30):
        speakers.says(f"user {n}", value=1)
    doubts = Doubts(workspace.records.traffic, Trust(burst_ratings=10, burst_minutes=10), SOURCE)
    assert doubts.of_rating("app", None) is not None
    usual = Trust(burst_ratings=10, burst_minutes=0.0001, burst_factor=5)  # all 30 lie before this window
    assert Doubts(workspace.records.traffic, usual, SOURCE).of_rating("app", None) is None


def test_many_held_ratings_pause_a_rollout(workspace: Workspace) -> None:
    charter(workspace, burst_ratings=5, steps="[0.50]", margins="[0.05]")
    rollout = Rollouts(workspace, Settings())
    name = rollout.start(new_release(workspace, 1), "test")
    speakers = Speakers(workspace, rollout)
    for n in range(5 + HELD_LEAST):
        speakers.says(f"user {n}", value=-1)
    rollout.look()
    found = rollout.views.show(name)
    assert found is not None
    assert (found["paused"], found["held"]) == ("gradatim serve", HELD_LEAST)
    rollout.command(name, "resume", "lena", "looked at")
    rollout.look()
    again = rollout.views.show(name)
    assert again is not None
    assert again["paused"] is None


def test_copies_of_a_comment_wait(workspace: Workspace) -> None:
    speakers = Speakers(workspace)
    said = "This answer is a lie!"
    taken = [speakers.says(f"user {n}", value=-1, comment=text) for n, text in enumerate([said, said.upper(), said])]
    assert [one.held for one in taken] == [None] * 3
    held = speakers.says("user 4", value=-1, comment="this answer, is a LIE").held
    assert held == "copies a comment of 3 users of this key within a day"
    assert speakers.says("user 5", value=-1, comment="not helpful").held is None
    assert said_in("too short a") is None


def test_a_loud_person_is_believed_so_often_a_day(workspace: Workspace) -> None:
    charter(workspace, person_corrections=2)
    speakers = Speakers(workspace)
    taken = [speakers.says("ada", correction=f"It is number {n}.") for n in range(3)]
    assert [one.held for one in taken] == [None, None, "is beyond the 2 corrections that one person is believed a day"]
    assert speakers.says("ben", correction="It is number 9.").held is None
    assert [record.status for record in workspace.records.feedback()] == ["new", "new", "quarantined", "new"]


def test_a_burst_of_corrections_waits(workspace: Workspace) -> None:
    charter(workspace, burst_corrections=3)
    speakers = Speakers(workspace)
    taken = [speakers.says(f"user {n}", correction=f"It is number {n}.") for n in range(4)]
    assert [one.held is None for one in taken] == [True, True, True, False]


# ------------------------------------------------------------------ arms


def ask(running: Running, user: str) -> Any:
    body = {"model": "gradatim", "messages": [{"role": "user", "content": "Who weighs?"}], "max_tokens": 2}
    with running.http() as client:
        return client.post("/v1/chat/completions", json=body | {"user": user})


def test_a_client_is_not_told_its_arm_and_an_operator_is(
    workspace: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollouts, "LOOK_SECONDS", 0.01)
    charter(workspace, steps="[0.50]", margins="[0.05]")
    live, candidate = workspace.registry.live_id(), new_release(workspace, 1)
    running = serve(workspace)
    assert ask(running, "ada").headers["x-gradatim-release"] == live
    with running.http(ADMIN) as admin:
        assert admin.post(f"{CONTROL}/rollouts", json={"candidate": candidate}).status_code == 200
        replies = [ask(running, f"user {n // 2}") for n in range(16)]
        told = [admin.get(f"{CONTROL}/replies/{reply.json()['id']}").json() for reply in replies]
        assert admin.get(f"{CONTROL}/replies/none").status_code == 404
    names = [reply.headers["x-gradatim-release"] for reply in replies]
    assert len(set(names)) == 16  # another for each reply, so that replies of one release can't be sorted
    assert names == [reply.json()["system_fingerprint"] for reply in replies]
    assert not any(release in reply.text + str(reply.headers) for reply in replies for release in (live, candidate))
    assert {reply.headers["x-gradatim-arm"] for reply in replies} == {"sealed"}
    assert {(one["arm"], one["release"]) for one in told} == {("canary", candidate), ("baseline", live)}
    with running.http() as client:
        assert client.get(f"{CONTROL}/replies/{replies[0].json()['id']}").status_code == 403


def test_quarantine_over_http(workspace: Workspace, serve: Serve) -> None:
    charter(workspace, person_corrections=1)
    speakers = Speakers(workspace)
    for n in range(3):
        speakers.says("ada", correction=f"It is number {n}.")
    running = serve(workspace)
    with running.http(ADMIN) as admin:
        held = admin.get(f"{CONTROL}/quarantine").json()["held"]
        assert [item["what"] for item in held] == ["It is number 1.", "It is number 2."]
        first, second = (f"{CONTROL}/quarantine/{item['record']}" for item in held)
        assert admin.post(f"{first}:release", json=LENA).json()["decision"] == "released"
        assert admin.post(f"{second}:discard", json={"by": "lena", "reason": " "}).status_code == 400
        assert admin.post(f"{second}:discard", json=LENA).json()["decision"] == "discarded"
        assert admin.post(f"{second}:release", json=LENA).status_code == 400
        assert admin.get(f"{CONTROL}/quarantine").json() == {"held": []}
        decided = admin.get(f"{CONTROL}/quarantine?decided=true").json()["held"]
        assert [(item["decision"], item["decided_by"]) for item in decided] == [
            ("released", "lena"),
            ("discarded", "lena"),
        ]
        page = admin.get("/metrics").text
    assert "gradatim_feedback_held_total" in page
    assert [record.status for record in workspace.records.feedback()] == ["new", "new", "quarantined"]
    entries = [entry.body for entry in workspace.ledger.entries("quarantine")]
    assert [(body["record"], body["decision"]) for body in entries] == [
        (item["record"], item["decision"]) for item in decided
    ]
    with running.http() as client:
        assert client.get(f"{CONTROL}/quarantine").status_code == 403
