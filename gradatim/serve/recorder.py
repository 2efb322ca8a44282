"""Writes interactions durably, many in one transaction when many end at once.

One thread takes what has gathered, commits it and says so; a caller goes on when its own interaction is on disk. So a
disk that takes milliseconds for a commit does not bound the requests per second.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from gradatim.store.traffic import Interaction, Traffic
from gradatim.types import Answer

_Waiting = tuple[Answer, Interaction, "Future[None]"]


class Recorder:
    """The one who writes down what was served."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="gradatim-recorder", daemon=True)
        self._thread.start()

    async def write(self, answer: Answer, interaction: Interaction) -> None:
        """Returns when it is committed; raises what the database raised."""
        await asyncio.wrap_future(self.submit(answer, interaction))

    def submit(self, answer: Answer, interaction: Interaction) -> Future[None]:
        """The same for whoever does not wait."""
        done: Future[None] = Future()
        with self._changed:
            if self._closing:
                done.set_exception(RuntimeError("the recorder was closed"))
                return done
            self._waiting.append((answer, interaction, done))
            self._changed.notify()
        return done

    def close(self) -> None:
        """Write what is left, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closing):
                    self._changed.wait()
                gathered, self._waiting = self._waiting, []
            if not gathered:
                return
            for *_, done in gathered:  # from here on nobody can cancel what is about to be told
                done.set_running_or_notify_cancel()
            self._commit(gathered)

    def _commit(self, gathered: list[_Waiting]) -> None:
        try:
            self._traffic.add((answer, interaction) for answer, interaction, _ in gathered)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            for *_, done in gathered:
                if not done.cancelled():
                    done.set_exception(error)
        else:
            for *_, done in gathered:
                if not done.cancelled():
                    done.set_result(None)
