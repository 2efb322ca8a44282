"""The local engine: one thread owns the bank and turns the batch; requests come from the event loop and go back to it.

A release is read from disk by another thread, every byte checked, and handed over between two turns, so nobody under
way waits for it; the releases used last stay warm, so that the way back is as quick as the way there. A request keeps
the release it began with, whatever is promoted meanwhile.

What no user waits for is decoded in a batch of its own, of one row or few, so that nothing that goes wrong there can
break a user's row; a turn of it comes after each eighth of the users' batch, and otherwise where that one is idle.

At most `queue` requests are taken at a time; the next is refused with 429 and told when to come again.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from gradatim.errors import GradatimError
from gradatim.model.bank import AdapterBank
from gradatim.model.base import Base
from gradatim.recall import Minds
from gradatim.release.answering import check_base, read_lessons
from gradatim.serve.base import Asked, Ended, Refused
from gradatim.serve.decoding import Batch, Job, Room, prompt_ids
from gradatim.store.adapters import Adapters
from gradatim.types import Digest, Release

T = TypeVar("T")

_AT_ONCE = 4000  # characters of a prompt that are tokens in a millisecond or two
TURNS = 8
"""Of the users' batch, for each turn of what no user waits for; where the users' batch is empty, it has them all."""

_STOPPING = "The server is shutting down: ask again."


class Stopped(GradatimError):
    """The engine gave up before the reply was done."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much the engine takes."""

    room: Room = field(default_factory=Room)
    queue: int = 128  # requests under way or waiting
    warm: int = 4  # releases kept loaded, besides those in use


class LocalReply:
    """A reply from the engine's thread, read in the event loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), wake
        self._pieces: asyncio.Queue[str | Ended | Exception] = asyncio.Queue()
        self.accepted: asyncio.Future[None] = self._loop.create_future()
        self.job: Job | None = None
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
        if self.job is not None:
            self.job.cancelled = True
        self._wake()

    async def __aiter__(self) -> AsyncIterator[str | Ended]:
        while True:
            piece = await self._pieces.get()
            if isinstance(piece, Exception):
                raise piece
            yield piece
            if isinstance(piece, Ended):
                return

    def tell(self, piece: str | Ended | Exception) -> None:
        """In the event loop."""
        self._pieces.put_nowait(piece)


class LocalEngine:
    """Releases of one base, answered from one bank."""

    def __init__(self, load_base: Callable[[], Base], adapters: Adapters, capacity: Capacity | None = None) -> None:
        self._load_base, self._adapters = load_base, adapters
        self._capacity = capacity or Capacity()
        self._changed = threading.Condition()  # guards what follows
        self._inbox: deque[Callable[[Batch], None]] = deque()
        self._closing = self._over = False  # over: nobody reads the inbox any more
        self._thread: threading.Thread | None = None
        # Of the event loop only:
        self._bank: AdapterBank | None = None
        self._minds: OrderedDict[Digest, Minds] = OrderedDict()  # used last, last
        self._loading = asyncio.Lock()
        self._users: Counter[Digest] = Counter()  # requests under way of each release
        self._unseen: Counter[Digest] = Counter()  # likewise, of those that no user waits for
        self._seconds = 1.0  # that a request takes, on average of late

    # ------------------------------------------------------------------ in the event loop

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[AdapterBank] = loop.create_future()

        def work() -> None:
            try:
                bank = AdapterBank(self._load_base())
                room = self._capacity.room
                batch, self._beside = Batch(bank, room), Batch(bank, replace(room, known=False))
            except BaseException as error:  # noqa: BLE001 - raised where the engine is started
                raised = error if isinstance(error, Exception) else RuntimeError(f"loading ended in {error!r}")
                _call(loop, partial(_settle, ready, raised))
                return
            _call(loop, lambda: _settle(ready, result=bank))
            self._work(batch)

        self._thread = threading.Thread(target=work, name="gradatim-engine", daemon=True)
        self._thread.start()
        self._bank = await ready
        if self._closing:
            raise Stopped(_STOPPING)

    async def close(self) -> None:
        self._closing = True
        self._wake()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        if self._bank is not None:
            self._bank.detach()

    @property
    def healthy(self) -> bool:
        alive = self._thread is not None and self._thread.is_alive()
        return alive and self._bank is not None and not self._closing

    @property
    def open(self) -> int:
        """Requests under way or waiting."""
        return self._users.total()

    async def load(self, release: Release) -> None:
        if release.id in self._minds:
            self._minds.move_to_end(release.id)
            return
        async with self._loading:  # one at a time: what is read depends on what the bank holds
            if release.id not in self._minds and self._bank is not None:
                check_base(self._bank.base, release.base)
                lessons = await _aside(partial(read_lessons, self._bank, self._adapters, release.adapters))
                self._minds[release.id] = await self._order(lessons.put_into)
                await self._cool_down()

    async def begin(self, asked: Asked, release: Digest, *, unseen: bool = False) -> LocalReply:
        if not self.healthy:
            raise Refused(503, "The engine is not running: try again, or look at the server's log.", retry_after=5)
        if not unseen and self.open >= self._capacity.queue:
            raise Refused(
                429,
                f"{self.open} requests are under way, as many as are taken at a time: try again in a moment.",
                code="queue_full",
                retry_after=max(1, min(60, math.ceil(self._seconds * self.open / self._capacity.room.rows))),
            )
        reply, loop, began = LocalReply(self._wake), asyncio.get_running_loop(), time.monotonic()
        minds, users = self._minds[release], self._unseen if unseen else self._users
        users[release] += 1

        def tell(piece: str | Ended | Exception) -> None:
            """Called by the engine's thread; what is no text is the last."""
            _call(loop, lambda: reply.tell(piece) if isinstance(piece, str) else over(piece))

        def over(piece: Ended | Exception) -> None:
            reply.tell(piece)
            users[release] -= 1
            if not unseen:
                self._seconds += 0.1 * (time.monotonic() - began - self._seconds)

        def refuse(error: Exception) -> None:
            users[release] -= 1
            _settle(reply.accepted, error)

        try:
            ids = await self._laid_out(asked)
        except BaseException:
            users[release] -= 1
            raise

        def take(batch: Batch) -> None:
            try:
                if self._closing:
                    raise Refused(503, _STOPPING, retry_after=5)
                job = reply.job = (self._beside if unseen else batch).take(asked, ids, minds, tell)
            except Exception as error:  # noqa: BLE001 - told to the one who asked; the thread goes on
                _call(loop, partial(refuse, error))
            else:
                if reply.cancelled:  # never set back: whoever gives it up may have seen the job already
                    job.cancelled = True
                _call(loop, lambda: _settle(reply.accepted))

        try:
            self._send(take)
        except Stopped:
            users[release] -= 1
            raise Refused(503, _STOPPING, retry_after=5) from None
        try:
            await reply.accepted
        except BaseException:
            reply.cancel()
            raise
        return reply

    async def _laid_out(self, asked: Asked) -> list[int]:
        """The prompt as tokens: not in the engine's thread, which has others to answer, nor a long one in the loop."""
        assert self._bank is not None
        chat = self._bank.base.chat
        if _characters(asked) < _AT_ONCE:
            return prompt_ids(chat, asked)
        return await asyncio.to_thread(prompt_ids, chat, asked)

    async def _cool_down(self) -> None:
        """Forget the releases that were used longest ago, and the adapters that no other one has.

        Which ones is settled before anybody else has a turn: what was just loaded must still be there when its request
        begins.
        """
        gone: list[Minds] = []
        while len(self._minds) > self._capacity.warm:
            busy = self._users + self._unseen
            idle = next((release for release in self._minds if not busy[release]), None)
            if idle is None or idle == next(reversed(self._minds)):
                break
            gone.append(self._minds.pop(idle))
        if gone:
            needed = {name for minds in self._minds.values() for name in minds.adapters}
            names = {name for minds in gone for name in minds.adapters} - needed
            await self._order(partial(_remove, names=names))

    async def _order(self, order: Callable[[AdapterBank], T]) -> T:
        """Have the engine's thread do something with the bank between two turns."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def obey(batch: Batch) -> None:
            try:
                result = order(batch.bank)
            except Exception as error:  # noqa: BLE001 - raised where it was ordered
                _call(loop, partial(_settle, done, error))
            else:
                _call(loop, lambda: _settle(done, result=result))

        self._send(obey)
        return await done

    def _send(self, order: Callable[[Batch], None]) -> None:
        with self._changed:
            if self._over:
                raise Stopped(_STOPPING)
            self._inbox.append(order)
            self._changed.notify()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    # ------------------------------------------------------------------ in the engine's thread

    def _work(self, batch: Batch) -> None:
        beside, turns = self._beside, 0
        beside.tokens = batch.tokens // TURNS  # of the one most that there is
        batch.tokens -= beside.tokens
        while True:
            with self._changed:
                while not (self._inbox or batch.busy or beside.busy or self._closing):
                    self._changed.wait()
                orders, self._inbox = self._inbox, deque()
            for order in orders:
                order(batch)
            if self._closing:
                for job in [*batch.jobs(), *beside.jobs()]:
                    job.fail(Stopped(_STOPPING))
                with self._changed:
                    self._over, orders = True, self._inbox
                for order in orders:
                    order(batch)
                return
            if batch.busy:
                batch.turn()
                turns += 1
            if beside.busy and (turns >= TURNS or not batch.busy):
                beside.turn()
                turns = 0


async def _aside(work: Callable[[], T]) -> T:
    """In a thread that ends with it.

    Each thread that computes with torch has OpenMP threads of its own for as long as it lives, and as soon as there are
    more of them than cores, OpenMP lets all of them sleep between any two products instead of spinning.
    """
    thread = ThreadPoolExecutor(1, "gradatim-loading")
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
    finally:
        thread.shutdown(wait=False)


def _characters(asked: Asked) -> int:
    if isinstance(asked.prompt, str):
        return len(asked.prompt)
    return sum(len(message.content) for message in asked.prompt)


def _remove(bank: AdapterBank, names: Iterable[str]) -> None:
    for name in names:
        bank.remove(name)


def _call(loop: asyncio.AbstractEventLoop, action: Callable[[], object]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(action)


def _settle(future: asyncio.Future[Any], error: Exception | None = None, result: object = None) -> None:
    """Whoever waited may have been cancelled meanwhile."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
