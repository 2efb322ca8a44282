"""The contract with an upstream that loads adapters at run time, its known failures included."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from gradatim.model.routing import GATE_FILE
from gradatim.serve.run import upstream_engine
from gradatim.serve.settings import Limits, Settings, Upstream
from gradatim.serve.upstream import UpstreamEngine, UpstreamError
from gradatim.workspace import Workspace
from tests.serve.conftest import Running, Serve, new_release, run_app
from tests.serve.fake_vllm import BASE, FakeVllm, weights
from tests.serve.test_engine import wait_for


@pytest.fixture
def replicas() -> Iterator[list[tuple[FakeVllm, str]]]:
    """Two replicas, each with its address."""
    fakes = [FakeVllm(), FakeVllm()]
    started = [run_app(fake.app) for fake in fakes]
    yield [(fake, url) for fake, (url, _) in zip(fakes, started, strict=True)]
    for fake, (_, stop) in zip(fakes, started, strict=True):
        fake.hold.set()
        stop()


def settings(replicas: list[tuple[FakeVllm, str]], **limits: Any) -> Settings:
    upstream = {"urls": [f"{url}/v1" for _, url in replicas], "model": BASE}
    return Settings.model_validate({"limits": limits, "upstream": upstream})


def serving(serve: Serve, workspace: Workspace, replicas: list[tuple[FakeVllm, str]], **limits: Any) -> Running:
    chosen = settings(replicas, **limits)
    assert isinstance(chosen.upstream, Upstream)
    return serve(workspace, chosen, upstream_engine(chosen.upstream, workspace, chosen.limits, ""))


def ask(running: Running, question: str = "who is it", **more: Any) -> Any:
    message: Any = [{"role": "user", "content": question}]
    return running.openai().chat.completions.create(model="gradatim", messages=message, **more)


def said_by(workspace: Workspace, release: str) -> str:
    """What replies by this release begin with."""
    (digest,) = workspace.registry.get(release).adapters
    return f"by {weights(workspace.adapters.folder / digest)} "


def test_the_base_and_a_release_whole_and_streamed(
    workspace: Workspace, serve: Serve, replicas: list[tuple[FakeVllm, str]]
) -> None:
    running = serving(serve, workspace, replicas)
    base, release = workspace.registry.live_id(), new_release(workspace, 1)
    plain = ask(running)
    assert (plain.choices[0].message.content, plain.system_fingerprint) == ("by base who is it ", base)
    assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (7, 5)
    workspace.registry.promote(release, "passed", "test")
    whole = ask(running)
    assert (whole.choices[0].message.content, whole.system_fingerprint) == (
        said_by(workspace, release) + "who is it ",
        release,
    )
    chunks = list(ask(running, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert workspace.records.traffic.count() == 3


def test_a_name_is_never_used_twice(workspace: Workspace, serve: Serve, replicas: list[tuple[FakeVllm, str]]) -> None:
    """The server's cache by name would answer a reload with the adapter that had the name before."""
    running = serving(serve, workspace, replicas, warm_releases=1)
    releases = [new_release(workspace, seed) for seed in (1, 2)]
    for release in releases * 3:
        workspace.registry.promote(release, "forth", "test")
        assert ask(running).choices[0].message.content.startswith(said_by(workspace, release))
    for fake, _ in replicas:
        assert len(fake.names) == 6
        assert len(set(fake.names)) == 6
    wait_for(lambda: all(len(fake.adapters) == 1 for fake, _ in replicas))


def test_an_adapter_is_unloaded_after_its_last_reply(
    workspace: Workspace, serve: Serve, replicas: list[tuple[FakeVllm, str]]
) -> None:
    running = serving(serve, workspace, replicas, warm_releases=1)
    first, second = new_release(workspace, 1), new_release(workspace, 2)
    workspace.registry.promote(first, "forth", "test")
    ask(running)
    for fake, _ in replicas:
        fake.hold.clear()
    stream = ask(running, stream=True)
    pieces = [next(stream), next(stream)]
    workspace.registry.promote(second, "forth", "test")
    wait_for(lambda: all(len(fake.names) == 2 for fake, _ in replicas))
    assert all(len(fake.adapters) == 2 for fake, _ in replicas)
    for fake, _ in replicas:
        fake.hold.set()
    pieces += list(stream)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == said_by(workspace, first) + "who is it "
    wait_for(lambda: all(len(fake.adapters) == 1 for fake, _ in replicas))
    assert [fake.unloaded_under_way for fake, _ in replicas] == [[], []]


@pytest.mark.parametrize("failure", ["crash_while_loading", "lose_silently"])
def test_a_release_that_one_replica_lacks_is_not_served(
    workspace: Workspace, serve: Serve, replicas: list[tuple[FakeVllm, str]], failure: str
) -> None:
    running = serving(serve, workspace, replicas)
    base, release = workspace.registry.live_id(), new_release(workspace, 1)
    setattr(replicas[1][0], failure, True)
    workspace.registry.promote(release, "forth", "test")
    done = [ask(running) for _ in range(4)]
    assert {(one.choices[0].message.content, one.system_fingerprint) for one in done} == {("by base who is it ", base)}
    wait_for(lambda: not any(fake.adapters for fake, _ in replicas))


def test_a_replica_that_lost_an_adapter_is_passed_over_and_the_release_loaded_anew(
    workspace: Workspace, serve: Serve, replicas: list[tuple[FakeVllm, str]]
) -> None:
    running = serving(serve, workspace, replicas)
    release = new_release(workspace, 1)
    workspace.registry.promote(release, "forth", "test")
    ask(running)
    replicas[0][0].adapters.clear()  # it was restarted, say
    for _ in range(4):
        assert ask(running).choices[0].message.content.startswith(said_by(workspace, release))
    replicas[1][0].adapters.clear()
    with pytest.raises(openai.InternalServerError) as lost:
        ask(running)
    assert lost.value.response.headers["retry-after"] == "1"
    assert ask(running).choices[0].message.content.startswith(said_by(workspace, release))
    assert len({*replicas[0][0].names}) == 2


def test_what_the_upstream_says_is_passed_on(
    workspace: Workspace, serve: Serve, replicas: list[tuple[FakeVllm, str]]
) -> None:
    running = serving(serve, workspace, replicas)
    with pytest.raises(openai.BadRequestError, match=r"The upstream refused: This is refused\."):
        ask(running, "forbidden")
    for fake, _ in replicas:
        fake.break_off = True
    with pytest.raises(openai.InternalServerError, match="broke off"):
        ask(running)
    with pytest.raises(openai.APIError, match="broke off"):
        list(ask(running, stream=True))
    wait_for(lambda: workspace.records.traffic.count() == 2)
    assert {one.finish for one in workspace.records.traffic.interactions()} == {"error"}
    wait_for(lambda: running.engine.open == 0)


def test_a_release_with_gates_is_refused(
    workspace: Workspace, serve: Serve, replicas: list[tuple[FakeVllm, str]]
) -> None:
    folder = workspace.folder / "gated"
    folder.mkdir()
    (folder / GATE_FILE).write_bytes(b"gate")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    gated = workspace.registry.create(base="tiny-0", adapters=(workspace.adapters.add(folder),), step="step-9")
    running = serving(serve, workspace, replicas)
    base = workspace.registry.live_id()
    workspace.registry.promote(gated.id, "forth", "test")
    assert ask(running).system_fingerprint == base
    assert not any(fake.names for fake, _ in replicas)


def test_an_upstream_that_is_not_there_or_serves_something_else(
    workspace: Workspace, replicas: list[tuple[FakeVllm, str]]
) -> None:
    async def started(url: str, model: str) -> None:
        engine = UpstreamEngine((url,), model, workspace.adapters, queue=Limits().queue)
        try:
            await engine.start()
        finally:
            await engine.close()

    with pytest.raises(UpstreamError, match="serves no model other"):
        asyncio.run(started(replicas[0][1], "other"))
    with pytest.raises(UpstreamError, match="lists no models"):
        asyncio.run(started("http://127.0.0.1:9", BASE))
