"""Who meets which release: a keyed hash of the subject, so that everybody keeps the arm once given.

A subject's place is a number in [0, 1), BLAKE2b of the subject under the rollout's secret key. The canary is the lower
end of that line, the baseline its upper end, and the live arm what lies between. As the canary grows the two ends grow
alike: nobody leaves the canary, and whoever newly joins the comparison had the same chance of either end. That fair
coin, tossed by us and by nobody else, is the only assumption of the tests of differences.

    share 0.05   [canary 0.05)[        live         )[0.95 baseline)
    share 0.50   [canary      0.50)[0.50           baseline        )
    watch        whoever met the canary keeps it; of the others a fresh hash keeps `holdback` of all on the baseline

The shadow and the watch toss coins of their own (another salt of the same hash): a group that was happier by chance
during the steps must not be met again as such.

Limits: a subject is whatever string the caller says, a user or a session. With few subjects the arms are small however
many requests these make. A subject that knows the key could choose its arm.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from gradatim.errors import InputError

Arm = Literal["live", "canary", "baseline"]
Epoch = Literal["shadow", "steps", "watch"]

LARGEST_COMPARED = 0.5
"""The largest share of subjects that a canary may have beside a baseline of the same size."""

SHORTEST_KEY, LONGEST_KEY = 16, 64


@dataclass(frozen=True, slots=True)
class Wave:
    """A time with one assignment. An answer is judged by the wave in which it was given."""

    epoch: Epoch
    share: float  # of the subjects that met the canary by the steps; in the watch, before it began
    holdback: float = 0.0  # share of all subjects that stay on the baseline; the watch's only


@dataclass(frozen=True, slots=True)
class Assignment:
    """The keyed hash. `key` has 16 to 64 bytes, is of one rollout only and is kept from subjects."""

    key: bytes

    def __post_init__(self) -> None:
        if not SHORTEST_KEY <= len(self.key) <= LONGEST_KEY:
            raise InputError(f"An assignment key has {SHORTEST_KEY} to {LONGEST_KEY} bytes, not {len(self.key)}")

    def place(self, subject: str, epoch: Epoch) -> float:
        """Where the subject stands in [0, 1), another place for each epoch."""
        hashed = hashlib.blake2b(_bytes(subject), digest_size=8, key=self.key, person=epoch.encode())
        return (int.from_bytes(hashed.digest()) >> 11) / (1 << 53)

    def token(self, subject: str) -> str:
        """A name for the subject that says nothing about it to whoever lacks the key: 16 hexadecimal digits."""
        return hashlib.blake2b(_bytes(subject), digest_size=8, key=self.key, person=b"token").hexdigest()

    def arm(self, subject: str, wave: Wave) -> Arm:
        """Which arm answers the subject. In the shadow everybody is answered by the live one."""
        if wave.epoch == "shadow":
            return "live"
        side = self.side(subject, wave)
        if side is None:
            return "canary" if wave.epoch == "watch" else "live"
        return "canary" if side else "baseline"

    def side(self, subject: str, wave: Wave) -> bool | None:
        """Where the subject counts in the comparison: True canary, False baseline, None nowhere.

        In the shadow, the subject whose requests are mirrored to the canary (True) or whose live answers are the
        control (False).
        """
        place = self.place(subject, "steps" if wave.epoch == "watch" else wave.epoch)
        if wave.epoch == "watch":
            fresh = place >= wave.share
            return self.place(subject, "watch") < canary_chance(wave) if fresh else None
        if place < wave.share:
            return True
        return False if place >= 1 - wave.share else None


def _bytes(subject: str) -> bytes:
    return subject.encode("utf-8", "surrogatepass")  # JSON may bring half a character


def canary_chance(wave: Wave) -> float:
    """Of a subject in the comparison: the chance to be on the canary's side."""
    return 1 - wave.holdback / (1 - wave.share) if wave.epoch == "watch" else 0.5
