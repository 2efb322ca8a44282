"""The pages: each is a template and the answers of the control plane that it is made of.

`answers` names what a page is given, by the path it is read from under /api/v1; a page carries this map, so that
whoever doubts a figure can ask the API the same. `now`, the overview, is part of every page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gradatim.dashboard.control import Unanswered

Ask = Callable[[str], Awaitable[Any]]
"""GET of a path of the control plane, as whoever is signed in."""

ENTRIES, EDITS, RECENT = 50, 4, 100
NOW = "/overview"


@dataclass(frozen=True, slots=True)
class Page:
    """A template, and where each of its answers is from."""

    template: str
    answers: Mapping[str, str]
    live: bool = False  # whether it is worth looking again by itself


Params = Mapping[str, str]
Made = Callable[[Ask, Params, Params], Awaitable[Page]]


async def overview(ask: Ask, _: Params, __: Params) -> Page:
    now = await ask(NOW)
    answers = {}
    if step := now["running"] or now["unfinished"] or (now["last"] or {}).get("step"):
        answers = {"step": f"/steps/{step}?examples=0", "progress": f"/steps/{step}/progress"}
    if now["rollout"]:
        answers["rollout"] = f"/rollouts/{now['rollout']['id']}"
    return Page("overview.html", answers, live=True)


async def steps(ask: Ask, _: Params, __: Params) -> Page:
    now = await ask(NOW)
    answers = {"steps": "/steps", "costs": "/costs"}
    if now["unfinished"]:
        answers["progress"] = f"/steps/{now['unfinished']}/progress"
    return Page("steps.html", answers, live=bool(now["running"]))


async def step(ask: Ask, path: Params, _: Params) -> Page:
    name = path["step"]
    progress = await ask(f"/steps/{name}/progress")
    answers = {
        "step": f"/steps/{name}?examples=0",
        "progress": f"/steps/{name}/progress",
        "map": f"/steps/{name}/passages?each={EDITS}",
    }
    return Page("step.html", answers, live=progress["running"])


async def schedule(_: Ask, __: Params, ___: Params) -> Page:
    return Page("schedule.html", {"schedule": "/schedule"}, live=True)


async def releases(_: Ask, __: Params, ___: Params) -> Page:
    return Page("releases.html", {"releases": "/releases"})


async def release(_: Ask, path: Params, __: Params) -> Page:
    return Page("release.html", {"release": f"/approvals/{path['release']}", "releases": "/releases"})


async def rollouts(_: Ask, __: Params, ___: Params) -> Page:
    return Page("rollouts.html", {"rollouts": "/rollouts", "releases": "/releases"})


async def rollout(_: Ask, path: Params, __: Params) -> Page:
    at = f"/rollouts/{path['rollout']}"
    return Page("rollout.html", {"rollout": at, "history": f"{at}/history", "rated": f"{at}/arms"}, live=True)


async def approvals(ask: Ask, _: Params, __: Params) -> Page:
    waiting = (await ask("/approvals"))["awaiting"]
    answers = {"approvals": "/approvals"} | {f"release{i}": f"/approvals/{one}" for i, one in enumerate(waiting)}
    return Page("approvals.html", answers)


async def incidents(_: Ask, __: Params, ___: Params) -> Page:
    return Page("incidents.html", {"incidents": "/incidents"}, live=True)


async def incident(_: Ask, path: Params, __: Params) -> Page:
    return Page("incident.html", {"incident": f"/incidents/{path['incident']}"})


async def feedback(_: Ask, __: Params, ___: Params) -> Page:
    return Page("feedback.html", {"feedback": f"/feedback?last={RECENT}", "quarantine": "/quarantine"})


async def costs(_: Ask, __: Params, ___: Params) -> Page:
    return Page("costs.html", {"costs": "/costs", "steps": "/steps"})


async def ledger(_: Ask, __: Params, query: Params) -> Page:
    before = query.get("before", "")
    tail = f"&before={_index(before)}" if before else ""
    return Page("ledger.html", {"ledger": f"/ledger/entries?last={ENTRIES}{tail}", "signed": "/ledger/checkpoint"})


async def entry(_: Ask, path: Params, __: Params) -> Page:
    return Page("entry.html", {"proof": f"/ledger/entries/{_index(path['index'])}"})


def _index(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise Unanswered(404, "There is no such entry of the ledger.")
    return int(text)


PAGES: dict[str, tuple[str, Made]] = {
    "/": ("overview", overview),
    "/steps": ("steps", steps),
    "/steps/{step}": ("step", step),
    "/schedule": ("schedule", schedule),
    "/releases": ("releases", releases),
    "/releases/{release}": ("release", release),
    "/rollouts": ("rollouts", rollouts),
    "/rollouts/{rollout}": ("rollout", rollout),
    "/approvals": ("approvals", approvals),
    "/incidents": ("incidents", incidents),
    "/incidents/{incident}": ("incident", incident),
    "/feedback": ("feedback", feedback),
    "/costs": ("costs", costs),
    "/ledger": ("ledger", ledger),
    "/ledger/{index}": ("entry", entry),
}
"""Each page's path under /ui, its name, and what makes it."""
