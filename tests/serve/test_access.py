"""Keys: who may ask, who may govern, and nobody else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import openai
import pytest

from gradatim.errors import InputError, WorkspaceError
from gradatim.serve.access import Doorkeeper
from gradatim.serve.base import Refused
from gradatim.serve.tokens import SECRET_FILE, read_secret
from gradatim.workspace import Workspace
from tests.serve.conftest import ADMIN, CLIENT, Running, Serve

ASK: Any = {"model": "gradatim", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 2}


def test_only_client_keys_ask(running: Running) -> None:
    assert running.openai().chat.completions.create(**ASK).choices
    for key in ("wrong-key-of-the-tests", CLIENT + "x", CLIENT[:-1], "grd_000000000000_x", "x" * 5000, "grd__"):
        with pytest.raises(openai.AuthenticationError) as refused:
            running.openai(key).chat.completions.create(**ASK)
        assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError) as wrong:
        running.openai(ADMIN).chat.completions.create(**ASK)
    assert wrong.value.code == "wrong_role"


@pytest.mark.parametrize("header", [None, "", "Bearer", f"Basic {CLIENT}", CLIENT, "Bearer \xe9\xff" * 3])
def test_no_key_no_answer(running: Running, header: str | None) -> None:
    headers: Any = {} if header is None else {"authorization": header.encode("latin-1")}
    with running.http(None) as client:
        done = client.post("/v1/chat/completions", json=ASK, headers=headers)
        assert (done.status_code, done.json()["error"]["type"]) == (401, "authentication_error")
        assert done.headers["www-authenticate"] == "Bearer"
        assert client.get("/v1/models", headers=headers).status_code == 401


def test_the_operators_page_needs_the_admin_key(running: Running) -> None:
    running.openai().chat.completions.create(**ASK)
    for key, status in ((ADMIN, 200), (CLIENT, 403), (None, 401)):
        with running.http(key) as client:
            page = client.get("/metrics")
            assert page.status_code == status
            if status == 200:
                live = running.workspace.registry.live_id()[:12]
                assert f'gradatim_release_live{{release="{live}"}} 1.0' in page.text
                assert (
                    'gradatim_http_requests_total{method="POST",route="/v1/chat/completions",status="200"}' in page.text
                )
                assert "gradatim_requests_open 0.0" in page.text


def test_health_needs_no_key(running: Running) -> None:
    with running.http(None) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            200,
            {"ready": True, "release": running.workspace.registry.live_id(), "troubles": {}},
        )
        assert "/v1/feedback" in client.get("/openapi.json").json()["paths"]


def test_a_key_works_until_it_is_revoked(workspace: Workspace) -> None:
    keys = workspace.records.keys
    door = Doorkeeper(keys, {}, reread=0.0)
    allowed = [door.anyone_can_ask]
    made, secret = keys.make("shop", "client")
    allowed.append(door.anyone_can_ask)
    assert door.caller(f"Bearer {secret}", "client").key == made.id
    assert door.caller(f"bearer  {secret}", "client").key == made.id
    keys.revoke("shop")
    with pytest.raises(Refused, match="revoked"):
        door.caller(f"Bearer {secret}", "client")
    assert [*allowed, door.anyone_can_ask] == [False, True, False]
    with pytest.raises(InputError, match="No key in use is named shop"):
        keys.revoke("shop")
    with pytest.raises(InputError, match="already"):
        keys.make("shop", "client")


def test_only_digests_are_stored(workspace: Workspace) -> None:
    _, secret = workspace.records.keys.make("shop", "client")
    workspace.records.close()
    stored = b"".join(path.read_bytes() for path in workspace.folder.glob("records.sqlite*"))
    assert secret.rpartition("_")[2].encode() not in stored
    assert b"shop" in stored


def test_an_admin_key_of_the_table(workspace: Workspace) -> None:
    _, secret = workspace.records.keys.make("ops", "admin")
    door = Doorkeeper(workspace.records.keys, {})
    assert not door.anyone_can_ask
    assert door.caller(f"Bearer {secret}", "admin").role == "admin"
    with pytest.raises(Refused) as refused:
        door.caller(f"Bearer {secret}", "client")
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"GRADATIM_CLIENT_KEY": "short"}, "too short"),
        ({"GRADATIM_CLIENT_KEY": CLIENT, "GRADATIM_ADMIN_KEY": CLIENT}, "are the same"),
    ],
)
def test_keys_that_are_none(workspace: Workspace, environment: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Doorkeeper(workspace.records.keys, environment)


def test_without_login_everybody_asks(workspace: Workspace, serve: Serve) -> None:
    running = serve(workspace, login=False)
    assert running.openai("anything").chat.completions.create(**ASK).choices
    with running.http(None) as client:
        assert client.get("/metrics").status_code == 200


def test_the_secret_is_the_owners(tmp_path: Path) -> None:
    secret = read_secret(tmp_path)
    assert (len(secret), read_secret(tmp_path)) == (32, secret)
    assert (tmp_path / SECRET_FILE).stat().st_mode & 0o077 == 0
    os.truncate(tmp_path / SECRET_FILE, 5)
    with pytest.raises(WorkspaceError, match="is not a secret"):
        read_secret(tmp_path)
