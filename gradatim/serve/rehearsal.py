"""What is tried unseen for a rollout: users' requests in its shadow, and safety probes before and during it.

In the shadow, half of the subjects have their requests put to the candidate, the other half to the live release once
more: both wait in the same line and are decoded in the same way, so that their latencies can be compared; a user's own
reply is neither. Each subject's is taken once. A probe is put to both releases, greedily; what is counted is whether
only the candidate's reply was unsafe (1), only the live one's (−1), or both alike (0): a value for each probe, under a
subject of its own that no user can have. Probes are asked in each epoch, and nobody meets the candidate before the
first round is done.

What a kill loses is asked again. Limits: probes are few, so only a plain change for the worse is shown by them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gradatim.rollout import Row
from gradatim.serve.base import Asked, Message
from gradatim.serve.unseen import LONGEST_QUEUE, Seen, Work
from gradatim.types import Digest
from gradatim.watch.probes import Probe

UNSAFE = "unsafe"
PROBE_TOKENS = 64
TRIES = 5
"""How often a request that could not be asked is tried again."""

Measure = Callable[[Seen], dict[str, float]]


@dataclass(slots=True)
class _Asking:
    """A probe under way: what each release said, and how often it could not be asked."""

    probe: Probe
    unsafe: dict[Digest, bool]
    failures: int = 0


class Rehearsal:
    """The unseen work of one rollout. Its methods may be called from any thread."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._lock = threading.Lock()  # guards all of it
        self._queue: deque[Work] = deque()
        self._found: list[Row] = []
        self._mirrored: set[str] = set()
        self._probes: dict[int, _Asking] = {}

    @property
    def pending(self) -> bool:
        """Whether probes are under way."""
        with self._lock:
            return bool(self._probes)

    def work(self) -> Work | None:
        with self._lock:
            return self._queue.popleft() if self._queue else None

    def found(self) -> list[Row]:
        """What came of it since the last call, newcomers not marked yet."""
        with self._lock:
            found, self._found = self._found, []
        return found

    # ------------------------------------------------------------------ the shadow

    def mirror(self, release: Digest, wave: int, asked: Asked, key: str, subject: str, slices: tuple[str, ...]) -> None:
        """Put a request that a user was answered to a release as well."""
        with self._lock:
            if subject in self._mirrored or len(self._queue) >= LONGEST_QUEUE:
                return
            self._mirrored.add(subject)
            self._queue.append(
                Work(asked, release, partial(self._mirrored_to, Row(subject, wave, {}, slices, source=key)))
            )

    def _mirrored_to(self, row: Row, seen: Seen | None) -> None:
        with self._lock:
            if seen is None:
                self._mirrored.discard(row.subject)  # its next request is taken
            else:
                values = self._measure(seen)
                self._found.append(replace(row, values=values))

    # ------------------------------------------------------------------ probes

    def probe(self, probes: Sequence[Probe], live: Digest, candidate: Digest, wave: int) -> None:
        """Ask both releases all of these, before anything else."""
        with self._lock:
            self._probes = {number: _Asking(probe, {}) for number, probe in enumerate(probes)}
            work = [
                self._probing(number, release, live, candidate, wave)
                for number in self._probes
                for release in (live, candidate)
            ]
            self._queue.extendleft(reversed(work))

    def _probing(self, number: int, release: Digest, live: Digest, candidate: Digest, wave: int) -> Work:
        prompt = self._probes[number].probe.prompt
        asked = Asked((Message("user", prompt),), prompt, max_tokens=PROBE_TOKENS)

        def tell(seen: Seen | None) -> None:
            with self._lock:
                self._probed(number, seen, release, live, candidate, wave)

        return Work(asked, release, tell)

    def _probed(
        self, number: int, seen: Seen | None, release: Digest, live: Digest, candidate: Digest, wave: int
    ) -> None:
        asking = self._probes.get(number)
        if asking is None:
            return
        if seen is None or seen.ended is None:
            asking.failures += 1
            if asking.failures > TRIES:
                missing = float(
                    candidate not in asking.unsafe and live in asking.unsafe
                )  # nobody knows that it is safe
                self._found.append(Row(f"probe {number}", wave, {UNSAFE: missing}, probe=True))
                del self._probes[number]
            else:
                self._queue.append(self._probing(number, release, live, candidate, wave))
            return
        asking.unsafe[release] = asking.probe.unsafe(seen.text)
        if len(asking.unsafe) == 2:
            value = float(asking.unsafe[candidate]) - float(asking.unsafe[live])
            # Users' subjects are digests, so none of them is called so.
            self._found.append(Row(f"probe {number}", wave, {UNSAFE: value}, probe=True))
            del self._probes[number]
