"""Forms do what the control plane does, and the ledger says who and why."""

from __future__ import annotations

import json
from pathlib import Path

from starlette.testclient import TestClient

from gradatim.dashboard.actions import ORDERS
from gradatim.ledger.bundle import check
from gradatim.workspace import Workspace
from tests.dashboard.conftest import Browse, Read, Visit
from tests.dashboard.page import Element, find, read
from tests.dashboard.populated import CLOSED, OPEN

WHY = {"by": "ada", "reason": "the figures are in <b>now</b>"}


def order(client: TestClient, page: str, action: str, identity: str = "", **more: str) -> tuple[str, Element]:
    """Send a form that stands on a page, as a browser would: where it leads, and the page there."""
    before = read(client.get(page).text)
    wanted = f"/ui/act/{action}" + (f"/{identity}" if identity else "")
    forms = [one for one in find(before, "form") if wanted in _leads(one)]
    assert forms, f"no form on {page} leads to {wanted}"
    hidden = {one.attributes["name"]: one.attributes["value"] for one in find(forms[0], "input", type="hidden")}
    done = client.post(wanted, data=hidden | more)
    assert done.status_code == 303, done.text
    there = done.headers["location"]
    return there, read(client.get(there).text)


def _leads(form: Element) -> set[str | None]:
    return {form.attributes["action"], *(one.attributes.get("formaction") for one in find(form, "button"))}


def notice(page: Element) -> tuple[str, str]:
    """How a notice is told, and what it says."""
    (found,) = [one for one in page.all() if "notice" in one.attributes.get("class", "").split()]
    return found.attributes["role"], " ".join(found.text.split())


def last(workspace: Workspace, kind: str) -> dict[str, object]:
    return list(workspace.ledger.entries(kind))[-1].body


def waiting_in(workspace: Workspace) -> str:
    return str(last(workspace, "approval-needed")["release"])


def test_a_release_is_approved(workspace: Workspace, browse: Browse) -> None:
    client, release = browse(workspace), waiting_in(workspace)
    there, page = order(client, "/ui/approvals", "approve", release, **WHY)
    assert there == f"/ui/releases/{release}"
    assert notice(page) == ("status", "Approved: the release is live.")
    assert workspace.registry.live_id() == release
    assert last(workspace, "approval") == WHY | {"release": release}
    assert "<b>now</b>" in read(client.get("/ui/releases").text).text
    assert "notice" not in [one.attributes.get("class") for one in read(client.get(there).text).all()]


def test_a_release_is_rejected(workspace: Workspace, browse: Browse) -> None:
    client, release, live = browse(workspace), waiting_in(workspace), workspace.registry.live_id()
    order(client, f"/ui/releases/{release}", "reject", release, **WHY)
    assert workspace.registry.live_id() == live
    assert last(workspace, "rejection") == WHY | {"release": release}
    assert "Nothing waits for you" in client.get("/ui/approvals").text


def test_an_order_needs_a_name_and_a_reason(workspace: Workspace, browse: Browse) -> None:
    client, size = browse(workspace), workspace.ledger.size
    for given in ({"by": "", "reason": "x"}, {"by": "ada", "reason": " "}, {"by": "a\nb", "reason": "x"}):
        there, page = order(client, "/ui/approvals", "approve", waiting_in(workspace), **given)
        assert there == "/ui/approvals"
        assert notice(page)[0] == "alert"
    assert workspace.ledger.size == size


def test_what_the_charter_forbids_is_said(workspace: Workspace, browse: Browse) -> None:
    charter = workspace.charter_path.read_text("utf-8").replace("by = []", 'by = ["lena"]')
    workspace.charter_path.write_text(charter, "utf-8")
    client = browse(workspace)
    assert "lena" in client.get("/ui/approvals").text
    _, page = order(client, "/ui/approvals", "approve", waiting_in(workspace), **WHY)
    assert "may not decide" in notice(page)[1]
    assert workspace.registry.live_id() != waiting_in(workspace)


def test_the_live_release_is_taken_back_and_promoted_again(workspace: Workspace, browse: Browse) -> None:
    client, live, base = browse(workspace), workspace.registry.live_id(), workspace.registry.releases()[0].id
    order(client, "/ui/releases", "rollback", **WHY)
    assert workspace.registry.live_id() == base
    assert last(workspace, "rollback") == WHY | {"release": base}
    order(client, f"/ui/releases/{live}", "promote", live, **WHY)
    assert workspace.registry.live_id() == live
    order(client, f"/ui/releases/{base}", "rollback", **WHY)
    assert workspace.registry.live_id() == base


def test_a_rollout_is_paused_resumed_grown_and_taken_back(workspace: Workspace, browse: Browse) -> None:
    client, at = browse(workspace), "/ui/rollouts/rollout-0001"
    for action, kind in (("pause", "pause"), ("resume", "resume"), ("grow", "grow"), ("take-back", "rollback")):
        there, page = order(client, at, action, "rollout-0001", **WHY)
        assert (there, notice(page)[0]) == (at, "status")
        event = last(workspace, "rollout")["event"]
        assert isinstance(event, dict)
        assert (event["kind"], event["by"], event["reason"]) == (kind, WHY["by"], WHY["reason"])
    assert not find(read(client.get(at).text), "form", action="/ui/act/pause/rollout-0001")


def test_a_rollout_is_begun(workspace: Workspace, browse: Browse) -> None:
    client = browse(workspace)
    order(client, "/ui/rollouts/rollout-0001", "abort", "rollout-0001", **WHY)
    candidate = workspace.registry.releases()[-1].id
    there, _ = order(client, f"/ui/releases/{candidate}", "start-rollout")
    assert there == "/ui/rollouts"
    assert "rollout-0002" in client.get("/ui/").text


def test_the_ledger_is_verified(workspace: Workspace, browse: Browse) -> None:
    client = browse(workspace)
    _, page = order(client, "/ui/ledger", "verify")
    role, text = notice(page)
    assert role == "status"
    assert f"as it was signed. {workspace.ledger.size} entries" in text
    log = workspace.folder / "ledger" / "log.jsonl"
    at = json.loads(log.read_bytes().splitlines()[0])["at"]
    log.write_bytes(log.read_bytes().replace(at.encode(), b"2000-01-01T00:00:00.000Z", 1))
    token = find(page, "input", name="token")[0].attributes["value"]
    assert client.post("/ui/act/verify", data={"token": token}).status_code == 303
    damaged = client.get("/ui/ledger")
    assert damaged.status_code == 503
    role, text = notice(read(damaged.text))
    assert role == "alert"
    assert "entry 0" in text


def test_what_is_not_believed_is_released_or_discarded(workspace: Workspace, browse: Browse) -> None:
    client = browse(workspace)
    document = workspace.records.documents("quarantined")[0].id
    order(client, "/ui/feedback", "believe", document, **WHY)
    assert last(workspace, "quarantine")["decision"] == "released"
    order(client, "/ui/feedback", "discard", "word-2", **WHY)
    assert last(workspace, "quarantine") == WHY | {"record": "word-2", "kind": "correction", "decision": "discarded"}


def test_an_incident_is_acknowledged_and_closed(workspace: Workspace, browse: Browse) -> None:
    client, at = browse(workspace), f"/ui/incidents/{OPEN}"
    index = int(OPEN.removeprefix("incident-"))
    there, page = order(client, at, "acknowledge", OPEN, **WHY)
    assert (there, notice(page)) == (at, ("status", "The incident is acknowledged."))
    assert last(workspace, "incident") == WHY | {"event": "acknowledged", "incident": index}
    assert not find(page, "form", action=f"/ui/act/acknowledge/{OPEN}")
    (task,) = find(read(client.get("/ui/").text), "a", href=at)
    assert task.text == f"Close {OPEN}"
    _, page = order(client, at, "close", OPEN, **WHY)
    assert notice(page) == ("status", "The incident is closed.")
    assert last(workspace, "incident") == WHY | {"event": "closed", "incident": index}
    token = find(page, "input", name="token")[0].attributes["value"]
    again = client.post(f"/ui/act/close/{OPEN}", data={"token": token, "next": at} | WHY)
    role, text = notice(read(client.get(again.headers["location"]).text))
    assert (role, "closed by ada already" in text) == ("alert", True)
    assert "/ui/incidents/" not in client.get("/ui/").text


def test_the_bundle_of_an_incident_holds_up_elsewhere(full: Read, visit: Visit, tmp_path: Path) -> None:
    (link,) = find(read(full.client.get(f"/ui/incidents/{CLOSED}").text), "a", download=f"{CLOSED}.zip")
    answer = full.client.get(link.attributes["href"])
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{CLOSED}.zip"'
    file = tmp_path / "bundle.zip"
    file.write_bytes(answer.content)
    told = [entry.body.get("event") for entry in check(file).entries]
    assert told[1:] == ["opened", "acknowledged", "closed"]
    stranger = visit().get(link.attributes["href"])
    assert (stranger.status_code, stranger.content) == (303, b"")
    assert stranger.headers["location"] == f"/ui/login?next=/ui/incidents/{CLOSED}"


def test_there_are_no_other_orders(workspace: Workspace, browse: Browse) -> None:
    client = browse(workspace)
    token = find(read(client.get("/ui/ledger").text), "input", name="token")[0].attributes["value"]
    for path in ("delete", "approve/..", "promote/a%2Fb", "approve/x%0Ay"):
        assert client.post(f"/ui/act/{path}", data={"token": token} | WHY).status_code in (404, 405)
    assert client.get("/ui/act/verify").status_code == 405
    assert all(
        order.path.startswith(("/approvals/", "/releases", "/rollouts", "/ledger", "/quarantine/", "/incidents/"))
        for order in ORDERS.values()
    )
