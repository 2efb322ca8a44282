"""A release in the shadow: it is asked unseen, compared, and then begins or is stopped; users notice nothing of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from gradatim.serve import rollouts, unseen
from gradatim.serve.base import Asked, Ended
from gradatim.serve.settings import Settings
from gradatim.types import Digest, Release
from gradatim.workspace import Workspace
from tests.serve.conftest import ADMIN, Running, Serve, new_release

CONTROL = "/api/v1"
Text = Callable[[Digest], str]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(unseen, "IDLE_SECONDS", 0.005)


@pytest.fixture
def candidate(workspace: Workspace) -> str:
    charter = workspace.charter_path.read_text("utf-8")
    for old, new in (
        ("steps = [0.05, 0.25, 0.50]", "steps = [0.50]"),
        ("margins = [0.20, 0.08, 0.05]", "margins = [0.05]"),
        ("shadow_subjects = 0", "shadow_subjects = 4"),
    ):
        assert old in charter
        charter = charter.replace(old, new)
    workspace.charter_path.write_text(charter, "utf-8")
    return new_release(workspace, 1)


@dataclass
class Scripted:
    """An engine that answers by a script, and remembers who asked what of which release."""

    script: Text
    asked: list[tuple[Digest, bool]] = field(default_factory=list)
    healthy: bool = True

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def load(self, release: Release) -> None: ...

    async def begin(self, asked: Asked, release: Digest, *, unseen: bool = False) -> Any:
        self.asked.append((release, unseen))
        return ScriptedReply(self.script(release))


@dataclass
class ScriptedReply:
    text: str

    async def __aiter__(self) -> AsyncIterator[str | Ended]:
        if self.text == "broken":
            raise ZeroDivisionError("of the test")
        yield self.text
        yield Ended("stop", 5, len(self.text))

    def cancel(self) -> None: ...


def ask(client: httpx2.Client, user: str, most: int = 2) -> Any:
    message = [{"role": "user", "content": "Who weighs?"}]
    body = {"model": "gradatim", "messages": message, "max_tokens": most, "user": user}
    done = client.post("/v1/chat/completions", json=body)
    assert done.status_code == 200, done.text
    return done


def begin(running: Running, candidate: str) -> str:
    with running.http(ADMIN) as client:
        done = client.post(f"{CONTROL}/rollouts", json={"candidate": candidate})
    assert done.status_code == 200, done.text
    return str(done.json()["id"])


def use_until(running: Running, what: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, Any], list[Any]]:
    """New users come until something is true of the rollout; it, and what they were told."""
    replies: list[Any] = []
    with running.http() as client, running.http(ADMIN) as admin:
        for number in range(400):
            found: dict[str, Any] = admin.get(f"{CONTROL}/rollouts/rollout-0001").json()
            if what(found):
                return found, replies
            replies.append(ask(client, f"user {number}"))
            time.sleep(0.01)
    raise AssertionError(found)


def test_it_begins_after_a_shadow_that_nobody_sees(workspace: Workspace, serve: Serve, candidate: str) -> None:
    """The real engine, on a tiny model."""
    live, running = workspace.registry.live_id(), serve(workspace)
    begin(running, candidate)
    found, replies = use_until(running, lambda found: found["stage"] != "shadow")
    assert (found["stage"], [event["kind"] for event in found["events"]]) == ("step", ["start", "grow"])
    evidence = {each["name"]: each for each in found["events"][-1]["evidence"]}
    assert evidence["sample ratio"]["canary"] >= 4
    assert evidence["error"]["baseline"] > 0
    assert evidence["goal"]["canary"] == 0  # what people say of the live release is not the shadow's
    served = workspace.records.traffic.interactions()
    assert [one.id for one in served] == [reply.json()["id"] for reply in replies]
    in_shadow = [one for one in served if one.wave == 0]
    assert {one.arm for one in in_shadow} == {"live"}
    for one in in_shadow:
        answer = workspace.records.answer(one.id)
        assert answer is not None
        assert answer.release == live


def test_one_that_breaks_in_the_shadow_is_stopped(workspace: Workspace, serve: Serve, candidate: str) -> None:
    charter = workspace.charter_path.read_text("utf-8")
    workspace.charter_path.write_text(charter.replace("shadow_subjects = 4", "shadow_subjects = 500"), "utf-8")
    live = workspace.registry.live_id()
    engine = Scripted(lambda release: "broken" if release == candidate else "Vole.")
    running = serve(workspace, Settings(), engine)
    begin(running, candidate)
    found, replies = use_until(running, lambda found: not found["open"])
    assert (found["stage"], found["events"][-1]["kind"]) == ("rolled_back", "rollback")
    assert "error" in found["events"][-1]["reason"]
    assert {reply.json()["choices"][0]["message"]["content"] for reply in replies} == {"Vole."}
    assert {release for release, unseen in engine.asked if not unseen} == {live}
    assert {release for release, unseen in engine.asked if unseen} == {live, candidate}
    assert workspace.records.traffic.count() == len(replies)
    assert not workspace.records.feedback()


def test_each_subject_is_asked_for_once(workspace: Workspace, serve: Serve, candidate: str) -> None:
    engine = Scripted(lambda _: "Vole.")
    running = serve(workspace, Settings(), engine)
    begin(running, candidate)
    with running.http() as client:
        for _ in range(5):
            ask(client, "ada")
    for _ in range(100):
        if sum(unseen for _, unseen in engine.asked):
            break
        time.sleep(0.02)
    time.sleep(0.1)
    assert sum(unseen for _, unseen in engine.asked) == 1


def test_a_user_goes_first(workspace: Workspace, serve: Serve) -> None:
    """Beside unseen rows that never end, a user's reply is what it is without them; they go on slowly."""
    running = serve(workspace)
    with running.http() as client:
        alone = ask(client, "ada", 40).json()["choices"]
    engine, live = running.engine, workspace.registry.live_id()
    made = [0]
    stop = threading.Event()

    async def asking() -> None:
        from gradatim.serve.base import Message

        long = Asked((Message("user", "Who?"),), None, max_tokens=2000, temperature=2.0, seed=1)
        replies = [await engine.begin(long, live, unseen=True) for _ in range(3)]

        async def read(reply: Any) -> None:
            async for _ in reply:
                made[0] += 1

        tasks = [asyncio.create_task(read(reply)) for reply in replies]
        while not stop.is_set() and not all(task.done() for task in tasks):
            await asyncio.sleep(0.01)
        for reply in replies:
            reply.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    beside = threading.Thread(target=lambda: asyncio.run(asking()))
    beside.start()
    while not made[0]:
        time.sleep(0.005)
    with running.http() as client:
        assert ask(client, "ada", 40).json()["choices"] == alone
    assert engine.open == 0  # they took no place in the users' queue
    stop.set()
    beside.join(30)
    assert not beside.is_alive()
