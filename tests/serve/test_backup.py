"""A backup while a server answers and takes feedback: all that it had acknowledged is in it, and it serves again."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from gradatim.backup import back_up, restore
from gradatim.ledger.verify import verify_workspace
from gradatim.workspace import Workspace
from tests.serve.conftest import Running, Serve, new_release

ASKED: dict[str, Any] = {"model": "gradatim", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 4}


def test_everything_acknowledged_before_it_began_comes_back(workspace: Workspace, serve: Serve, tmp_path: Path) -> None:
    release = new_release(workspace, 1)
    running = serve(workspace)
    over = threading.Event()
    replies: dict[str, str] = {}
    ratings: list[str] = []
    corrections: list[str] = []

    def client(number: int) -> None:
        with running.http() as http:
            while not over.is_set():
                done = http.post("/v1/chat/completions", json=ASKED | {"user": f"user {number}"})
                said = done.json()
                replies[said["id"]] = said["choices"][0]["message"]["content"]
                told = {"response_id": said["id"], "value": -1, "correction": f"Vole {len(corrections)}."}
                taken = http.post("/v1/feedback", json=told | {"token": done.headers["x-gradatim-feedback-token"]})
                ratings.append(taken.json()["rating_id"])
                corrections.append(taken.json()["correction_id"])

    clients = [threading.Thread(target=client, args=(number,)) for number in range(3)]
    for one in clients:
        one.start()
    try:
        while len(corrections) < 6:
            over.wait(0.01)
        elsewhere = Workspace.open(workspace.folder)
        elsewhere.registry.promote(release, "better", "test")
        before = dict(replies), list(ratings), list(corrections)
        with closing(elsewhere.records):
            back_up(elsewhere, tmp_path / "backup.tar")
        at_the_end = len(corrections)
        while len(corrections) < at_the_end + 3:  # the server goes on
            over.wait(0.01)
    finally:
        over.set()
        for one in clients:
            one.join(30)
    restore(tmp_path / "backup.tar", tmp_path / "again")
    assert verify_workspace(tmp_path / "again").ok
    again = Workspace.open(tmp_path / "again")
    with closing(again.records):
        _holds(again, *before)
        assert again.registry.live_id() == release
        assert asked(serve(again)) == asked(running)


def _holds(again: Workspace, replies: dict[str, str], ratings: list[str], corrections: list[str]) -> None:
    assert len(corrections) >= 6
    for identity, text in replies.items():
        answer = again.records.answer(identity)
        assert answer is not None
        assert answer.answer == text
    assert set(ratings) <= {rating.id for rating in again.records.traffic.ratings()}
    assert set(corrections) <= {record.feedback.id for record in again.records.feedback()}


def asked(running: Running) -> tuple[str, str]:
    with running.http() as http:
        done = http.post("/v1/chat/completions", json=ASKED)
    return done.headers["x-gradatim-release"], done.json()["choices"][0]["message"]["content"]
