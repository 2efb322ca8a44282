"""Work beside the requests that fails unexpectedly: it goes on, and says so where an operator looks."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gradatim.serve import rollouts
from gradatim.serve.rollouts import LOOKING, Rollouts
from gradatim.serve.service import FOLLOWING
from gradatim.serve.settings import Settings
from gradatim.types import Digest
from gradatim.workspace import Workspace
from tests.serve.conftest import ADMIN, Running, Serve, new_release


class Faltering:
    """A chooser whose background part breaks when told to."""

    def __init__(self, workspace: Workspace) -> None:
        self.rollouts = Rollouts(workspace, Settings())
        self.broken = False

    def choose(self, subject: str) -> Any:
        return self.rollouts.choose(subject)

    def live(self) -> Digest:
        return self.rollouts.live()

    def others(self) -> tuple[Digest, ...]:
        if self.broken:
            raise ZeroDivisionError("of the test")
        return ()


def troubles(running: Running) -> dict[str, str]:
    with running.http(None) as client:
        found: dict[str, str] = client.get("/readyz").json()["troubles"]
    return found


def until(running: Running, wanted: dict[str, str]) -> None:
    for _ in range(400):
        if troubles(running) == wanted:
            return
        time.sleep(0.02)
    raise AssertionError(troubles(running))


def test_following_goes_on_after_a_bug(workspace: Workspace, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    chooser = Faltering(workspace)
    running = serve(workspace, chooser=chooser)
    assert troubles(running) == {}
    chooser.broken = True
    until(running, {FOLLOWING: "ZeroDivisionError: of the test"})
    with running.http(ADMIN) as client:
        page = client.get("/metrics").text
    assert f'gradatim_background_failures_total{{work="{FOLLOWING}"}}' in page
    chooser.broken = False
    until(running, {})
    later = new_release(workspace, 1)
    workspace.registry.promote(later, reason="it still follows", by="test")
    for _ in range(400):
        with running.http(None) as client:
            if client.get("/readyz").json()["release"] == later:
                break
        time.sleep(0.02)
    else:
        raise AssertionError("it never followed")
    said = [record for record in caplog.records if record.message == "background work failed"]
    assert len(said) == 1  # not twenty times a second


def test_looking_goes_on_after_a_bug(workspace: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "LOOK_SECONDS", 0.01)
    running = serve(workspace)

    def broken(_: Rollouts) -> None:
        raise KeyError("row")

    with monkeypatch.context() as patch:
        patch.setattr(Rollouts, "look", broken)
        until(running, {LOOKING: "KeyError: 'row'"})
    until(running, {})
