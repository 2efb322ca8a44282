"""What goes into a rollout and what comes out of it: rows of observations, and events for the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gradatim.rollout.rails import Evidence

Stage = Literal["shadow", "step", "watch", "live", "rolled_back"]

Verdict = Literal["pass", "fail", "inconclusive", "error"]

Kind = Literal["start", "grow", "watch", "finish", "rollback", "abort", "pause", "resume"]

ITSELF = "rollout"
"""The `by` of events that no person asked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one answer, or said of it later: metric to value, as the settings name them.

    `wave` is the rollout's when the answer was *given*: a rating that comes late still counts for the arm that earned
    it. A probe is a prompt that was put to the canary on purpose, whoever's turn it was: only rails against a bound
    count it.
    """

    subject: str
    wave: int
    values: Mapping[str, float] = field(default_factory=dict)
    slices: tuple[str, ...] = ()
    probe: bool = False
    source: str = ""  # who vouches that the subject is somebody: the client key
    newcomer: bool = False  # nobody had seen the subject before the rollout began


@dataclass(frozen=True, slots=True)
class Event:
    """A transition, with what it was decided on. Plain data, to be written to the ledger by the caller."""

    kind: Kind
    at: float  # seconds since 1970, UTC
    stage: Stage  # after it
    share: float  # of the subjects that meet the candidate from now on
    by: str  # ITSELF or a person
    reason: str  # one line
    verdict: Verdict | None  # None for what a person asked for, and for the start
    evidence: tuple[Evidence, ...]
