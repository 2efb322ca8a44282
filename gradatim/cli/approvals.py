"""Which releases wait for a person's word, and what has been said: read from the ledger.

A step whose charter wants approval leaves an entry "approval-needed" {release, step}; `approve` adds "approval", and
`reject` "rejection", each {release, by, reason}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradatim.errors import CharterError, InputError

if TYPE_CHECKING:
    from gradatim.types import Release
    from gradatim.workspace import Workspace

Word = Literal["awaiting", "approved", "rejected"]

_WORDS: dict[str, Word] = {"approval-needed": "awaiting", "approval": "approved", "rejection": "rejected"}


def said(workspace: Workspace) -> dict[str, Word]:
    """The last word on every release that needed one."""
    return {entry.body["release"]: _WORDS[entry.kind] for entry in workspace.ledger.entries() if entry.kind in _WORDS}


def awaiting(workspace: Workspace) -> list[str]:
    """The releases that wait, oldest first."""
    return [release for release, word in said(workspace).items() if word == "awaiting"]


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
        _refuse_outdated(workspace, release)
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


def _refuse_outdated(workspace: Workspace, release: Release) -> None:
    """What was judged against another release than the live one would take its lessons away unseen."""
    live = workspace.registry.live_id()
    if release.parent is not None and release.parent != live:
        raise InputError(
            f"Release {release.id[:12]} was judged against {release.parent[:12]}, but {live[:12]} is live by now: "
            "reject it and take another step, or roll back first"
        )
