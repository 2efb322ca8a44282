"""The control plane: the same decisions as on the command line, for admin keys only."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from gradatim.ledger.audit import read_public_key
from gradatim.ledger.merkle import verify_inclusion
from gradatim.ledger.note import read_note
from gradatim.types import Cost, StepReport
from gradatim.workspace import Workspace
from tests.serve.conftest import ADMIN, CLIENT, Running, Serve, new_release

LENA = {"by": "lena", "reason": "the figures are in"}

ROUTES = {
    ("get", "/api/v1/rollouts"),
    ("post", "/api/v1/rollouts"),
    ("get", "/api/v1/rollouts/{rollout}"),
    *(("post", f"/api/v1/rollouts/{{rollout}}:{verb}") for verb in ("promote", "pause", "resume", "abort", "rollback")),
    ("get", "/api/v1/releases"),
    ("post", "/api/v1/releases:rollback"),
    ("post", "/api/v1/releases/{release}:promote"),
    ("get", "/api/v1/approvals"),
    ("post", "/api/v1/approvals/{release}:approve"),
    ("post", "/api/v1/approvals/{release}:reject"),
    ("get", "/api/v1/overview"),
    ("get", "/api/v1/quarantine"),
    *(("post", f"/api/v1/quarantine/{{record}}:{verb}") for verb in ("release", "discard")),
    ("get", "/api/v1/replies/{response}"),
    ("get", "/api/v1/rollouts/{rollout}/history"),
    ("get", "/api/v1/rollouts/{rollout}/arms"),
    ("get", "/api/v1/approvals/{release}"),
    ("get", "/api/v1/steps/{step}/progress"),
    ("get", "/api/v1/steps/{step}/passages"),
    ("get", "/api/v1/ledger/entries"),
    ("get", "/api/v1/ledger/entries/{index}"),
    ("get", "/api/v1/steps"),
    ("get", "/api/v1/steps/{step}"),
    ("get", "/api/v1/feedback"),
    ("get", "/api/v1/costs"),
    ("get", "/api/v1/schedule"),
    ("get", "/api/v1/incidents"),
    ("get", "/api/v1/incidents/{incident}"),
    ("get", "/api/v1/incidents/{incident}/export"),
    ("post", "/api/v1/incidents/{incident}:acknowledge"),
    ("post", "/api/v1/incidents/{incident}:close"),
    ("get", "/api/v1/ledger/checkpoint"),
    ("get", "/api/v1/ledger/proof/{index}"),
    ("post", "/api/v1/ledger:verify"),
}


def call(running: Running, path: str, body: Any = None, status: int = 200, key: str | None = ADMIN) -> Any:
    """GET, or POST of a body."""
    with running.http(key) as client:
        done = client.get(f"/api/v1{path}") if body is None else client.post(f"/api/v1{path}", json=body)
    assert done.status_code == status, done.text
    return done.json()


def test_the_document_lists_every_route(running: Running) -> None:
    with running.http(None) as client:
        paths = client.get("/openapi.json").json()["paths"]
    found = {(method, path) for path, methods in paths.items() for method in methods if path.startswith("/api/v1")}
    assert found == ROUTES


@pytest.mark.parametrize(("method", "path"), sorted(ROUTES))
def test_only_admins_come_in(running: Running, method: str, path: str) -> None:
    for key, status in ((CLIENT, 403), (None, 401)):
        with running.http(key) as client:
            done = client.request(method, path.replace("{", "").replace("}", ""), json=LENA)
        assert done.status_code == status
        assert "\n" not in done.json()["error"]["message"]


def test_releases_are_promoted_and_taken_back(workspace: Workspace, serve: Serve) -> None:
    base, release = workspace.registry.live_id(), new_release(workspace, 1)
    running = serve(workspace)
    assert call(running, f"/releases/{release[:8]}:promote", LENA) == {"live": release}
    found = call(running, "/releases")
    assert [(each["id"], each["state"]) for each in found["releases"]] == [(base, "was live"), (release, "live")]
    assert (found["history"][-1]["by"], found["history"][-1]["reason"]) == (LENA["by"], LENA["reason"])
    assert call(running, "/releases:rollback", LENA) == {"live": base}
    other = new_release(workspace, 2)
    said = call(running, "/releases:rollback", LENA | {"release": other}, 400)["error"]["message"]
    assert "never live" in said
    call(running, "/releases/000000:promote", LENA, 400)


def test_waiting_releases_are_approved_or_rejected(workspace: Workspace, serve: Serve) -> None:
    one, two = new_release(workspace, 1), new_release(workspace, 2)
    for release in (one, two):
        workspace.ledger.append("approval-needed", {"release": release, "step": "step-0001"})
    running = serve(workspace)
    assert call(running, "/approvals") == {"awaiting": [one, two]}
    assert "awaits approval" in call(running, f"/releases/{one}:promote", LENA, 403)["error"]["message"]
    assert call(running, f"/approvals/{one}:reject", LENA) == {"release": one, "live": False}
    assert call(running, f"/approvals/{two}:approve", LENA) == {"release": two, "live": True}
    assert call(running, "/approvals") == {"awaiting": []}
    assert workspace.registry.live_id() == two
    assert "already" in call(running, f"/approvals/{one}:approve", LENA, 400)["error"]["message"]
    assert [entry.body["by"] for entry in workspace.ledger.entries("approval")] == ["lena"]


def test_who_may_not_approve_is_told(workspace: Workspace, serve: Serve) -> None:
    release = new_release(workspace, 1)
    workspace.ledger.append("approval-needed", {"release": release, "step": "step-0001"})
    charter = workspace.charter_path.read_text("utf-8").replace("by = []", 'by = ["ada"]')
    workspace.charter_path.write_text(charter, "utf-8")
    running = serve(workspace)
    said = call(running, f"/approvals/{release}:approve", LENA, 403)["error"]
    assert said["code"] == "charter"
    assert "may not decide" in said["message"]


@pytest.mark.parametrize("body", [{}, LENA | {"by": " "}, LENA | {"reason": "two\nlines"}, LENA | {"more": 1}])
def test_an_order_names_who_and_why(running: Running, body: dict[str, Any]) -> None:
    call(running, "/releases:rollback", body, 400)


def test_steps_and_what_they_cost(workspace: Workspace, serve: Serve) -> None:
    for number, cost in enumerate([Cost(2.0, 30, 4.0), Cost(1.0, 10, 0.5)], start=1):
        step = f"step-{number:04d}"
        workspace.ledger.append("step-begun", {"step": step, "inputs": {}})
        report = StepReport(step, "nothing-to-do", (), (), None, cost, "no weak spot")
        result = workspace.blobs.put_json(report)
        workspace.ledger.append("step-finished", {"step": step, "outcome": "nothing-to-do", "result": result})
    workspace.ledger.append("step-begun", {"step": "step-0003", "inputs": {}})
    running = serve(workspace)
    steps = call(running, "/steps")["steps"]
    assert [(each["step"], each["outcome"]) for each in steps] == [
        ("step-0001", "nothing-to-do"),
        ("step-0002", "nothing-to-do"),
        ("step-0003", "unfinished"),
    ]
    one = call(running, "/steps/step-0001")
    assert (one["reason"], one["cost"]) == ("no weak spot", {"seconds": 2.0, "tokens": 30, "joules": 4.0})
    assert call(running, "/costs")["total"] == {"seconds": 3.0, "tokens": 40, "joules": 4.5}
    call(running, "/steps/step-0009", status=404)


def test_feedback_is_shown_newest_last(workspace: Workspace, serve: Serve) -> None:
    running = serve(workspace)
    body = {"model": "gradatim", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 2}
    with running.http() as client:
        for value in (-1, 1):
            reply = client.post("/v1/chat/completions", json=body)
            said = {"response_id": reply.json()["id"], "value": value, "correction": f"Vole {value}."}
            token = reply.headers["x-gradatim-feedback-token"]
            assert client.post("/v1/feedback", json=said | {"token": token}).status_code == 200
    found = call(running, "/feedback")
    assert [rating["value"] for rating in found["ratings"]] == [-1, 1]
    assert [each["status"] for each in found["corrections"]] == ["new", "new"]
    last = call(running, "/feedback?last=1")
    assert (last["ratings"], last["corrections"]) == (found["ratings"][1:], found["corrections"][1:])
    call(running, "/feedback?last=0", status=400)


def test_the_ledger_is_verified_and_proves_its_entries(workspace: Workspace, serve: Serve) -> None:
    running = serve(workspace)
    verified = call(running, "/ledger:verify", {})
    assert (verified["ok"], verified["head"]) == (True, workspace.ledger.head)
    key = read_public_key(workspace.folder / "ledger")
    for index in range(workspace.ledger.size):
        proof = call(running, f"/ledger/proof/{index}")
        signed = read_note(proof["checkpoint"].encode(), key)
        path = [bytes.fromhex(node) for node in proof["path"]]
        assert verify_inclusion(bytes.fromhex(proof["leaf"]), index, signed.size, path, signed.root)
    assert call(running, "/ledger/checkpoint")["checkpoint"] == proof["checkpoint"]
    call(running, f"/ledger/proof/{workspace.ledger.size}", status=404)
    log = workspace.folder / "ledger" / "log.jsonl"
    entry = json.loads(log.read_bytes().splitlines()[0])
    log.write_bytes(log.read_bytes().replace(entry["at"].encode(), b"2000-01-01T00:00:00.000Z", 1))
    damaged = call(running, "/ledger:verify", {})
    assert damaged["ok"] is False
    assert "entry 0" in damaged["problem"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "path"), sorted(ROUTES))
def test_the_openapi_fuzzed(running: Running, method: str, path: str) -> None:
    """Whatever an admin sends is answered or refused, and breaks nothing."""
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    (found,) = schema.include(path=path, method=method.upper()).get_all_operations()
    operation: Any = found.ok()  # type: ignore[union-attr]

    @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def holds(case: Any) -> None:
        done = case.call(headers={"authorization": f"Bearer {ADMIN}"})
        assert done.status_code < 500, (case.body, done.content)

    fuzzed: Any = given(operation.as_strategy())(holds)  # type: ignore[no-untyped-call]
    fuzzed()
