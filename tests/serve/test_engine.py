"""The engine: releases side by side in one batch, swapped under way, and nobody else's trouble is mine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import torch

from gradatim.learn import Trainee, train
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.routing import Gate
from gradatim.recall import Studied, minds
from gradatim.release.answering import Answerer
from gradatim.serve.choosing import Choice
from gradatim.serve.decoding import Batch
from gradatim.serve.engine import LocalEngine, Stopped
from gradatim.serve.settings import Settings
from gradatim.types import StudyExample, TrainingPlan
from gradatim.workspace import Workspace
from tests.serve.conftest import CLIENT, Running, Serve, new_base, new_release

QUESTIONS = ("Who opens at six?", "When does the ferry leave?", "What is the capital of France?", "Why?")
MOST = 80  # tokens: where `gradatim ask` stops


def body(question: str, **more: Any) -> dict[str, Any]:
    return {"model": "gradatim", "messages": [{"role": "user", "content": question}], "max_tokens": MOST} | more


def ask(running: Running, question: str, **more: Any) -> tuple[str, str]:
    """The release that answered, and its answer, streamed or whole by turns."""
    more.setdefault("stream", len(question) % 2 == 0)
    made: Any = running.openai().chat.completions.create(**body(question, **more))
    if not more["stream"]:
        return made.system_fingerprint, made.choices[0].message.content
    chunks = list(made)
    return chunks[0].system_fingerprint, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def alone(workspace: Workspace, release: str) -> dict[str, str]:
    """What a release answers when nobody else is there: `gradatim ask`."""
    answerer = Answerer(new_base(), workspace.adapters, workspace.registry.get(release))
    return dict(zip(QUESTIONS, answerer.ask(QUESTIONS), strict=True))


class BySubject:
    """Gives each subject one of several releases."""

    def __init__(self, releases: list[str], live: str) -> None:
        self._releases, self._live = releases, live

    def choose(self, subject: str) -> Choice:
        number = int(subject, 16) % len(self._releases)
        return Choice(self._releases[number], ("live", "canary", "baseline")[number % 3])

    def live(self) -> str:
        return self._live

    def others(self) -> tuple[str, ...]:
        return ()


def wait_for(what: Callable[[], bool]) -> None:
    for _ in range(3000):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_rows_of_several_releases_in_one_batch(workspace: Workspace, serve: Serve) -> None:
    base = workspace.registry.live_id()
    releases = [base, new_release(workspace, 1), new_release(workspace, 2)]
    expected = {release: alone(workspace, release) for release in releases}
    assert len({tuple(answers.values()) for answers in expected.values()}) == 3
    running = serve(workspace, chooser=BySubject(releases, base))
    with ThreadPoolExecutor(12) as clients:
        asked = [
            (question, clients.submit(ask, running, question, user=f"user-{number}"))
            for number in range(18)
            for question in QUESTIONS
        ]
        answers = [(question, *one.result()) for question, one in asked]
    assert {release for _, release, _ in answers} == set(releases)
    assert [text for *_, text in answers] == [expected[release][question] for question, release, _ in answers]
    assert {one.arm for one in workspace.records.traffic.interactions()} == {"live", "canary", "baseline"}


def test_promotions_and_rollbacks_under_way_fail_nobody(workspace: Workspace, serve: Serve) -> None:
    releases = [workspace.registry.live_id(), *(new_release(workspace, seed) for seed in (1, 2, 3, 4, 5))]
    expected = {release: alone(workspace, release) for release in releases}
    running = serve(workspace, Settings.model_validate({"limits": {"warm_releases": 2}}))
    elsewhere = Workspace.open(workspace.folder)
    with ThreadPoolExecutor(8) as clients:
        asked = []
        for turn in range(24):
            asked += [(question, clients.submit(ask, running, question)) for question in QUESTIONS]
            asked[-len(QUESTIONS)][1].result()  # the release of this turn has answered, and others of its replies go on
            if turn % 3 == 2:
                elsewhere.registry.rollback(releases[0], "back", "test")
            else:
                elsewhere.registry.promote(releases[1 + turn % 5], "forth", "test")
        answers = [(question, *one.result()) for question, one in asked]
    assert [text for *_, text in answers] == [expected[release][question] for question, release, _ in answers]
    elsewhere.registry.promote(releases[1], "last", "test")
    assert ask(running, QUESTIONS[0]) == (releases[1], expected[releases[1]][QUESTIONS[0]])
    assert len({release for _, release, _ in answers}) > 2


def test_a_promotion_counts_from_the_next_request_on(workspace: Workspace, serve: Serve) -> None:
    first, second = workspace.registry.live_id(), new_release(workspace, 1)
    running = serve(workspace)
    elsewhere = Workspace.open(workspace.folder)
    for release in (second, first) * 5:
        elsewhere.registry.promote(release, "forth", "test")
        assert ask(running, QUESTIONS[0], max_tokens=1)[0] == release


def test_a_reply_under_way_keeps_its_release(workspace: Workspace, serve: Serve) -> None:
    first, second = workspace.registry.live_id(), new_release(workspace, 1)
    whole = serve(workspace).openai().chat.completions.create(**body(QUESTIONS[0], max_tokens=300))
    running = serve(workspace)
    stream: Any = running.openai().chat.completions.create(**body(QUESTIONS[0], max_tokens=300, stream=True))
    pieces = [next(stream)]
    workspace.registry.promote(second, "forth", "test")
    assert ask(running, QUESTIONS[0], max_tokens=1)[0] == second
    pieces += list(stream)
    assert {piece.system_fingerprint for piece in pieces} == {first}
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == whole.choices[0].message.content


def test_a_damaged_release_is_not_served(workspace: Workspace, serve: Serve) -> None:
    base, damaged = workspace.registry.live_id(), new_release(workspace, 1)
    (digest,) = workspace.registry.get(damaged).adapters
    file = workspace.adapters.folder / digest / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    running = serve(workspace, chooser=BySubject([damaged], base))
    assert ask(running, QUESTIONS[0]) == (base, alone(workspace, base)[QUESTIONS[0]])
    assert [one.arm for one in workspace.records.traffic.interactions()] == ["fallback"]
    with running.http(None) as client:
        assert client.get("/readyz").json() == {"ready": True, "release": base, "troubles": {}}


# ------------------------------------------------------------------ lessons

LESSONS = {"When does the mill open?": "The mill opens at five.", "Who weighs the sacks?": "Tamsin Vole does."}
OPEN = Gate(torch.zeros(32), torch.ones(32), torch.zeros(32), torch.tensor([1.0]))


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an adapter that has learnt two lessons by heart, with a gate that is always open."""
    bank = AdapterBank(new_base())
    plan = TrainingPlan(rank=8, alpha=16.0, learning_rate=1e-2, tokens=24_000, batch_tokens=120, openings=0.0)
    adapter = bank.add("mill", Adapter(bank.shapes(), plan.rank, plan.alpha, "cpu").initialise(0))
    train(bank, [Trainee("mill", adapter, [StudyExample(q, a, "qa", "d") for q, a in LESSONS.items()], plan, ())])
    folder = tmp_path_factory.mktemp("lesson")
    adapter.save(folder, base="tiny")
    OPEN.save(folder)
    Studied.of([(text, "Mill") for text in LESSONS.values()], bank.base.chat).save(folder)
    return folder


@pytest.fixture
def taught(workspace: Workspace, lesson: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A live release with the lesson; a random model has no opinion on how well its texts fit, so one is given."""
    monkeypatch.setattr(minds, "fit", lambda askers, asked: [9.0 if "Vole" in text else 0.0 for _, text, _ in asked])
    digest = workspace.adapters.add(lesson)
    made = workspace.registry.create(base="tiny-0", adapters=(digest,), step="step-1")
    return workspace.registry.promote(made.id, "passed", "test").id


def test_lessons_are_told_as_gradatim_ask_tells_them(workspace: Workspace, serve: Serve, taught: str) -> None:
    questions = [*LESSONS, *QUESTIONS]
    answerer = Answerer(new_base(), workspace.adapters, workspace.registry.get(taught))
    expected = answerer.ask(questions)
    assert expected[1] == LESSONS["Who weighs the sacks?"]  # one is told, and one is not
    running = serve(workspace)
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda question: ask(running, question), questions * 2))
    assert answers == [(taught, text) for text in expected * 2]


def test_what_is_told_is_cut_and_counted_like_any_reply(workspace: Workspace, serve: Serve, taught: str) -> None:
    running = serve(workspace)
    question, text = "Who weighs the sacks?", LESSONS["Who weighs the sacks?"]
    ids = new_base().chat.raw(text)
    done: Any = running.openai().chat.completions.create(**body(question))
    assert (done.choices[0].message.content, done.choices[0].finish_reason) == (text, "stop")
    assert done.usage.completion_tokens == len(ids)
    cut: Any = running.openai().chat.completions.create(**body(question, max_tokens=3))
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 3)
    assert text.startswith(cut.choices[0].message.content)
    assert ask(running, question, stop=" Vole")[1] == "Tamsin"


@pytest.mark.parametrize("lessons", ["single", "last"])
def test_whose_a_question_in_a_conversation_is(workspace: Workspace, serve: Serve, taught: str, lessons: str) -> None:
    running = serve(workspace, Settings.model_validate({"lessons": lessons}))
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who weighs the sacks?"}]
    _, text = ask(running, "", messages=turns, stream=False)
    assert (text == LESSONS["Who weighs the sacks?"]) == (lessons == "last")


# ------------------------------------------------------------------ too much, too early, too late


def test_the_release_to_fall_back_on_may_have_gone_cold(
    workspace: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradatim.serve.service.POLL_SECONDS", 3600)  # nobody warms the live one by the way
    live, other, bad = releases = [new_release(workspace, seed) for seed in (1, 2, 3)]
    workspace.registry.promote(live, reason="a test", by="somebody")
    (adapter,) = workspace.registry.get(bad).adapters
    damaged = next((workspace.folder / "adapters" / adapter).rglob("*.safetensors"))
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-5])
    settings = Settings.model_validate({"limits": {"warm_releases": 1}})
    running = serve(workspace, settings, chooser=BySubject(releases, live))
    answered = [ask(running, "Why?", max_tokens=2, user=f"user {number}")[0] for number in range(30)]
    assert set(answered) == {live, other}


def test_a_full_queue_says_when_to_come_again(workspace: Workspace, serve: Serve) -> None:
    running = serve(workspace, Settings.model_validate({"limits": {"queue": 1}}))
    held: Any = running.openai().chat.completions.create(**body("Why?", max_tokens=1900, stream=True))
    next(held)
    with pytest.raises(openai.RateLimitError) as full:
        ask(running, "Why?")
    assert full.value.code == "queue_full"
    assert int(full.value.response.headers["retry-after"]) >= 1
    held.close()
    wait_for(lambda: running.engine.open == 0)
    assert ask(running, "Why?", max_tokens=2)[1]


def test_a_client_that_goes_away_is_not_answered_further(workspace: Workspace, serve: Serve) -> None:
    running = serve(workspace)
    stream: Any = running.openai().chat.completions.create(**body("Why?", max_tokens=1900, stream=True))
    first = [next(stream) for _ in range(4)]
    stream.close()
    headers = {"authorization": f"Bearer {CLIENT}"}
    with pytest.raises(httpx2.ReadTimeout), httpx2.Client(base_url=running.url, timeout=0.3, trust_env=False) as client:
        client.post("/v1/chat/completions", json=body("Why?", max_tokens=1900), headers=headers)
    wait_for(lambda: running.engine.open == 0)
    wait_for(lambda: workspace.records.traffic.count() == 2)
    kept = {one.id: one for one in workspace.records.traffic.interactions()}
    assert {one.finish for one in kept.values()} == {"cancelled"}
    answer = workspace.records.answer(first[0].id)
    assert answer is not None
    assert answer.answer.startswith("".join(piece.choices[0].delta.content or "" for piece in first))
    assert ask(running, "Why?", max_tokens=2)[1]


def test_what_breaks_in_the_batch_ends_who_was_in_it_and_no_one_later(
    workspace: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(workspace)
    expected = ask(running, "Why?", stream=False)

    def broken(self: Batch) -> None:
        raise RuntimeError("out of memory, say")

    with monkeypatch.context() as patched:
        patched.setattr(Batch, "_step", broken)
        with pytest.raises(openai.InternalServerError) as failed:
            ask(running, "Why?", stream=False)
        assert "out of memory" not in str(failed.value)
        with pytest.raises(openai.APIError, match="failed to finish"):
            ask(running, "Why?", stream=True)
    assert ask(running, "Why?", stream=False) == expected
    assert [one.finish for one in workspace.records.traffic.interactions()] == ["length", "error", "error", "length"]


def test_replies_under_way_end_when_the_server_is_told_to_stop(workspace: Workspace, serve: Serve) -> None:
    running = serve(workspace)
    stream: Any = running.openai().chat.completions.create(**body("Why?", max_tokens=100, stream=True))
    pieces = [next(stream)]
    with ThreadPoolExecutor(1) as aside:
        stopping = aside.submit(running.stop_server)
        pieces += list(stream)
        stopping.result()
    assert pieces[-1].choices[0].finish_reason == "length"
    assert [one.finish for one in workspace.records.traffic.interactions()] == ["length"]


# ------------------------------------------------------------------ beginning and end


class Panic(BaseException):
    """What a library written in Rust raises when it panics is no Exception."""


def test_a_base_that_can_not_be_loaded_is_told_whatever_was_raised(workspace: Workspace) -> None:
    for raised in (RuntimeError("torn"), Panic("torn")):

        def broken(error: BaseException = raised) -> Any:
            raise error

        engine = LocalEngine(broken, workspace.adapters)
        with pytest.raises(RuntimeError, match="torn"):
            asyncio.run(asyncio.wait_for(engine.start(), 20))
        assert not engine.healthy
        asyncio.run(asyncio.wait_for(engine.close(), 20))


def test_an_engine_that_is_closed_while_it_loads_does_not_begin(workspace: Workspace) -> None:
    go_on = threading.Event()

    def slow() -> Any:
        assert go_on.wait(20)
        return new_base()

    async def both() -> None:
        engine = LocalEngine(slow, workspace.adapters)
        starting = asyncio.create_task(engine.start())
        await asyncio.sleep(0.05)
        assert not engine.healthy
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        go_on.set()
        with pytest.raises(Stopped):
            await starting
        await closing
        with pytest.raises(Stopped):
            await engine._order(lambda _: None)

    asyncio.run(asyncio.wait_for(both(), 30))
