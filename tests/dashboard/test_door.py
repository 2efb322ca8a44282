"""Who comes in, and what no other site can make a browser do."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from gradatim.dashboard.sessions import GUESS_SECONDS, GUESSES, HOURS, MOST_SESSIONS, Guesses, Sessions
from gradatim.serve.access import Caller
from gradatim.workspace import Workspace
from tests.dashboard.conftest import ADMIN, CLIENT, NAME, Browse, Read, Visit, sign_in
from tests.dashboard.page import find, read

ADA = Caller("env-admin", "admin")


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def token_of(client: TestClient, path: str = "/ui/releases") -> str:
    return find(read(client.get(path).text), "input", name="token")[0].attributes["value"]


def test_whoever_is_not_signed_in_is_led_to_the_door(visit: Visit) -> None:
    client = visit()
    assert client.get("/").headers["location"] == "/ui/"
    for path in ("/ui/", "/ui/steps/step-0001", "/ui/ledger"):
        done = client.get(path)
        assert (done.status_code, done.headers["location"]) == (303, f"/ui/login?next={path}")
        assert "gradatim" not in done.text
    for path in ("/ui/act/verify", "/ui/logout"):
        assert client.post(path, data={"token": "x"}).headers["location"] == "/ui/login?next=/ui/"
    page = read(client.get("/ui/login?next=/ui/steps").text)
    assert find(page, "input", name="next")[0].attributes["value"] == "/ui/steps"
    assert find(page, "input", name="key")[0].attributes["type"] == "password"


def test_an_admin_key_opens_and_the_cookie_is_for_the_browser_alone(visit: Visit) -> None:
    client = visit()
    done = client.post("/ui/login", data={"name": NAME, "key": ADMIN, "next": "/ui/steps"})
    assert (done.status_code, done.headers["location"]) == (303, "/ui/steps")
    cookie = done.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/ui", f"Max-Age={int(HOURS * 3600)}"):
        assert part in cookie
    assert "Secure" not in cookie
    assert ADMIN not in cookie
    page = client.get("/ui/steps").text
    assert ADMIN not in page
    assert "Ada &lt;b&gt;Lovelace&lt;/b&gt;" in page


def test_behind_https_the_cookie_is_secure(full: Read) -> None:
    with_tls = TestClient(full.client.app, base_url="https://127.0.0.1", follow_redirects=False)
    assert "Secure" in sign_in(with_tls).headers["set-cookie"]
    with_tls.close()
    with_tls.close()


@pytest.mark.parametrize(("key", "status", "said"), [(CLIENT, 403, "client key"), ("wrong", 401, "not known")])
def test_other_keys_do_not(visit: Visit, key: str, status: int, said: str) -> None:
    client = visit()
    done = sign_in(client, key=key)
    assert done.status_code == status
    assert said in done.text
    assert "set-cookie" not in done.headers
    assert sign_in(client, name=" ").status_code == 400


def test_a_forged_cookie_finds_nobody(visit: Visit) -> None:
    client = visit()
    for forged in ("", "x" * 43, "../../etc/passwd", "ä" * 10):
        done = client.get("/ui/", headers={b"cookie": b"gradatim_session=" + forged.encode("latin-1", "replace")})
        assert done.status_code == 303


def test_guessing_is_slowed_down(visit: Visit) -> None:
    client = visit("guesser")
    statuses = [sign_in(client, key=f"guess {number}").status_code for number in range(GUESSES + 1)]
    assert statuses == [401] * GUESSES + [429]
    done = sign_in(client)
    assert done.status_code == 429
    assert 0 < int(done.headers["retry-after"]) <= GUESS_SECONDS + 1


def test_guesses_are_forgotten_after_a_while() -> None:
    clock = Hands()
    guesses = Guesses(clock)
    for _ in range(GUESSES):
        assert guesses.wait("there") == 0
        guesses.wrong("there")
    assert guesses.wait("there") > 0
    assert guesses.wait("elsewhere") == 0
    clock.at += GUESS_SECONDS + 0.1
    assert guesses.wait("there") == 0


def test_a_session_ends_by_its_time_by_signing_out_and_with_others_coming() -> None:
    clock = Hands()
    sessions = Sessions(clock)
    cookie = sessions.begin(ADA, "ada")
    assert sessions.find(cookie)
    assert not sessions.find(cookie[:-1])
    sessions.end(cookie)
    assert not sessions.find(cookie)
    cookie = sessions.begin(ADA, "ada")
    clock.at += HOURS * 3600
    assert not sessions.find(cookie)
    cookies = [sessions.begin(ADA, str(number)) for number in range(MOST_SESSIONS + 1)]
    assert not sessions.find(cookies[0])
    assert sessions.find(cookies[1])


def test_signing_out_ends_the_session_on_the_server(visit: Visit) -> None:
    client = visit(signed_in=True)
    kept = client.cookies["gradatim_session"]
    assert client.post("/ui/logout", data={"token": "of another"}).status_code == 403
    assert client.get("/ui/").status_code == 200
    done = client.post("/ui/logout", data={"token": token_of(client)})
    assert done.headers["location"] == "/ui/login"
    stolen = client.get("/ui/", headers={"cookie": f"gradatim_session={kept}"})
    assert stolen.status_code == 303


def test_a_revoked_key_ends_its_sessions(full: Read, visit: Visit) -> None:
    _, secret = full.workspace.records.keys.make("lena", "admin")
    client = visit()
    assert sign_in(client, key=secret).status_code == 303
    assert client.get("/ui/").status_code == 200
    full.workspace.records.keys.revoke("lena")
    time.sleep(1.1)  # for which a server need not know
    assert client.get("/ui/").status_code == 303


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        ({}, {}),
        ({"token": "x" * 43}, {}),
        ({"token": "ü"}, {}),
        ({"token": "mine"}, {"origin": "https://evil.example"}),
        ({"token": "mine"}, {"sec-fetch-site": "cross-site"}),
        ({"token": "mine"}, {"sec-fetch-site": "same-site"}),
        ({"token": "mine"}, {"origin": "null"}),
    ],
)
def test_a_form_from_elsewhere_does_nothing(
    full: Read, visit: Visit, data: dict[str, str], headers: dict[str, str]
) -> None:
    client, before = visit(signed_in=True), full.workspace.ledger.size
    if data.get("token") == "mine":
        data = {"token": token_of(client)}
    done = client.post("/ui/act/rollback", data=data | {"by": "eve", "reason": "for fun"}, headers=headers)
    assert done.status_code == 403
    assert full.workspace.ledger.size == before


def test_nobody_is_signed_in_from_elsewhere(visit: Visit) -> None:
    client = visit()
    form = {"name": "eve", "key": ADMIN}
    assert client.post("/ui/login", data=form, headers={"origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/ui//evil", "/ui/../v1", "/v1/models", "/ui/\\evil"]
)
def test_nobody_is_led_away(visit: Visit, target: str) -> None:
    client = visit()
    assert client.post("/ui/theme", data={"theme": "dark", "next": target}).headers["location"] == "/ui/"
    assert client.post("/ui/login", data={"name": "a", "key": ADMIN, "next": target}).headers["location"] == "/ui/"


@pytest.mark.parametrize("path", ["/ui/", "/ui/login", "/ui/nothing", "/ui/static/style.css", "/ui/static/none.css"])
def test_every_response_keeps_to_itself(full: Read, path: str) -> None:
    headers = full.client.get(path).headers
    policy = dict(part.partition(" ")[::2] for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    if "static" not in path:
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd"])
def test_files_are_those_of_the_pages(full: Read, path: str) -> None:
    assert full.client.get(f"/ui/static/{path}").status_code in (404, 405)


def test_the_theme_is_remembered(visit: Visit) -> None:
    client = visit()
    assert find(read(client.get("/ui/login").text), "html")[0].attributes["data-theme"] == "auto"
    done = client.post("/ui/theme", data={"theme": "dark", "next": "/ui/login"})
    assert done.headers["location"] == "/ui/login"
    assert find(read(client.get("/ui/login").text), "html")[0].attributes["data-theme"] == "dark"
    client.post("/ui/theme", data={"theme": "url(evil)", "next": "/ui/login"})
    assert find(read(client.get("/ui/login").text), "html")[0].attributes["data-theme"] == "dark"


def test_without_login_everybody_on_this_machine_has_a_session(workspace: Workspace, browse: Browse) -> None:
    client = browse(workspace, login=False)
    assert client.get("/ui/login").headers["location"] == "/ui/"
    page = client.get("/ui/releases")
    assert page.status_code == 200
    assert "HttpOnly" in page.headers["set-cookie"]
    done = client.post("/ui/act/rollback", data={"by": "eve", "reason": "for fun"})
    assert done.status_code == 403
    order: dict[str, Any] = {"by": "ada", "reason": "for a look", "token": token_of(client)}
    assert client.post("/ui/act/rollback", data=order).headers["location"] == "/ui/releases"
    assert workspace.registry.history()[-1].by == "ada"
    assert client.get("/ui/", headers={"host": "rebound.example"}).status_code == 403


def test_no_request_can_name_its_caller(visit: Visit) -> None:
    """What a request made inside carries can't be sent from outside."""
    client = visit()
    assert client.get("/api/v1/overview", headers={"gradatim.caller": "env-admin"}).status_code == 401
    assert client.get("/api/v1/overview", headers={"gradatim_caller": "env-admin"}).status_code == 401
