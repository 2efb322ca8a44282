"""Workspaces full and empty, and a browser that is not one: the test client, signed in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gradatim.charter import DEFAULT_PATH
from gradatim.dashboard import add_dashboard
from gradatim.serve.run import build
from gradatim.serve.settings import Settings
from gradatim.workspace import Workspace
from tests.dashboard.populated import populate, roll_out

CLIENT, ADMIN = "client-key-of-the-tests", "admin-key-of-the-tests"
ENVIRONMENT = {"GRADATIM_CLIENT_KEY": CLIENT, "GRADATIM_ADMIN_KEY": ADMIN}
NAME = "Ada <b>Lovelace</b>"
ORIGIN = "http://127.0.0.1"


class Idle:
    """An engine that is never asked: these pages read records, not models."""

    healthy = True

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    async def load(self, release: Any) -> None:
        return

    async def begin(self, asked: Any, release: Any) -> Any:
        raise AssertionError("the pages ask no model")


def app_of(workspace: Workspace, *, login: bool = True) -> Any:
    """The server's app with the dashboard."""
    idle: Any = Idle()
    app, _ = build(workspace, ENVIRONMENT, login=login, settings=Settings(), engine=idle, pages=add_dashboard)
    return app


def sign_in(client: TestClient, name: str = NAME, key: str = ADMIN) -> Any:
    return client.post("/ui/login", data={"name": name, "key": key})


def opened(stack: ExitStack, folder: Path) -> Workspace:
    workspace = Workspace.open(folder)
    stack.callback(workspace.records.close)
    return workspace


@pytest.fixture(scope="session")
def _full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; a rollout under way in it."""
    folder = tmp_path_factory.mktemp("full") / "here"
    workspace = populate(folder)
    with pytest.MonkeyPatch.context() as patch:
        roll_out(workspace, patch, worse=0.0, hours=24, each=16)
    workspace.records.close()
    return folder


@pytest.fixture
def workspace(_full: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A full workspace, to do anything with."""
    shutil.copytree(_full, tmp_path / "here")
    with ExitStack() as stack:
        yield opened(stack, tmp_path / "here")


@dataclass
class Read:
    """A full workspace and a client on it, for tests that only read."""

    workspace: Workspace
    client: TestClient


@pytest.fixture(scope="session")
def full(_full: Path) -> Iterator[Read]:
    """One app for all tests that change nothing."""
    with ExitStack() as stack:
        workspace = opened(stack, _full)
        client = TestClient(app_of(workspace), base_url=ORIGIN, follow_redirects=False)
        stack.callback(client.close)
        assert sign_in(client).status_code == 303
        yield Read(workspace, client)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """The same right after `gradatim init`."""
    charter = DEFAULT_PATH.read_text("utf-8")
    folder = tmp_path_factory.mktemp("bare") / "here"
    made = Workspace.create(folder, {"source": "tiny", "digest": "tiny-0"}, charter)
    with ExitStack() as stack:
        stack.callback(made.records.close)
        client = TestClient(app_of(made), base_url=ORIGIN, follow_redirects=False)
        stack.callback(client.close)
        assert sign_in(client).status_code == 303
        yield Read(made, client)


Visit = Callable[..., TestClient]


@pytest.fixture
def visit(full: Read) -> Iterator[Visit]:
    """More clients on the full workspace's app, for tests that change nothing there."""
    with ExitStack() as stack:

        def begin(address: str = "somebody", *, signed_in: bool = False) -> TestClient:
            client = TestClient(full.client.app, base_url=ORIGIN, follow_redirects=False, client=(address, 50000))
            stack.callback(client.close)
            if signed_in:
                assert sign_in(client).status_code == 303
            return client

        yield begin


Browse = Callable[..., TestClient]


@pytest.fixture
def browse() -> Iterator[Browse]:
    """Opens clients on a workspace: signed in unless told otherwise. They don't follow redirects."""
    with ExitStack() as stack:

        def begin(workspace: Workspace, *, signed_in: bool = True, login: bool = True) -> TestClient:
            client = TestClient(app_of(workspace, login=login), base_url=ORIGIN, follow_redirects=False)
            stack.callback(client.close)
            if signed_in and login:
                assert sign_in(client).status_code == 303
            return client

        yield begin
