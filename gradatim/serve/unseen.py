"""Requests that no user waits for: copies of users' requests for a release in the shadow, and safety probes.

They are put to the engine one at a time and in the background, after the user's own reply is done, and the engine
gives them a turn only where no user's reply is waiting for one, or now and then (`engine.py`). What comes of them is
measured and forgotten: it is never stored as a reply, never shown, and nothing is trained on it.

Limits: under a full load the queue is short and what doesn't fit is left out, whichever release it was meant for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gradatim.errors import GradatimError
from gradatim.serve.base import Asked, Ended, Refused
from gradatim.serve.decoding import Abandoned
from gradatim.serve.engine import Stopped
from gradatim.serve.telemetry import Metrics
from gradatim.types import Digest

if TYPE_CHECKING:
    from gradatim.serve.service import Service

ASKING = "asking unseen"
IDLE_SECONDS = 0.05
FAILED_SECONDS = 1.0
"""Until the next try where a release could not be loaded or the engine had no room: either may pass."""
LONGEST_QUEUE = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """What a release made of a request that nobody waits for; `ended` None: it failed."""

    text: str
    ended: Ended | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """A request for a release, and who is told what came of it: None where it could not be asked at all."""

    asked: Asked
    release: Digest
    tell: Callable[[Seen | None], None]


class Source(Protocol):
    """Whoever has such work."""

    def work(self) -> Work | None:
        """The next piece, if there is one. Called in the event loop."""


async def keep_asking(service: Service, source: Source, metrics: Metrics) -> None:
    """Do what work there is, one piece at a time, until cancelled."""
    while True:
        try:
            work = source.work()
            if work is None:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            seen = await ask(service, work)
            work.tell(seen)
            if seen is None:
                await asyncio.sleep(FAILED_SECONDS)
        except Exception as error:  # noqa: BLE001 - told to the operator; the next piece may do better
            metrics.went(ASKING, error)
            await asyncio.sleep(IDLE_SECONDS)
        else:
            metrics.went(ASKING)


async def ask(service: Service, work: Work) -> Seen | None:
    """One request to one release."""
    began, texts = time.monotonic(), list[str]()
    try:
        await service.load(work.release)
    except (Refused, Stopped):
        return None
    except Exception:  # noqa: BLE001 - whatever keeps a release from being loaded
        await asyncio.sleep(FAILED_SECONDS)
        return Seen("", None, time.monotonic() - began)
    try:
        reply = await service.engine.begin(work.asked, work.release, unseen=True)
        try:
            async for piece in reply:
                if isinstance(piece, Ended):
                    return Seen("".join(texts), piece, time.monotonic() - began)
                texts.append(piece)
        finally:
            reply.cancel()
    except (Refused, Stopped, Abandoned):
        return None  # the engine is full or closing: nobody's fault
    except GradatimError:
        return Seen("", None, time.monotonic() - began)
    except Exception:  # noqa: BLE001 - what breaks on a request is what is looked for
        return Seen("", None, time.monotonic() - began)
    return Seen("", None, time.monotonic() - began)
