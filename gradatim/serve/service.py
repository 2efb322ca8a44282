"""One request from its arrival to its row: release chosen, reply made, and written down before its end is told.

What the caller has read of a finished reply is on disk: the row is committed before the last piece is handed out. A
reply that nobody waited for, or that broke off, is written down too, as far as it went.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from gradatim.errors import GradatimError
from gradatim.serve.base import Asked, Ended, Engine, Refused, Reply
from gradatim.serve.chat import question_of
from gradatim.serve.choosing import FALLBACK, LIVE, Choice, Chooser
from gradatim.serve.recorder import Recorder
from gradatim.serve.telemetry import LOGGER, Metrics
from gradatim.store.canonical import canonical
from gradatim.store.clock import now
from gradatim.store.traffic import Interaction
from gradatim.types import Answer, Digest, Release
from gradatim.workspace import Workspace

POLL_SECONDS = 0.05
FOLLOWING = "following the live release"
_RETRY_SECONDS = 5.0  # before a release that could not be loaded is tried again


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom a reply is: the key, the subject (a digest), and the session, where there is one."""

    key: str
    subject: str
    session: str | None = None
    slices: tuple[str, ...] = ()


class Exchange:
    """One reply under way. Read it to its end, or `abandon` it."""

    def __init__(self, service: Service, asked: Asked, asker: Asker, choice: Choice, reply: Reply, chat: bool) -> None:
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        self.choice, self.asked = choice, asked
        self.created = time.time()
        self._service, self._asker, self._reply = service, asker, reply
        self._began, self._first = time.monotonic(), None
        self._texts: list[str] = []
        self._over = False

    _first: float | None

    async def pieces(self) -> AsyncIterator[str | Ended]:
        """The texts, and `Ended` once everything is written down. Raises what the engine raised."""
        try:
            async for piece in self._reply:
                if isinstance(piece, Ended):
                    await self._service.recorder.write(*self._row(piece.finish, piece))
                    self._over = True
                    self._count(piece.finish, piece)
                    if self.choice.mirror is not None:
                        self.choice.mirror(self.asked, self._asker.key, self._asker.subject, self._asker.slices)
                else:
                    if self._first is None:
                        self._first = time.monotonic() - self._began
                    self._texts.append(piece)
                yield piece
        except Exception:
            self._leave("error")
            raise

    def abandon(self) -> None:
        """Nobody wants the rest. Harmless after the end."""
        self._leave("cancelled")

    def _leave(self, finish: str) -> None:
        if self._over:
            return
        self._over = True
        self._reply.cancel()
        ended = Ended("stop", 0, 0)
        self._count(finish, ended)
        self._service.recorder.submit(*self._row(finish, ended))

    def _row(self, finish: str, ended: Ended) -> tuple[Answer, Interaction]:
        asked = asdict(self.asked)
        answer = Answer(self.id, question_of(self.asked), "".join(self._texts), self.choice.release, now())
        return answer, Interaction(
            id=self.id,
            key=self._asker.key,
            subject=self._asker.subject,
            session=self._asker.session,
            arm=self.choice.arm,
            prompt=canonical(asked).decode(),
            finish=finish,
            prompt_tokens=ended.prompt_tokens,
            completion_tokens=ended.completion_tokens,
            first_token_seconds=self._first,
            seconds=time.monotonic() - self._began,
            rollout=self.choice.rollout,
            wave=self.choice.wave,
            slices=json.dumps(self._asker.slices) if self._asker.slices else None,
        )

    def _count(self, finish: str, ended: Ended) -> None:
        metrics, release = self._service.metrics, self.choice.release[:12]
        metrics.replies.labels(release, self.choice.arm, finish).inc()
        metrics.tokens.labels(release, "prompt").inc(ended.prompt_tokens)
        metrics.tokens.labels(release, "completion").inc(ended.completion_tokens)
        if self._first is not None:
            metrics.first_token.labels(release).observe(self._first)
        metrics.open.dec()


class Service:
    """Releases of a workspace, answered by an engine."""

    def __init__(
        self,
        workspace: Workspace,
        engine: Engine,
        chooser: Chooser,
        recorder: Recorder,
        metrics: Metrics,
        secret: bytes,
    ) -> None:
        self.workspace, self.engine, self.recorder, self.metrics = workspace, engine, recorder, metrics
        self._chooser, self._secret = chooser, secret
        self._releases: dict[Digest, Release] = {}  # those that were loaded
        self._unfit: dict[Digest, float] = {}  # those that could not be, and when that was tried
        self._serving: Digest | None = None  # what new requests get, where nothing better can be had
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the model and what is to be served first. Raises GradatimError when that can't be."""
        await self.engine.start()
        await self._follow()
        self._watch = asyncio.create_task(self._keep_up())

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await self.engine.close()
        await asyncio.to_thread(self.recorder.close)

    @property
    def serving(self) -> Release | None:
        """The release that was last made ready."""
        return None if self._serving is None else self._releases[self._serving]

    @property
    def ready(self) -> bool:
        return self.engine.healthy and self._serving is not None

    def subject(self, key: str, user: str | None) -> str:
        """Who asks, as a digest that says nothing to whoever lacks this server's secret."""
        said = f"{key}\0{user or ''}".encode(errors="replace")
        return hmac.digest(self._secret, said, "sha256").hex()

    def seal(self, response: str, choice: Choice) -> str:
        """A name for a reply's release that is another for each reply: it tells whoever has the secret, nobody else."""
        said = f"release of\0{response}\0{choice.release}\0{choice.arm}".encode()
        return f"sealed-{hmac.digest(self._secret, said, 'sha256').hex()[:32]}"

    async def open(self, asked: Asked, asker: Asker, *, chat: bool) -> Exchange:
        """Begin a reply. Raises `Refused`."""
        choice = await self._ready(self._chooser.choose(asker.subject))
        reply = await self.engine.begin(asked, choice.release)
        self.metrics.open.inc()
        return Exchange(self, asked, asker, choice, reply, chat)

    async def _ready(self, choice: Choice) -> Choice:
        """The choice once its release is loaded; the one served before, where it can't be."""
        try:
            await self.load(choice.release)
        except GradatimError as error:
            if self._serving is None:
                raise Refused(503, f"No release can be served: {error}", retry_after=5) from error
            await self.load(self._serving)  # others may have taken its place meanwhile
            return Choice(self._serving, FALLBACK, sealed=choice.rollout is not None)
        if choice.arm == LIVE:
            self._note(choice.release)
        return choice

    async def _follow(self) -> None:
        """Load what is live at this moment, and what is to be kept beside it."""
        live = self._chooser.live()
        await self.load(live)
        self._note(live)
        for other in self._chooser.others():
            with suppress(GradatimError):  # it was logged, and requests are told
                await self.load(other)

    async def load(self, digest: Digest) -> None:
        """Make a release answerable. Raises GradatimError when it can't be."""
        if time.monotonic() - self._unfit.get(digest, -_RETRY_SECONDS) < _RETRY_SECONDS:
            raise GradatimError(f"Release {digest[:12]} could not be loaded a moment ago")
        try:
            if digest not in self._releases:
                found = await asyncio.to_thread(self.workspace.registry.get, digest)
                await self.engine.load(found)
                self._releases[digest] = found
            else:
                await self.engine.load(self._releases[digest])
        except GradatimError as error:
            self._unfit[digest] = time.monotonic()
            LOGGER.error("a release can't be served", extra={"data": {"release": digest, "error": str(error)}})
            raise

    def _note(self, digest: Digest) -> None:
        """This release is live and loaded."""
        if self._serving != digest:
            LOGGER.info("serving a release", extra={"data": {"release": digest, "was": self._serving}})
            self.metrics.live.clear()
            self.metrics.live.labels(digest[:12]).set(1)
            self._serving = digest

    async def _keep_up(self) -> None:
        """Load what was promoted before the first request asks for it."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._follow()
            except GradatimError:
                continue  # it was logged, and requests are told
            except Exception as error:  # noqa: BLE001 - told below; the next round may do better
                self.metrics.went(FOLLOWING, error)
            else:
                self.metrics.went(FOLLOWING)
