"""Ratings and corrections: only by whoever was given the reply, once, and on to the next step."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gradatim.charter import Charter
from gradatim.serve.feedback import SOURCE
from gradatim.serve.settings import Settings
from gradatim.serve.tokens import Tokens, read_secret
from gradatim.store.keys import Keys
from gradatim.workspace import Workspace
from tests.serve.conftest import ADMIN, CLIENT, Running, Serve


def ask(running: Running, key: str = CLIENT, **more: Any) -> tuple[str, str]:
    """A reply's id, and its token."""
    message: Any = [{"role": "user", "content": "Who  weighs the sacks?"}]
    done = running.openai(key).chat.completions.with_raw_response.create(
        model="gradatim", messages=message, max_tokens=4, **more
    )
    return done.parse().id, done.headers["x-gradatim-feedback-token"]


def give(running: Running, key: str | None = CLIENT, /, **body: Any) -> tuple[int, Any]:
    with running.http(key) as client:
        done = client.post("/v1/feedback", content=json.dumps(body), headers={"content-type": "application/json"})
    return done.status_code, done.json()


def test_a_rating_is_taken_once(running: Running) -> None:
    response, token = ask(running, user="ada")
    status, first = give(running, response_id=response, value=-1, comment="wrong", token=token)
    assert (status, first["known"], first["correction_id"]) == (200, False, None)
    assert give(running, response_id=response, value=-1, comment="wrong", token=token) == (200, first | {"known": True})
    (kept,) = [rating for rating in running.workspace.records.traffic.ratings() if rating.response == response]
    assert (kept.id, kept.metric, kept.value, kept.comment) == (first["rating_id"], "rating", -1.0, "wrong")
    served = running.workspace.records.traffic.interaction(response)
    assert served is not None
    assert (kept.subject, kept.key) == (served.subject, served.key)


def test_a_rating_that_was_taken_back_can_be_given_again(running: Running) -> None:
    response, token = ask(running, user="eve")
    taken = [give(running, response_id=response, value=value, token=token)[1] for value in (1, -1, 1, 1)]
    assert [one["known"] for one in taken] == [False, False, False, True]
    assert taken[2]["rating_id"] == taken[3]["rating_id"]
    kept = [rating.value for rating in running.workspace.records.traffic.ratings() if rating.response == response]
    assert kept == [1, -1, 1]  # the last counts


def test_a_correction_becomes_what_the_next_step_learns(running: Running) -> None:
    response, token = ask(running, user="ben")
    body: dict[str, Any] = {"response_id": response, "value": -1, "correction": "Tamsin  Vole does.", "token": token}
    status, taken = give(running, **body)
    assert (status, taken["known"]) == (200, False)
    (kept,) = [one for one in running.workspace.records.feedback("new") if one.feedback.answer == response]
    assert kept.feedback.id == taken["correction_id"]
    assert (kept.feedback.question, kept.feedback.correction) == ("Who  weighs the sacks?", "Tamsin Vole does.")
    assert (kept.feedback.rating, kept.feedback.provenance.source) == (-1, SOURCE)
    named = [entry.body["feedback"] for entry in running.workspace.ledger.entries("feedback")]
    assert named.count(kept.feedback.id) == 1
    assert give(running, **body) == (200, taken | {"known": True})
    assert [entry.body["feedback"] for entry in running.workspace.ledger.entries("feedback")] == named


def test_who_speaks_is_the_subject_so_many_words_of_one_are_one(running: Running) -> None:
    by = []
    for user in ("cora", "cora", "dan"):
        response, token = ask(running, user=user)
        give(running, response_id=response, correction=f"{user} says so.", token=token)
        by += [one.feedback.by for one in running.workspace.records.feedback() if one.feedback.answer == response]
    assert by[0] == by[1] != by[2]


def test_a_session_is_rated_by_whoever_has_a_token_of_it(running: Running) -> None:
    _, token = ask(running, metadata={"session_id": "s-1"})
    body: dict[str, Any] = {"session_id": "s-1", "metric": "solved", "value": True, "token": token}
    assert give(running, **body)[0] == 200
    assert give(running, **body | {"session_id": "s-2"})[1]["error"]["code"] == "foreign_token"
    (kept,) = [rating for rating in running.workspace.records.traffic.ratings() if rating.session == "s-1"]
    assert (kept.response, kept.value) == (None, 1.0)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"value": 2}, 400, "invalid_value"),
        ({"value": True}, 400, "invalid_value"),
        ({"value": 0.5}, 400, "invalid_value"),
        ({"metric": "beauty", "value": 1}, 400, "unknown_metric"),
        ({"metric": "solved", "value": True}, 400, "wrong_level"),
        ({}, 400, "invalid_value"),
        ({"correction": "  "}, 400, "invalid_value"),
        ({"value": 1, "session_id": "s"}, 400, "invalid_value"),
        ({"value": 1, "more": 1}, 400, "invalid_value"),
        ({"value": 1, "comment": "\udc00"}, 400, "invalid_value"),
    ],
)
def test_what_says_nothing_that_counts(running: Running, body: dict[str, Any], status: int, code: str) -> None:
    response, token = ask(running)
    got, answer = give(running, **{"response_id": response, "token": token} | body)
    assert (got, answer["error"]["code"]) == (status, code)
    assert len(answer["error"]["message"].splitlines()) == 1
    assert not [one for one in running.workspace.records.traffic.ratings() if one.response == response]


def forged(token: str) -> list[str]:
    response, expiry, mark = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(mark + "="))
    raw[3] ^= 1
    other = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    return [
        f"{response}.{expiry}.{other}",
        f"{response}.{int(expiry) + 1}.{mark}",
        f"{response[:-1]}{'1' if response.endswith('0') else '0'}.{expiry}.{mark}",
        f"{response}.{expiry}.{mark[:-1]}",
        f"{response}.{expiry}.",
        f"{token}\n",
        "",
    ]


def test_a_forged_token_is_refused(running: Running) -> None:
    response, token = ask(running)
    for wrong in forged(token):
        status, answer = give(running, response_id=response, value=1, token=wrong)
        assert (status, answer["error"]["code"]) == (403, "invalid_token"), wrong
    assert give(running, response_id=response, value=1, token=token)[0] == 200


def test_the_token_of_another_reply_or_client_is_refused(running: Running) -> None:
    keys: Keys = running.workspace.records.keys
    _, other = keys.make("other-app", "client")
    response, token = ask(running)
    foreign, foreign_token = ask(running, other)
    for key, body in (
        (CLIENT, {"response_id": response, "token": foreign_token}),
        (CLIENT, {"response_id": foreign, "token": token}),
        (other, {"response_id": response, "token": token}),
        (CLIENT, {"response_id": foreign, "token": foreign_token}),
    ):
        assert give(running, key, value=1, **body)[0] == 403
    assert give(running, other, response_id=foreign, value=1, token=foreign_token)[0] == 200
    assert give(running, ADMIN, response_id=response, value=1, token=token)[0] == 403
    assert give(running, None, response_id=response, value=1, token=token)[0] == 401


def test_a_token_expires(running: Running) -> None:
    response, _ = ask(running)
    tokens = Tokens(read_secret(running.workspace.folder), Settings().token_hours)
    old = tokens.make(response, "env-client", at=0.0)
    assert give(running, response_id=response, value=1, token=old)[1]["error"]["code"] == "invalid_token"
    assert tokens.response(old, "env-client", at=7 * 24 * 3600.0) == response
    assert tokens.response(old, "env-client", at=7 * 24 * 3600.0 + 2) is None


def test_a_reply_that_nobody_finished_has_no_feedback(running: Running) -> None:
    tokens = Tokens(read_secret(running.workspace.folder), 1.0)
    status, answer = give(running, response_id="chatcmpl-x", value=1, token=tokens.make("chatcmpl-x", "env-client"))
    assert (status, answer["error"]["code"]) == (404, "unknown_response")


def test_the_charter_may_forbid_what_comes_over_http(workspace: Workspace, serve: Serve) -> None:
    workspace.charter_path.write_text('[sources]\ndeny = ["serve://*"]\n')
    assert not Charter.load(workspace.charter_path).allows_source(SOURCE)
    running = serve(workspace)
    response, token = ask(running)
    status, answer = give(running, response_id=response, correction="Vole.", token=token)
    assert (status, answer["error"]["code"]) == (403, "forbidden_source")
    assert 'charter.toml line 2: deny = ["serve://*"]' in answer["error"]["message"]
    assert workspace.records.feedback() == []
    assert give(running, response_id=response, value=1, token=token)[0] == 200
