"""The daily look of a server over what it served, and what an operator does with what it found."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gradatim.ledger.bundle import check
from gradatim.serve.settings import Settings
from gradatim.serve.watching import Watchman
from gradatim.store.traffic import Interaction, Rating
from gradatim.store.watched import Watched
from gradatim.types import Answer, Check, Feedback, Provenance, Verdict
from gradatim.watch.refusals import refuses
from gradatim.workspace import Workspace
from tests.serve.conftest import ADMIN, Serve, new_release

SUBJECTS = 60
TODAY = datetime.now(UTC).date()  # promotions bear the real time
Day = Callable[..., None]


@pytest.fixture
def add(workspace: Workspace) -> Day:
    """Adds a day's traffic: a reply to each of sixty subjects, who may rate it and correct it."""
    chance = random.Random(0)

    def write(
        day: date, *, longer: int = 0, seconds: float = 1.0, good: float | None = None, corrected: int = 0
    ) -> None:
        live, served = workspace.registry.live_id(), []
        for number in range(SUBJECTS):
            name, at = f"{day}-{number}-{live[:6]}", f"{day}T{number % 24:02d}:00:00.000Z"
            tokens, took = chance.randint(5, 50) + longer, chance.uniform(0.1, 1.0) * seconds
            answer = Answer(name, "Who weighs?", "Tamsin Vole.", live, at)
            row = Interaction(name, "k", f"s{number}", None, "live", "[]", "stop", tokens, 9, 0.1, took)
            served.append((answer, row))
        workspace.records.traffic.add(served)
        for number, (answer, row) in enumerate(served):
            if good is not None:
                value = 1.0 if chance.random() < good else -1.0
                rating = Rating(answer.id, answer.id, None, "k", row.subject, "rating", value, None, answer.at)
                workspace.records.traffic.add_rating(rating)
            if number < corrected:
                origin = Provenance("serve://feedback", "c" * 64, answer.at)
                said = Feedback(answer.id, answer.id, "Who weighs?", None, "Odd Lindqvist.", row.subject, origin)
                workspace.records.add_feedback(said)

    return write


def days(add: Day, count: int, **traffic: Any) -> None:
    """So many days before today."""
    for number in range(count, 0, -1):
        add(TODAY - timedelta(days=number), **traffic)


def kinds(workspace: Workspace) -> list[tuple[str, str]]:
    return [(incident.kind, incident.about) for incident in workspace.incidents.all()]


def test_a_day_like_the_others_is_none(workspace: Workspace, add: Day) -> None:
    days(add, 7)
    add(TODAY)
    watchman = Watchman(workspace, Settings())
    assert watchman.look(TODAY) == []
    assert kinds(workspace) == []


def test_longer_questions_are_told_once_until_a_person_has_looked(workspace: Workspace, add: Day) -> None:
    days(add, 7)
    add(TODAY, longer=25)
    (found,) = Watchman(workspace, Settings()).look(TODAY)
    assert (found.kind, found.about) == ("drift", "prompt tokens")
    evidence = workspace.incidents.evidence(found)
    assert evidence["now"] - evidence["before"] == pytest.approx(25, abs=4)
    assert evidence["witnesses_now"] == SUBJECTS
    assert Watchman(workspace, Settings()).look(TODAY) == []  # once a day, restarts included
    tomorrow = TODAY + timedelta(days=1)
    add(tomorrow, longer=25)
    assert Watchman(workspace, Settings()).look(tomorrow) == []  # it is open
    workspace.incidents.close(found.id, "ada", "a new customer")
    after = TODAY + timedelta(days=2)
    add(after, longer=25)
    assert Watchman(workspace, Settings()).look(after) == []  # what came before the closing is not compared with
    assert len(kinds(workspace)) == 1


def test_another_release_may_answer_otherwise(workspace: Workspace, add: Day) -> None:
    days(add, 7)
    workspace.registry.promote(new_release(workspace, 1), "passed", "ada")
    add(TODAY, seconds=5.0)
    assert Watchman(workspace, Settings()).look(TODAY) == []
    tomorrow = TODAY + timedelta(days=1)
    add(tomorrow, seconds=25.0)
    (found,) = Watchman(workspace, Settings()).look(tomorrow)
    assert (found.kind, found.about) == ("drift", "seconds")


def test_ratings_that_rise_while_corrections_do(workspace: Workspace, add: Day) -> None:
    days(add, 2, good=0.4)
    workspace.registry.promote(new_release(workspace, 1), "passed", "ada")
    add(TODAY, good=0.95, corrected=30)
    (found,) = Watchman(workspace, Settings()).look(TODAY)
    assert found.kind == "proxy"
    assert found.about == workspace.registry.live_id()
    assert "while corrections went from 0.0% to 50.0%" in found.said


def test_the_exams_of_two_releases(workspace: Workspace, add: Day) -> None:
    def judged(seed: int, *, right: bool) -> str:
        made = workspace.registry.get(new_release(workspace, seed))
        passed = Check("gain", 0.4, 0.1, 0.7, 0.2, "pass", "more right")
        verdict = Verdict("c", "pass", (passed,), {}, {f"q{number}": right for number in range(20)})
        again = workspace.registry.create(
            base=made.base, adapters=made.adapters, parent=made.parent, verdict=workspace.blobs.put_json(verdict)
        )
        return again.id

    workspace.registry.promote(judged(1, right=True), "passed", "ada")
    days(add, 2, good=0.4)
    workspace.registry.promote(judged(2, right=False), "passed", "ada")
    add(TODAY, good=0.95)
    (found,) = Watchman(workspace, Settings()).look(TODAY)
    assert "while exam went from 100.0% to 0.0%" in found.said


def test_a_changed_byte_is_an_incident(workspace: Workspace) -> None:
    digest = workspace.blobs.put(b"what was said")
    path = workspace.folder / "blobs" / digest
    path.chmod(0o644)
    path.write_bytes(b"what was done")
    (found,) = Watchman(workspace, Settings()).look(TODAY)
    assert (found.kind, digest in found.said) == ("ledger", True)


def test_an_operator_sees_acknowledges_exports_and_closes(workspace: Workspace, serve: Serve, tmp_path: Path) -> None:
    opened = workspace.incidents.open("drift", "seconds", "twice as slow", {"p_value": 1e-9})
    assert opened is not None
    running = serve(workspace)
    path, word = f"/api/v1/incidents/{opened.id}", {"by": "lena", "reason": "the disk was slow"}
    with running.http(ADMIN) as client:
        assert client.get("/api/v1/incidents").json()["incidents"][0]["state"] == "open"
        assert client.post(f"{path}:acknowledge", json=word).json()["acknowledged"]["by"] == "lena"
        assert client.post(f"{path}:acknowledge", json=word).status_code == 400
        assert client.get(path).json()["evidence"] == {"p_value": 1e-9}
        assert client.post(f"{path}:close", json=word).json()["closed"]["reason"] == "the disk was slow"
        exported = client.get(f"{path}/export")
        assert exported.headers["content-type"] == "application/zip"
        assert client.get("/api/v1/incidents/incident-99999").status_code == 404
        schedule = client.get("/api/v1/schedule").json()
    file = tmp_path / "bundle.zip"
    file.write_bytes(exported.content)
    assert [entry.body["event"] for entry in check(file).entries] == ["opened", "acknowledged", "closed"]
    assert (schedule["start"], schedule["scheduler"]) == (False, None)
    assert schedule["why"].startswith("0 documents and 0 corrections wait")


def test_of_much_traffic_a_part_of_the_subjects_is_read_whole(workspace: Workspace) -> None:
    served = []
    for number in range(600):
        subject = hashlib.sha256(str(number % 200).encode()).hexdigest()
        answer = Answer(f"a{number}", "Who?", "Nobody.", "r", "2026-03-01T10:00:00.000Z")
        served.append((answer, Interaction(answer.id, "k", subject, None, "live", "[]", "stop", 1, 1, 0.1, 0.1)))
    workspace.records.traffic.add(served)
    everything = workspace.records.watched.served("2026-03-01", "2026-03-02", "rating", refuses)
    assert len(everything) == 600
    assert workspace.records.watched.served("2026-03-02", "2026-03-03", "rating", refuses) == []
    part = Watched(workspace.records._database, most=150).served("2026-03-01", "2026-03-02", "rating", refuses)
    assert 60 < len(part) < 250
    assert set(Counter(reply.subject for reply in part).values()) == {3}


def test_ratings_in_quarantine_and_replies_that_nobody_waited_for_do_not_count(workspace: Workspace) -> None:
    for name, finish, doubt in (("a", "stop", None), ("b", "stop", "a burst"), ("c", "cancelled", None)):
        at = "2026-03-01T10:00:00.000Z"
        row = Interaction(name, "k", "s", None, "live", "[]", finish, 1, 1, 0.1, 0.1)
        workspace.records.traffic.add([(Answer(name, "Who?", "I'm sorry, but I can't help.", "r", at), row)])
        rating = Rating(name, name, None, "k", "s", "rating", 1.0, None, at, doubt)
        workspace.records.traffic.add_rating(rating)
    found = workspace.records.watched.served("2026-03-01", "2026-03-02", "rating", refuses)
    assert [(reply.rating, reply.refused) for reply in found] == [(1.0, True), (None, True)]
