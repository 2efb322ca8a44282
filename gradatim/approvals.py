"""What a person may do with releases: promote, roll back, approve, reject; and which of them wait for that.

Whoever gives the order, on the command line or over HTTP, passes here, so that nothing goes around the judge.
A step whose charter wants approval leaves an entry "approval-needed" {release, step}; `approve` adds "approval", and
`reject` "rejection", each {release, by, reason}.

Where the charter has releases rolled out, neither a step nor an approval makes one live: they leave an entry
"rollout-wanted" {release, by} and note the release beside the records, where a server that runs looks every second.
Only servers roll out: so whoever wants it needs neither their address nor a key, and it waits while none runs.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from gradatim.errors import CharterError, InputError

if TYPE_CHECKING:
    from gradatim.types import Release
    from gradatim.workspace import Workspace

Word = Literal["awaiting", "approved", "rejected"]

_WANTED = "rollout wanted"
_WORDS: dict[str, Word] = {"approval-needed": "awaiting", "approval": "approved", "rejection": "rejected"}


def said(workspace: Workspace) -> dict[str, Word]:
    """The last word on every release that needed one."""
    return {entry.body["release"]: _WORDS[entry.kind] for entry in workspace.ledger.entries() if entry.kind in _WORDS}


def awaiting(workspace: Workspace) -> list[str]:
    """The releases that wait, oldest first."""
    return [release for release, word in said(workspace).items() if word == "awaiting"]


def promote(workspace: Workspace, release_id: str, by: str, reason: str) -> Release:
    """Make a release live; CharterError for one that failed its checks or still needs approval."""
    wanted = workspace.registry.get(release_id)
    refuse_unapproved(workspace, wanted)
    return workspace.registry.promote(wanted.id, reason=reason, by=by)


def rollback(workspace: Workspace, release_id: str | None, by: str, reason: str) -> Release:
    """Back to a release that was live, by default the last; InputError for one that never was."""
    target = workspace.registry.get(release_id).id if release_id else None
    if target and not was_live(workspace, target):
        raise InputError(f"Release {target[:12]} was never live: `gradatim promote` or `gradatim approve` it")
    return workspace.registry.rollback(target, reason=reason, by=by)


def approve(workspace: Workspace, release_id: str, by: str, reason: str) -> Release:
    """A yes to a waiting release, which makes it live, or has it rolled out. Raises as `decide` does."""
    approved = decide(workspace, release_id, by, approving=True, reason=reason)
    if goes_by_rollout(workspace):
        want_rollout(workspace, approved.id, by)
        return approved
    return workspace.registry.promote(approved.id, reason=reason or "approved", by=by)


def goes_by_rollout(workspace: Workspace) -> bool:
    """Whether the charter has releases rolled out."""
    from gradatim.charter import Charter

    return Charter.load(workspace.charter_path).schedule.release == "rollout"


def want_rollout(workspace: Workspace, release_id: str, by: str) -> None:
    """Have a server roll a release out; wanting it again changes nothing, another one takes its place."""
    body = {"release": release_id, "by": by}
    if all(entry.body != body for entry in workspace.ledger.entries("rollout-wanted")):
        workspace.ledger.append("rollout-wanted", body)
    workspace.records.set_setting(_WANTED, release_id)


def rollout_wanted(workspace: Workspace) -> str | None:
    """The release that waits for a server to roll it out."""
    return workspace.records.setting(_WANTED) or None


def rollout_begun(workspace: Workspace, release_id: str) -> None:
    """This release waits for a server no more."""
    if rollout_wanted(workspace) == release_id:
        workspace.records.set_setting(_WANTED, "")


def releases_data(workspace: Workspace) -> dict[str, Any]:
    """Every release with its state, and the moves between them."""
    return {
        "live": workspace.registry.live_id(),
        "releases": [
            {
                "id": release.id,
                "parent": release.parent,
                "step": release.step,
                "adapters": list(release.adapters),
                "created_at": release.created_at,
                "state": _state(workspace, release.id),
            }
            for release in workspace.registry.releases()
        ],
        "history": [asdict(move) for move in workspace.registry.history()],
    }


def decide(workspace: Workspace, release_id: str, by: str, *, approving: bool, reason: str) -> Release:
    """Write a person's word on a waiting release into the ledger.

    InputError when the release does not wait (approving again what was approved, and then not made live, is allowed);
    CharterError when the charter does not let this person decide.
    """
    from gradatim.charter import Charter

    release = workspace.registry.get(release_id)
    charter = Charter.load(workspace.charter_path)
    if not charter.allows_approver(by):
        raise CharterError(f"{by} may not decide on a release ({charter.line('approval.by')}): ask somebody who may")
    word = said(workspace).get(release.id)
    if approving and word == "approved" and not was_live(workspace, release.id):
        return release
    if word != "awaiting":
        state = f"was {word} already" if word else "never needed approval"
        raise InputError(f"Release {release.id[:12]} {state}: `gradatim releases` lists those that wait")
    if approving:
        refuse_outdated(workspace, release)
    kind = "approval" if approving else "rejection"
    workspace.ledger.append(kind, {"release": release.id, "by": by, "reason": reason})
    return release


def was_live(workspace: Workspace, release_id: str) -> bool:
    return any(move.release == release_id for move in workspace.registry.history())


def refuse_unapproved(workspace: Workspace, release: Release) -> None:
    """CharterError when making this release live by hand would go around the judge or a person."""
    from gradatim.types import Verdict

    word = said(workspace).get(release.id)
    if word in ("awaiting", "rejected"):
        what = "awaits approval: use `gradatim approve`" if word == "awaiting" else "was rejected: take another step"
        raise CharterError(f"Release {release.id[:12]} {what}")
    if release.verdict and (verdict := workspace.blobs.get_json(release.verdict, Verdict)).outcome != "pass":
        raise CharterError(f"Release {release.id[:12]} did not pass its checks ({verdict.outcome}): take another step")


def _state(workspace: Workspace, release: str) -> str:
    """What stands in the way of a release, or what became of it."""
    if release == workspace.registry.live_id():
        return "live"
    if was_live(workspace, release):
        return "was live"
    return said(workspace).get(release, "never live")


def refuse_outdated(workspace: Workspace, release: Release) -> None:
    """InputError: what was judged against another release than the live one would take its lessons away unseen."""
    live = workspace.registry.live_id()
    if release.parent is not None and release.parent != live:
        raise InputError(
            f"Release {release.id[:12]} was judged against {release.parent[:12]}, but {live[:12]} is live by now: "
            "reject it and take another step, or roll back first"
        )
