"""What must not follow from a setback at a bad moment: a database away, a broken file, a release that does not load."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gradatim.errors import GradatimError, InputError, WorkspaceError
from gradatim.ledger import verify
from gradatim.model.bank import AdapterBank
from gradatim.rollout import Event, Rollout
from gradatim.serve import unseen
from gradatim.serve.base import Ended
from gradatim.serve.decoding import Batch
from gradatim.serve.engine import TURNS, LocalEngine
from gradatim.serve.rollouts import Rollouts
from gradatim.serve.run import capacity
from gradatim.serve.settings import Limits, Settings
from gradatim.serve.telemetry import Metrics
from gradatim.serve.watching import Watchman
from gradatim.store.rollouts import RolloutTable
from gradatim.workspace import Workspace
from tests.serve.conftest import new_base, new_release
from tests.serve.test_rollouts import ask, control


@pytest.fixture
def candidate(workspace: Workspace) -> str:
    return new_release(workspace, 1)


def on_canary(rollouts: Rollouts) -> int:
    return [rollouts.choose(f"user {n}").arm for n in range(100)].count("canary")


def test_a_rollback_decided_while_the_database_was_away_is_carried_out_later(
    workspace: Workspace, candidate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts = Rollouts(workspace, Settings())
    identity = rollouts.start(candidate, "ada")
    rollouts.command(identity, "promote", "ada", "go", full=True)

    def worse(self: Rollout, now: float) -> list[Event]:
        return [self.rollback("gradatim", "errors", now)]

    def away(*_: Any, **__: Any) -> None:
        raise WorkspaceError("the database is away")

    monkeypatch.setattr(Rollout, "decide", worse)
    with monkeypatch.context() as patch:
        patch.setattr(RolloutTable, "save", away)
        patch.setattr(RolloutTable, "all", away)
        for _ in range(2):
            with pytest.raises(WorkspaceError):
                rollouts.look()
    rollouts.look()
    (saved,) = workspace.records.rollouts.all()
    assert not saved.open
    told = [entry.body["event"]["kind"] for entry in workspace.ledger.entries("rollout")]
    assert told == ["start", "watch", "rollback"]
    assert on_canary(rollouts) == on_canary(Rollouts(workspace, Settings())) == 0


def with_probes(workspace: Workspace) -> None:
    text = workspace.charter_path.read_text("utf-8")
    workspace.charter_path.write_text(text.replace("probes = false", "probes = true"), "utf-8")


def test_broken_probes_stop_a_rollout_before_it_begins(workspace: Workspace, candidate: str) -> None:
    with_probes(workspace)
    (workspace.folder / "probes.jsonl").write_text("{broken\n", "utf-8")
    rollouts = Rollouts(workspace, Settings())
    with pytest.raises(InputError, match=r"probes.jsonl:1"):
        rollouts.start(candidate, "ada")
    assert workspace.records.rollouts.all() == []
    assert on_canary(rollouts) == 0


def test_probes_that_a_release_can_not_answer_count_against_it(
    workspace: Workspace, candidate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_probes(workspace)
    monkeypatch.setattr(unseen, "FAILED_SECONDS", 0.0)
    rollouts = Rollouts(workspace, Settings())
    rollouts.start(candidate, "ada")
    live = workspace.registry.live_id()

    async def ask(_: Any, work: unseen.Work) -> unseen.Seen | None:
        return unseen.Seen("No.", Ended("stop", 1, 1), 0.1) if work.release == live else None

    async def asked() -> None:
        keeping = asyncio.create_task(unseen.keep_asking(None, rollouts, Metrics()))  # type: ignore[arg-type]
        while rollouts._rehearsal.pending:
            await asyncio.sleep(0.01)
        keeping.cancel()

    monkeypatch.setattr(unseen, "ask", ask)
    asyncio.run(asked())
    rollouts.look()
    (saved,) = workspace.records.rollouts.all()
    assert not saved.open  # all of its probes are missing
    assert on_canary(rollouts) == 0


def test_a_promotion_during_the_daily_check_is_no_damage(
    workspace: Workspace, candidate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, moved = verify._verify_stores, list[str]()

    def slow(folder: Path) -> None:
        real(folder)
        if not moved:
            moved.append(workspace.registry.promote(candidate, reason="good", by="ada").id)

    monkeypatch.setattr(verify, "_verify_stores", slow)
    assert Watchman(workspace, Settings()).look(date(2026, 3, 1)) == []
    assert moved


def test_what_stands_in_for_a_compared_release_tells_no_arm(workspace: Workspace, candidate: str, serve: Any) -> None:
    engine = LocalEngine(new_base, workspace.adapters, capacity(Settings().limits))
    real = engine.load

    async def load(release: Any) -> None:
        if release.id == candidate:
            raise GradatimError("no memory")
        await real(release)

    engine.load = load  # type: ignore[method-assign]
    running = serve(workspace, Settings(), engine)
    control(running, "/rollouts", {"candidate": candidate})
    assert {ask(running, f"user {n}").headers["x-gradatim-arm"] for n in range(8)} == {"sealed"}


def test_the_two_batches_share_the_memory_there_is(workspace: Workspace) -> None:
    limits = Limits(cache_bytes=1_000_000)
    engine = LocalEngine(new_base, workspace.adapters, capacity(limits))

    async def tokens() -> int:
        await engine.start()
        await engine.load(workspace.registry.live())
        for _ in range(500):
            if engine._beside.tokens < whole:
                break
            await asyncio.sleep(0.01)
        beside = engine._beside.tokens
        await engine.close()
        return beside

    whole = Batch(AdapterBank(new_base()), capacity(limits).room).tokens
    assert asyncio.run(tokens()) == whole // TURNS
