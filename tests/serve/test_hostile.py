"""Bodies that nobody means well: each refused with a line, none with a 500, and the server answers afterwards."""

from __future__ import annotations

import json
import random
import socket
import time
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from gradatim.serve import protocol
from gradatim.serve.limits import depth_of
from gradatim.serve.settings import Settings
from gradatim.workspace import Workspace
from tests.serve.conftest import CLIENT, Running, Serve

GOOD: dict[str, Any] = {"model": "gradatim", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 1}
KEYS = (*GOOD, *"stop seed temperature top_p user metadata stream prompt n tools logprobs x".split())
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/feedback")
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1.5,
        1e400,
        2**63,
        10**30,
        "",
        "x",
        "\ud800",
        "\x00",
        "x" * 3000,
        [],
        {},
        [[]],
        [{}],
        {"": None},
    ),
    *("../../etc/passwd", "${jndi:x}", "' OR 1=1 --", "\u202e", [None] * 2000, {"a": {"b": [1, {"c": None}]}}),
)


def hostile(draw: random.Random) -> bytes:
    """A body that is wrong in one of many ways."""
    good = json.dumps(GOOD | {"prompt": "Who?", "token": "x", "response_id": "y", "value": 1}).encode()
    kind = draw.randrange(9)
    if kind == 0:
        return draw.randbytes(draw.randrange(200))
    if kind == 1:
        at = draw.randrange(len(good))
        return good[:at] + draw.randbytes(draw.randrange(4)) + good[at + draw.randrange(4) :]
    if kind == 2:
        return good[: draw.randrange(len(good))]
    if kind == 3:
        bracket = draw.choice((b"[", b'{"a":', b'[{"messages":'))
        return bracket * draw.randrange(1, 20_000)
    if kind == 4:
        return b'{"max_tokens": ' + b"9" * draw.randrange(1, 20_000) + b"}"
    if kind == 5:
        return json.dumps(draw.choice(ODD)).encode()
    body = dict(GOOD)
    for _ in range(draw.randrange(1, 4)):
        key = draw.choice(
            [*GOOD, "stop", "seed", "temperature", "user", "metadata", "stream", "prompt", "n", "tools", "x"]
        )
        body[key] = draw.choice(ODD)
    if kind == 6:
        body["messages"] = [{draw.choice(("role", "content", "name")): draw.choice(ODD)} for _ in range(2)]
    return json.dumps(body).encode()


def test_hostile_bodies(running: Running) -> None:
    draw = random.Random(5)
    with running.http() as client:
        for number in range(600):
            body, path = hostile(draw), draw.choice(PATHS)
            kind = draw.choice(
                ("application/json", "application/json", "text/plain", "application/x-www-form-urlencoded")
            )
            done = client.post(path, content=body, headers={"content-type": kind})
            assert done.status_code < 500, (number, path, body[:300])
            if done.status_code != 200:
                error = done.json()["error"]
                assert 400 <= done.status_code < 500
                assert len(error["message"].splitlines()) == 1, error
                assert len(error["message"]) < 600
        assert client.post(PATHS[0], json=GOOD).status_code == 200


def test_an_oversized_body_is_not_read(workspace: Workspace, serve: Serve) -> None:
    running = serve(workspace, Settings.model_validate({"limits": {"body_bytes": 2000}}))
    with running.http() as client:
        large = json.dumps(GOOD | {"user": "x" * 2000})
        assert client.post(PATHS[0], content=large).json()["error"]["code"] == "body_too_large"

        def pieces() -> Any:
            for _ in range(50):
                yield b" " * 100

        chunked = client.post(PATHS[0], content=pieces(), headers={"content-type": "application/json"})
        assert chunked.status_code == 413
        assert client.post(PATHS[0], json=GOOD).status_code == 200
    declared = (
        f"POST {PATHS[0]} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {CLIENT}\r\nContent-Length: 999999999999\r\n\r\n"
    )
    address = running.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), 30) as raw:
        raw.sendall(declared.encode())
        assert b" 413 " in raw.recv(100)


def test_a_body_that_never_ends_is_not_waited_for(workspace: Workspace, serve: Serve) -> None:
    running = serve(workspace, Settings.model_validate({"limits": {"body_seconds": 0.2}}))
    address = running.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), 30) as raw:
        raw.sendall(f"POST {PATHS[0]} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert b" 408 " in raw.recv(100)


def connected(running: Running) -> socket.socket:
    host, port = running.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 30)


def test_headers_that_never_end_are_not_kept(running: Running) -> None:
    with connected(running) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        with suppress(ConnectionError):
            while sent < 10_000_000:
                raw.sendall(b"a: " + b"b" * 4000 + b"\r\n")
                sent += 4005
        assert sent < 10_000_000
    for start in (b"GET /" + b"x" * 30_000, b"GET /healthz HTTP/1.1\r\na: " + b"b" * 30_000):
        with connected(running) as raw:
            raw.sendall(start)
            for _ in range(2):
                time.sleep(0.05)
                raw.sendall(b"y" * 40_000)
            assert raw.recv(100).startswith(b"HTTP/1.1 431 ")
    with running.http() as client:
        assert client.get("/healthz", headers={"x-long": "y" * 50_000}).status_code == 200


def test_requests_in_a_row_on_one_connection_are_all_answered(running: Running) -> None:
    body = json.dumps(GOOD).encode() + b" " * 100_000
    head = (
        f"POST {PATHS[0]} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {CLIENT}\r\nContent-Type: application/json\r\n"
    )
    whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with connected(running) as raw:
        raw.sendall(whole + whole[:40])
        raw.sendall(whole[40:])
        heard = b""
        while heard.count(b'"finish_reason"') < 2:
            piece = raw.recv(65536)
            assert piece, heard[-300:]
            heard += piece
    assert heard.count(b"HTTP/1.1 200 ") == 2


def test_headers_that_come_too_slowly_are_not_waited_for(
    workspace: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    with connected(serve(workspace)) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
        assert raw.recv(100).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        (b"", 0),
        (b"1", 0),
        (b"[]", 1),
        (b'{"a": [{"b": []}]}', 4),
        (b'["[[[[", "\\"[[["]', 1),
        (b'"[[[[ never closed', 0),
        (b'["\\', 1),
        (b"[" * 100_000, 100_000),
        (b'"\\"' * 200_000, 0),
    ],
)
def test_depth_is_counted_outside_of_strings(body: bytes, depth: int) -> None:
    assert depth_of(body) == depth


def test_too_deep_is_said(running: Running) -> None:
    with running.http() as client:
        body = json.dumps(GOOD | {"x": json.loads("[" * 40 + "]" * 40)})
        done = client.post(PATHS[0], content=body, headers={"content-type": "application/json"})
        assert (done.status_code, done.json()["error"]["code"]) == (400, "too_deep")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/v1/models/%00", 404),
        ("PROPFIND", "/healthz", 405),
    ],
)
def test_paths_and_methods_that_lead_nowhere(running: Running, method: str, path: str, status: int) -> None:
    with running.http() as client:
        done = client.request(method, path)
        assert done.status_code == status
        assert done.json()["error"]["message"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", [*PATHS, "/v1/models", "/healthz", "/readyz"])
def test_the_openapi_fuzzed(running: Running, path: str) -> None:
    """What the document allows is answered, what it forbids is refused, and neither breaks anything."""
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    (found,) = schema.include(path=path).get_all_operations()
    operation: Any = found.ok()  # type: ignore[union-attr]

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def holds(case: Any) -> None:
        if isinstance(case.body, dict) and "max_tokens" not in case.body:
            case.body["max_tokens"] = 1
        done = case.call(headers={"authorization": f"Bearer {CLIENT}"})
        assert done.status_code < 500, (case.body, done.content)

    fuzzed: Any = given(operation.as_strategy())(holds)  # type: ignore[no-untyped-call]
    fuzzed()
