"""Every page: whole, escaped, reachable, and without a number that the API does not give."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from starlette.testclient import TestClient

from gradatim.schedule import keeping
from gradatim.schedule.keeping import Scheduler
from gradatim.schedule.stepping import Share
from gradatim.workspace import Workspace
from tests.dashboard.conftest import ADMIN, Browse, Read
from tests.dashboard.page import Element, at, find, read, stands_for
from tests.dashboard.populated import CLOSED, HOSTILE, OPEN, SENTENCES

PAGES = (
    "/ui/",
    "/ui/steps",
    "/ui/steps/step-0001",
    "/ui/steps/step-0002",
    "/ui/steps/step-0003",
    "/ui/schedule",
    "/ui/releases",
    "/ui/releases/{live}",
    "/ui/releases/{waiting}",
    "/ui/releases/{base}",
    "/ui/rollouts",
    "/ui/rollouts/rollout-0001",
    "/ui/approvals",
    "/ui/incidents",
    f"/ui/incidents/{CLOSED}",
    f"/ui/incidents/{OPEN}",
    "/ui/feedback",
    "/ui/costs",
    "/ui/ledger",
    "/ui/ledger?before=10",
    "/ui/ledger/3",
)
EMPTY_PAGES = (
    "/ui/",
    "/ui/steps",
    "/ui/schedule",
    "/ui/releases",
    "/ui/rollouts",
    "/ui/approvals",
    "/ui/incidents",
    "/ui/feedback",
    "/ui/costs",
    "/ui/ledger",
)


def path_in(workspace: Workspace, path: str) -> str:
    releases = workspace.registry.releases()
    waiting = [entry.body["release"] for entry in workspace.ledger.entries("approval-needed")]
    return path.format(live=workspace.registry.live_id(), base=releases[0].id, waiting=waiting[0] if waiting else "")


def page_of(client: TestClient, path: str, status: int = 200) -> Element:
    done = client.get(path)
    assert done.status_code == status, done.text
    return read(done.text)


@pytest.mark.parametrize("path", PAGES)
def test_each_figure_is_the_apis(full: Read, path: str) -> None:
    client = full.client
    assert followed(client, page_of(client, path_in(full.workspace, path))) > 4


def test_a_figure_of_our_own_would_be_found(full: Read) -> None:
    """The test above is no good if it lets one pass."""
    text = full.client.get("/ui/costs").text
    for wrong in (text.replace("12 min 46 s", "12 min 47 s"), text.replace("By step", "By step 7")):
        assert wrong != text
        with pytest.raises(AssertionError):
            followed(full.client, read(wrong))


@pytest.mark.parametrize("path", EMPTY_PAGES)
def test_an_empty_workspace_says_what_to_do_next(bare: Read, path: str) -> None:
    client = bare.client
    page = page_of(client, path)
    followed(client, page)
    (main,) = find(page, "main")
    assert re.search(
        r"gradatim \w+|Nothing waits|Only the base|No rollout|Nothing was spent|No incident|Entries", main.text
    )


def followed(client: TestClient, page: Element) -> int:
    """How many marks of a page lead to the API and say there what they say here; every other figure is an error."""
    (main,) = find(page, "main")
    answers = {
        name: client.get(path, headers={"authorization": f"Bearer {ADMIN}"}).json()
        for name, path in json.loads(main.attributes["data-sources"]).items()
    }
    (body,) = find(page, "body")
    for element in body.all():
        for text in element.inside:
            if isinstance(text, str) and re.search(r"\d", text):
                known = element.within("data-from", "data-count", "data-key", "data-fixed")
                assert known, f"{text!r} in <{element.tag}> is from nowhere"
    return sum(_check(element, answers) for element in body.all())


def _check(element: Element, answers: dict[str, Any]) -> int:
    marks = element.attributes
    if "data-key" in marks:
        assert element.text in _value(marks["data-key"], answers)
        return 1
    if "data-count" in marks:
        assert element.text == str(len(_value(marks["data-count"], answers)))
        return 1
    for place in marks.get("data-drawn", "").split():
        _value(place, answers)
    if "data-from" not in marks:
        return 0
    value = _value(marks["data-from"], answers)
    if "data-value" in marks:
        assert json.loads(marks["data-value"]) == value
        _check_form(element, value)
    elif "word" in marks.get("class", "").split():
        assert element.text == re.sub("[-_]", " ", value)
    else:
        assert element.text == (value or "") or (element.text == "–" and not value)
    return 1


def _check_form(element: Element, value: Any) -> None:
    """That what is written is a way of writing the value."""
    if element.tag == "time":
        when = datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(value, UTC)
        assert datetime.strptime(element.text, "%d %b %Y, %H:%M %Z").replace(tzinfo=UTC) == when.replace(
            second=0, microsecond=0
        )
    elif element.tag == "code" and element.parent and element.parent.tag == "pre":
        assert json.loads(element.text) == value
    elif isinstance(value, str):
        assert element.text in (value[:12], value)
    elif value is None or isinstance(value, bool):
        assert element.text in ("–", str(value).lower())
    else:
        assert stands_for(element.text, value), (element.text, value)


def _value(place: str, answers: dict[str, Any]) -> Any:
    name, _, pointer = place.partition("#")
    return at(answers[name], pointer)


@pytest.mark.parametrize("path", PAGES)
def test_hostile_texts_stay_texts(full: Read, path: str) -> None:
    done = full.client.get(path_in(full.workspace, path))
    page = read(done.text)
    scripts = find(page, "script")
    assert [script.attributes.get("src") for script in scripts] == ["/ui/static/live.js"]
    assert scripts[0].text == ""
    assert "<img src=x" not in done.text
    assert str(1234 * 4321) not in done.text
    for element in page.all():
        assert not any(name.startswith("on") or name == "style" for name in element.attributes)
        assert not element.attributes.get("href", "").lower().startswith("javascript:")


def test_the_hostile_texts_are_there(full: Read) -> None:
    client = full.client
    paths = ["/ui/steps/step-0001", "/ui/feedback", "/ui/releases", "/ui/approvals", "/ui/rollouts/rollout-0001"]
    for path in (*paths, "/ui/", "/ui/incidents", f"/ui/incidents/{CLOSED}", f"/ui/incidents/{OPEN}"):
        assert HOSTILE in page_of(client, path).text


def test_self_edits_stand_beside_their_sources(full: Read) -> None:
    page = page_of(full.client, "/ui/steps/step-0001")
    sources = [one for one in page.all() if one.attributes.get("class") == "source"]
    assert [find(one, "blockquote")[0].text for one in sources] == list(SENTENCES)
    assert "restatement prompt 2" in sources[2].text
    assert "prompt 1" not in sources[2].text
    assert "No edits" in sources[5].text
    assert "known" in sources[4].text


def test_what_waits_is_on_the_overview_and_counted_in_the_navigation(full: Read) -> None:
    page = page_of(full.client, "/ui/")
    waiting = full.workspace.ledger.entries("approval-needed")
    (release,) = [entry.body["release"] for entry in waiting]
    assert find(page, "a", href=f"/ui/releases/{release}")
    badge = [one for one in page.all() if one.attributes.get("class") == "badge"]
    assert [one.text.strip() for one in badge] == ["1", "1"]
    assert [one.parent.attributes["href"] for one in badge if one.parent] == ["/ui/approvals", "/ui/incidents"]
    (waits,) = find(page, "section", id="waits")
    assert [one.text for one in find(waits, "a") if "incidents" in one.attributes["href"]] == [f"Look at {OPEN}"]
    assert "step-0003 was cut short" in " ".join(page.text.split())


def test_a_step_under_way_is_looked_at_again_and_again(full: Read) -> None:
    client = full.client
    with full.workspace.lock():
        page = page_of(client, "/ui/steps/step-0003")
        assert find(page, "body")[0].attributes.get("data-live-page") == ""
        assert find(page, "meta", http_equiv="refresh")
        states = [one.attributes["class"] for one in find(page, "li") if one.attributes.get("class", "")[:3] == "is-"]
        assert states == ["is-done"] * 2 + ["is-running"] + ["is-waiting"] * 5
    page = page_of(client, "/ui/steps/step-0001")
    assert not find(page, "meta", http_equiv="refresh")


def test_an_incident_tells_who_said_what_after_how_long(full: Read) -> None:
    page = page_of(full.client, f"/ui/incidents/{CLOSED}")
    opened, seen, closed = find(find(page, "ol", class_="timeline")[0], "li")
    assert "opened, about seconds" in opened.text
    assert re.search(r"acknowledged after [\d.]+ s by ada", " ".join(seen.text.split()))
    assert f"the disk was slow {HOSTILE}" in seen.text
    assert re.search(r"closed after [\d.]+ s by lena", " ".join(closed.text.split()))
    assert not [one for one in find(page, "form") if "/ui/act/" in one.attributes["action"]]
    waiting = page_of(full.client, f"/ui/incidents/{OPEN}").text
    assert "not acknowledged yet" in waiting
    assert "not closed yet" in waiting


def test_the_schedule_says_every_condition(full: Read, bare: Read) -> None:
    for read_only in (full, bare):
        decision = keeping.look(read_only.workspace)
        page = page_of(read_only.client, "/ui/schedule")
        rows = [[one.text for one in row.inside if isinstance(one, Element)] for row in find(page, "tr")[1:]]
        assert [row[:2] for row in rows] == [[one.name, "yes" if one.holds else "no"] for one in decision.conditions]
        assert all(
            one.said in row[2] and (one.rule or "") in row[2]
            for one, row in zip(decision.conditions, rows, strict=True)
        )
        assert find(page, "h2")[0].text == ("A step would be taken now" if decision.start else "No step now")
    assert keeping.look(full.workspace).start
    assert not keeping.look(bare.workspace).start


def test_the_schedule_names_who_keeps_it(workspace: Workspace, browse: Browse) -> None:
    client = browse(workspace)
    assert "nobody" in page_of(client, "/ui/schedule").text
    with Scheduler(workspace, Share()).alone():
        assert f"process {os.getpid()}" in page_of(client, "/ui/schedule").text


def test_a_broken_charter_is_said_where_it_counts(workspace: Workspace, browse: Browse) -> None:
    client = browse(workspace)
    workspace.charter_path.write_text("[schedule]\nhours = 7\n", "utf-8")
    done = {path: client.get(path) for path in ("/ui/schedule", "/ui/steps", "/ui/incidents")}
    assert "charter.toml:2: hours = 7 must be" in done["/ui/schedule"].text
    assert {path: one.status_code for path, one in done.items()} == {
        "/ui/schedule": 403,
        "/ui/steps": 200,
        "/ui/incidents": 200,
    }


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_fit_for_those_who_do_not_see_it(full: Read, path: str) -> None:
    page = page_of(full.client, path_in(full.workspace, path))
    assert find(page, "html")[0].attributes["lang"] == "en"
    assert find(page, "title")[0].text.endswith(" · Gradatim")
    assert len(find(page, "h1")) == len(find(page, "main")) == 1
    assert find(page, "a")[0].attributes["href"] == "#main"
    ids = [one.attributes["id"] for one in page.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    levels = [int(one.tag[1]) for one in page.all() if re.fullmatch(r"h[1-6]", one.tag)]
    assert all(below <= above + 1 for above, below in pairwise(levels))
    for one in page.all():
        if one.tag == "input" and one.attributes.get("type") != "hidden":
            assert one.parent
            assert one.parent.tag == "label"
        if one.tag == "th":
            assert one.attributes.get("scope") in ("col", "row")
        if one.tag == "img":
            assert "alt" in one.attributes
        if one.tag == "svg" and one.parent and one.parent.tag != "svg":
            assert one.attributes.get("aria-hidden") == "true" or one.attributes.get("aria-label")
        if one.tag in ("section", "article") and "aria-labelledby" in one.attributes:
            assert one.attributes["aria-labelledby"] in ids
        if one.tag == "a" and one.attributes["href"].startswith("#"):
            assert one.attributes["href"][1:] in ids
    current = [one for one in find(page, "a") if one.attributes.get("aria-current") == "page"]
    assert len(current) == 1


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_somewhere(full: Read, path: str) -> None:
    client = full.client
    links = {one.attributes["href"] for one in find(page_of(client, path_in(full.workspace, path)), "a")}
    for link in sorted(link for link in links if not link.startswith("#"))[:25]:
        assert client.get(link).status_code == 200, link


@pytest.mark.parametrize(
    "path",
    [
        "/ui/steps/step-0009",
        "/ui/releases/000000",
        "/ui/rollouts/rollout-9",
        "/ui/incidents/incident-9",
        "/ui/incidents/incident-9/export",
        "/ui/ledger/999",
        "/ui/ledger/x",
        "/ui/nothing",
    ],
)
def test_what_is_not_there_is_said_on_a_page(full: Read, path: str) -> None:
    page = page_of(full.client, path, 404)
    assert find(page, "h1")[0].text == "Not found"
