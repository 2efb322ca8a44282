"""The control plane, `/api/v1`: what an operator sees of the workspace and decides there, with an admin key.

    rollouts    GET, POST {candidate}; {id}: GET, :promote :pause :resume :abort :rollback {by, reason}
                {id}/history, {id}/arms: GET
    releases    GET; {id}:promote, :rollback {by, reason, release?}
    approvals   GET; {id}: GET, :approve :reject {by, reason}
    steps       GET; {id}, {id}/progress, {id}/passages: GET
    overview    GET        feedback    GET        costs    GET        schedule    GET
    quarantine  GET; {id}:release :discard {by, reason}
    incidents   GET; {id}: GET, /export; :acknowledge :close {by, reason}
    replies     {id}: GET
    ledger      checkpoint, proof/{index}, entries, entries/{index}: GET; :verify

The same functions do it that the command line calls, so nothing can be done here that a person may not do there, and
every decision is an entry of the ledger. `by` is what the caller says it is: the key vouches for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from gradatim import account, approvals, quarantine
from gradatim.errors import CharterError, InputError
from gradatim.ledger.verify import verify_workspace
from gradatim.schedule import keeping
from gradatim.serve import views
from gradatim.serve.access import ByAdmin, only_admins
from gradatim.serve.base import Refused
from gradatim.serve.rollouts import Command, Rollouts
from gradatim.watch.incidents import Incident
from gradatim.workspace import Workspace

T = TypeVar("T")

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\r\n]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Last = Annotated[int, Query(ge=1, le=1000, description="How many of the newest.")]
Plain = dict[str, Any]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Candidate(_Body):
    """Which release to roll out: its id, or the first six characters or more."""

    candidate: Name


class Order(_Body):
    """Who gives an order, and why."""

    by: Line
    reason: Line


class Growth(Order):
    """`full`: to everybody (the watch) at once instead of one step further."""

    full: bool = False


class WayBack(Order):
    """`release`: where to go back to; by default, what was live before."""

    release: Name | None = None


async def _done(work: Callable[[], T], unfit: int = 400) -> T:
    """Work beside the event loop, its errors as this plane tells them; `unfit` is the status of an InputError."""
    try:
        return await asyncio.to_thread(work)
    except CharterError as error:
        raise Refused(403, str(error), code="charter") from error
    except InputError as error:
        raise Refused(unfit, str(error), code="cannot_be_done") from error


def control_plane(workspace: Workspace, rollouts: Rollouts) -> APIRouter:
    """The routes over one workspace."""
    router = APIRouter(prefix="/api/v1", tags=["control plane"], dependencies=[Depends(only_admins)])
    _add_rollouts(router, rollouts)
    _add_releases(router, workspace)
    _add_steps(router, workspace)
    _add_quarantine(router, workspace)
    _add_schedule(router, workspace)
    _add_incidents(router, workspace)
    _add_ledger(router, workspace)
    _add_views(router, workspace, rollouts)
    return router


def _add_rollouts(router: APIRouter, rollouts: Rollouts) -> None:
    async def shown(rollout: str) -> Plain:
        found = await _done(lambda: rollouts.views.show(rollout))
        if found is None:
            raise Refused(404, f"There is no rollout {rollout[:100]!r}.", code="unknown_rollout")
        return found

    async def told(rollout: str, command: Command, order: Order, *, full: bool = False) -> Plain:
        await shown(rollout)
        await _done(lambda: rollouts.command(rollout, command, order.by, order.reason, full=full))
        return await shown(rollout)

    @router.get("/rollouts")
    async def all_rollouts() -> Plain:
        """Every rollout in short, in the order in which they were started."""
        return {"rollouts": await _done(rollouts.views.listed)}

    @router.post("/rollouts")
    async def start_rollout(body: Candidate, caller: ByAdmin) -> Plain:
        """Begin to roll a release out that passed its checks and isn't live; one at a time."""
        return await shown(await _done(lambda: rollouts.start(body.candidate, caller.key)))

    @router.get("/rollouts/{rollout}")
    async def one_rollout(rollout: str) -> Plain:
        """What each arm has answered, what is known with its intervals, and what was decided on it."""
        return await shown(rollout)

    @router.post("/rollouts/{rollout}:promote")
    async def promote_rollout(rollout: str, body: Growth) -> Plain:
        """One step further, or to everybody at once."""
        return await told(rollout, "promote", body, full=body.full)

    @router.post("/rollouts/{rollout}:pause")
    async def pause_rollout(rollout: str, body: Order) -> Plain:
        """No growth until it is resumed; it may still be rolled back."""
        return await told(rollout, "pause", body)

    @router.post("/rollouts/{rollout}:resume")
    async def resume_rollout(rollout: str, body: Order) -> Plain:
        """Go on deciding."""
        return await told(rollout, "resume", body)

    @router.post("/rollouts/{rollout}:abort")
    async def abort_rollout(rollout: str, body: Order) -> Plain:
        """Give it up before it has met everybody."""
        return await told(rollout, "abort", body)

    @router.post("/rollouts/{rollout}:rollback")
    async def roll_rollout_back(rollout: str, body: Order) -> Plain:
        """Back to the former release, also for a while after the candidate went live."""
        return await told(rollout, "rollback", body)


def _add_releases(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/releases")
    async def all_releases() -> Plain:
        """Every release with its state, and the moves between them."""
        return await _done(lambda: approvals.releases_data(workspace))

    @router.post("/releases:rollback")
    async def roll_release_back(body: WayBack) -> Plain:
        """Back to a release that was live before, at once. It ends a rollout that is under way."""
        live = await _done(lambda: approvals.rollback(workspace, body.release, body.by, body.reason))
        return {"live": live.id}

    @router.post("/releases/{release}:promote")
    async def promote_release(release: str, body: Order) -> Plain:
        """Make a release live for everybody at once. It ends a rollout that is under way."""
        live = await _done(lambda: approvals.promote(workspace, release, body.by, body.reason))
        return {"live": live.id}

    @router.get("/approvals")
    async def waiting() -> Plain:
        """The releases that wait for a person's word, oldest first."""
        return {"awaiting": await _done(lambda: approvals.awaiting(workspace))}

    @router.post("/approvals/{release}:approve")
    async def approve(release: str, body: Order) -> Plain:
        """A yes from somebody whom the charter names: the release is live, or rolled out where the charter says so."""
        approved = await _done(lambda: approvals.approve(workspace, release, body.by, body.reason))
        return {"release": approved.id, "live": await _done(workspace.registry.live_id) == approved.id}

    @router.post("/approvals/{release}:reject")
    async def reject(release: str, body: Order) -> Plain:
        """A no; the live release stays."""
        rejected = await _done(
            lambda: approvals.decide(workspace, release, body.by, approving=False, reason=body.reason)
        )
        return {"release": rejected.id, "live": False}


def _add_steps(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/steps")
    async def all_steps() -> Plain:
        """The steps in order, and how each ended."""
        return {"steps": await _done(lambda: account.steps_data(workspace))}

    @router.get("/steps/{step}")
    async def one_step(step: str, examples: Annotated[int, Query(ge=0, le=100)] = 3) -> Plain:
        """One step: quarantine, weak spots, study examples beside their sources, candidates, verdicts."""
        return await _done(lambda: account.step_data(workspace, step, examples), 404)

    @router.get("/feedback")
    async def recent_feedback(last: Last = 100) -> Plain:
        """The newest ratings, and the newest corrections with what became of them, oldest first."""

        def read() -> Plain:
            records = workspace.records
            return {
                "ratings": [asdict(rating) for rating in records.traffic.ratings(last)],
                "corrections": [asdict(record) for record in records.feedback()[-last:]],
            }

        return await _done(read)

    @router.get("/costs")
    async def all_costs() -> Plain:
        """What each step took: seconds, tokens, joules; and all together."""
        return await _done(lambda: account.costs_data(workspace))


def _add_quarantine(router: APIRouter, workspace: Workspace) -> None:
    async def decided(record: str, decision: quarantine.Decision, order: Order) -> Plain:
        done = await _done(lambda: quarantine.decide(workspace, record, decision, order.by, order.reason))
        return asdict(done)

    @router.get("/quarantine")
    async def all_held(decided: bool = False) -> Plain:
        """What was not believed, with the reasons; with `decided` also what people decided on."""
        return {"held": await _done(lambda: quarantine.held(workspace, decided=decided))}

    @router.post("/quarantine/{record}:release")
    async def release_held(record: str, body: Order) -> Plain:
        """It is believed: a document or correction at the next step, a rating at once."""
        return await decided(record, "released", body)

    @router.post("/quarantine/{record}:discard")
    async def discard_held(record: str, body: Order) -> Plain:
        """It is never learnt."""
        return await decided(record, "discarded", body)

    @router.get("/replies/{response}")
    async def one_reply(response: str) -> Plain:
        """Which release made a reply, in which arm; clients are told only a name for it while arms are compared."""
        served = await _done(lambda: workspace.records.traffic.interaction(response))
        answer = await _done(lambda: workspace.records.answer(response))
        if served is None or answer is None:
            raise Refused(404, f"There is no reply {response[:100]!r}.", code="unknown_response")
        return {
            "id": served.id,
            "release": answer.release,
            "arm": served.arm,
            "rollout": served.rollout,
            "key": served.key,
            "subject": served.subject,
            "at": answer.at,
        }


def _add_schedule(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/schedule")
    async def schedule() -> Plain:
        """Whether a step would be taken now and why, as `gradatim run --dry-run` says; and by which scheduler."""

        def read() -> Plain:
            return keeping.look(workspace).data() | {"scheduler": keeping.keeper(workspace)}

        return await _done(read)


def _add_incidents(router: APIRouter, workspace: Workspace) -> None:
    known = workspace.incidents

    async def shown(incident: str) -> Incident:
        return await _done(lambda: known.get(incident), 404)

    @router.get("/incidents")
    async def all_incidents() -> Plain:
        """What a person must look at, or has: in the order in which they were opened."""
        return {"incidents": await _done(lambda: [known.data(one) for one in known.all()])}

    @router.get("/incidents/{incident}")
    async def one_incident(incident: str) -> Plain:
        """One incident, with what it was opened on."""
        found = await shown(incident)
        return known.data(found) | {"evidence": await _done(lambda: known.evidence(found))}

    @router.post("/incidents/{incident}:acknowledge")
    async def acknowledge(incident: str, body: Order) -> Plain:
        """Somebody has seen it."""
        found = await shown(incident)
        return known.data(await _done(lambda: known.acknowledge(found.id, body.by, body.reason)))

    @router.post("/incidents/{incident}:close")
    async def close(incident: str, body: Order) -> Plain:
        """Somebody has dealt with it, and says how."""
        found = await shown(incident)
        return known.data(await _done(lambda: known.close(found.id, body.by, body.reason)))

    @router.get("/incidents/{incident}/export", response_class=Response)
    async def export(incident: str) -> Response:
        """A zip file that `gradatim verify --bundle` checks: entries with proofs, evidence, settings."""
        found = await shown(incident)
        named = {"content-disposition": f'attachment; filename="{found.id}.zip"'}
        return Response(await _done(lambda: known.bundle(found)), media_type="application/zip", headers=named)


def _add_ledger(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/ledger/checkpoint")
    async def checkpoint() -> Plain:
        """The signed checkpoint: keep copies of it elsewhere."""
        return {"checkpoint": (await _done(lambda: workspace.ledger.checkpoint)).decode()}

    @router.get("/ledger/proof/{index}")
    async def proof(index: int) -> Plain:
        """RFC 6962's proof that an entry is in the ledger that the checkpoint signs; hashes in hexadecimal."""
        found = await _done(lambda: workspace.ledger.proof(index), 404)
        path = [node.hex() for node in found.path]
        return {"index": found.index, "leaf": found.leaf.hex(), "path": path, "checkpoint": found.note.decode()}

    @router.post("/ledger:verify")
    async def verify() -> Plain:
        """Hold every byte of the workspace against its signed ledger."""
        return asdict(await _done(lambda: verify_workspace(workspace.folder)))


def _add_views(router: APIRouter, workspace: Workspace, rollouts: Rollouts) -> None:
    """What the dashboard reads beside the records themselves (`views.py`)."""

    @router.get("/overview")
    async def overview() -> Plain:
        """What is served, what waits for a person, what happens now."""
        return await _done(lambda: views.overview_data(workspace, rollouts))

    @router.get("/rollouts/{rollout}/history")
    async def rollout_history(rollout: str) -> Plain:
        """What was known at each look that was kept, oldest first: each test with its interval."""
        return {"rollout": rollout, "looks": await _done(lambda: rollouts.views.history(rollout), 404)}

    @router.get("/rollouts/{rollout}/arms")
    async def rollout_arms(rollout: str) -> Plain:
        """How each arm was rated over time, from 0 to 1, with bands."""
        return await _done(lambda: rollouts.views.arms(rollout), 404)

    @router.get("/steps/{step}/progress")
    async def step_progress(step: str) -> Plain:
        """How far a step is, also while another process takes it."""
        return await _done(lambda: views.progress_data(workspace, step), 404)

    @router.get("/steps/{step}/passages")
    async def step_passages(step: str, each: Annotated[int, Query(ge=0, le=1000)] = 4) -> Plain:
        """Every sentence that a step looked at: known or weak, and some of the edits the model made from it."""
        return await _done(lambda: views.passages_data(workspace, step, each), 404)

    @router.get("/approvals/{release}")
    async def one_approval(release: str) -> Plain:
        """What a person needs to decide on a release."""
        return await _done(lambda: views.approval_data(workspace, release), 404)

    @router.get("/ledger/entries")
    async def ledger_entries(last: Last = 50, before: Annotated[int | None, Query(ge=0, le=2**53)] = None) -> Plain:
        """The newest entries, newest first; `before` an index for older ones."""
        return await _done(lambda: views.entries_data(workspace, last, before))

    @router.get("/ledger/entries/{index}")
    async def ledger_entry(index: int) -> Plain:
        """One entry with its inclusion proof."""
        return await _done(lambda: views.entry_data(workspace, index), 404)
