"""Real servers on free ports: tiny models made on the spot, real workspaces, the real `openai` client."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
import uvicorn
from openai import OpenAI

from gradatim.charter import DEFAULT_PATH
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.serve.choosing import Chooser
from gradatim.serve.engine import LocalEngine
from gradatim.serve.run import build, capacity, config_of, listen
from gradatim.serve.settings import Settings
from gradatim.workspace import Workspace
from tests.tiny import tiny_base

CLIENT, ADMIN = "client-key-of-the-tests", "admin-key-of-the-tests"
ENVIRONMENT = {"GRADATIM_CLIENT_KEY": CLIENT, "GRADATIM_ADMIN_KEY": ADMIN}
CONTEXT = 2048


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


def new_base() -> Any:
    return tiny_base(max_position_embeddings=CONTEXT, initializer_range=0.5)


def new_workspace(folder: Path) -> Workspace:
    """A workspace around the tiny base."""
    return Workspace.create(folder, {"source": "tiny", "digest": "tiny-0"}, DEFAULT_PATH.read_text("utf-8"))


def new_release(workspace: Workspace, seed: int) -> str:
    """A release with one random adapter, which takes every question; not promoted."""
    bank = AdapterBank(new_base())
    adapter = Adapter(bank.shapes(), 4, 8.0, "cpu").initialise(seed)
    generator = torch.Generator().manual_seed(seed)
    for module in adapter.modules:
        B = adapter.turned_B[module][0]
        B.copy_(torch.randn(B.shape, generator=generator) * 0.5)
    with tempfile.TemporaryDirectory() as folder:
        adapter.save(Path(folder), base="tiny")
        digest = workspace.adapters.add(Path(folder))
    bank.detach()
    parent = workspace.registry.live_id()
    return workspace.registry.create(base="tiny-0", adapters=(digest,), parent=parent, step=f"step-{seed}").id


@dataclass
class Running:
    """A server that runs, and how to talk to it."""

    url: str
    workspace: Workspace
    engine: Any
    stop_server: Callable[[], None] = field(repr=False)
    clients: dict[str, OpenAI] = field(default_factory=dict)

    def openai(self, key: str = CLIENT) -> OpenAI:
        if key not in self.clients:
            self.clients[key] = OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)
        return self.clients[key]

    def stop(self) -> None:
        for client in self.clients.values():
            client.close()
        self.stop_server()

    def http(self, key: str | None = CLIENT) -> httpx2.Client:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)


Serve = Callable[..., Running]


def run_app(app: Any) -> tuple[str, Callable[[], None]]:
    """Run an app in a thread on a free port: its address, and how to stop it."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(config_of(app, 5))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive()

    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    while not server.started and thread.is_alive():
        thread.join(0.01)
    assert server.started
    return url, stop


def start(
    workspace: Workspace,
    settings: Settings | None = None,
    engine: Any = None,
    chooser: Chooser | None = None,
    *,
    login: bool = True,
) -> Running:
    settings = settings or Settings()
    engine = engine or LocalEngine(new_base, workspace.adapters, capacity(settings.limits))
    app, _ = build(workspace, ENVIRONMENT, login=login, settings=settings, engine=engine, chooser=chooser)
    url, stop = run_app(app)
    return Running(url, workspace, engine, stop)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = new_workspace(tmp_path / "here")
    yield made
    made.records.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers, and stops them at the end."""
    with ExitStack() as stack:

        def begin(*arguments: Any, **more: Any) -> Running:
            running = start(*arguments, **more)
            stack.callback(running.stop)
            return running

        yield begin


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server of the bare base for all tests of a module."""
    made = new_workspace(tmp_path_factory.mktemp("served") / "here")
    metrics = {"solved": {"type": "boolean", "level": "session"}}
    server = start(made, Settings.model_validate({"limits": {"usual_reply_tokens": 4}, "metrics": metrics}))
    yield server
    server.stop()
    made.records.close()
