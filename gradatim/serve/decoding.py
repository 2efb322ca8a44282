"""One decode batch that requests join and leave between tokens, whatever release each of them is for.

A request begins as a recall, where its release has lessons and it is a question that they are for: what the lessons
tell, as `gradatim ask` would tell it. What they don't tell becomes a row of the batch, on the adapter whose gate claims
it or on the bare base. A turn of the batch is one pass of one recall, `CHUNK` tokens of one long prompt, short prompts
of `CHUNK` tokens together, and one token for every row: nobody keeps the others waiting for long. Of several long
prompts the first is run to its end, and short ones pass it.

The keys and values of all rows and recalls have a most. A request takes its share, as much as it could come to need,
before it is let in, and waits until that is free; nobody behind it passes it then.

Rows draw by their own seed, so a reply does not depend on who sits beside it. Limits: what `model/sampling.py` says of
bf16, and rows of a model with sliding windows wait until the batch is empty. Keys and values are copied when rows join
or leave, a layer at a time, and a prompt's are made before they are laid beside the others': for that moment the most
may be exceeded by a layer and by what was just made.

Everything here belongs to one thread.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import torch

from gradatim.model.allocation import free_bytes
from gradatim.model.bank import AdapterBank
from gradatim.model.chat import ChatFormat
from gradatim.model.prefixes import Prefixes
from gradatim.model.sampling import Decoding, Entering, Rows, cache_bytes, choose_each
from gradatim.recall import Minds
from gradatim.recall.minds import SEARCH, Reply
from gradatim.serve.base import Asked, Ended, Finish, Refused
from gradatim.serve.text import Spelling, Stops

CHUNK = 128
"""Tokens of prompts that are run before the rows under way have their next token."""

_KNOWN, _LEAST_KNOWN = 16, 512
"""One part in so many of the memory for keys and values is for the beginnings of prompts, where there are so many."""

_RECALL = SEARCH.width, SEARCH.max_tokens
"""Rows of a recall, and what it may add to its prompt in each."""

Tell = Callable[[str | Ended | Exception], None]


@dataclass(frozen=True, slots=True)
class Room:
    """How much a batch takes."""

    rows: int = 32  # decoded together
    context: int = 0  # most tokens of a prompt and its reply; 0: what the model was made for
    reply: int = 2048  # most tokens of a reply
    usual: int = 512  # tokens of a reply when the request does not say
    cache: int = 0  # bytes of keys and values; 0: half of what is free at the start
    known: bool = True  # whether a prompt that begins like an earlier one is run from there on


@dataclass(slots=True)
class Job:
    """One request under way."""

    number: int  # the earlier, the longer it waits
    asked: Asked
    minds: Minds
    tell: Tell
    ids: list[int]
    how: Decoding
    generator: torch.Generator
    spelling: Spelling
    stops: Stops
    adapter: str | None = None
    made: int = 0
    cancelled: bool = False
    over: bool = False
    recall: Generator[None, None, tuple[dict[int, Reply], list[str | None]]] | None = field(default=None, repr=False)

    def add(self, token: int) -> None:
        """One more token of the reply; it may end there."""
        self.made += 1
        self._say(self.stops.add(self.spelling.add(token)))
        if self.stops.stopped:
            self.end("stop")
        elif self.made >= self.how.max_tokens:
            self.end("length")

    def end(self, finish: Finish) -> None:
        if self.over:
            return
        self.over = True
        self._say(self.stops.add(self.spelling.rest()))
        self._say(self.stops.rest())
        self.tell(Ended("stop" if self.stops.stopped else finish, len(self.ids), self.made))

    @property
    def most(self) -> int:
        """Tokens that it may come to."""
        return len(self.ids) + self.how.max_tokens

    @property
    def recall_most(self) -> int:
        """Tokens that its recall may come to."""
        rows, tokens = _RECALL
        return rows * (len(self.ids) + tokens)

    def fail(self, error: Exception) -> None:
        if not self.over:
            self.over = True
            self.tell(error)

    def _say(self, text: str) -> None:
        if text:
            self.tell(text)


class Abandoned(Exception):
    """Nobody wants the rest of this reply."""


class Batch:
    """The jobs of one bank."""

    def __init__(self, bank: AdapterBank, room: Room) -> None:
        self.bank, self._room = bank, room
        self._asking: deque[Job] = deque()  # for a recall
        self._recalls: deque[Job] = deque()
        self._waiting: deque[Job] = deque()
        self._long: tuple[Job, Entering] | None = None
        self._running: dict[int, Job] = {}
        self._taken = 0
        token, self._mergeable = cache_bytes(bank)
        tokens = (room.cache or free_bytes(bank.base.device) // 2) // token
        begun = tokens // _KNOWN if self._mergeable and room.known and tokens >= _LEAST_KNOWN else 0
        self._known = Prefixes(begun) if begun else None
        self._rows = Rows(bank, Decoding(), self._known)
        self.tokens = tokens - begun
        """Of the keys and values of rows and recalls, that there is memory for."""

    @property
    def busy(self) -> bool:
        return bool(self._asking or self._recalls or self._waiting or self._long or self._running)

    def jobs(self) -> list[Job]:
        """All that are not over."""
        return [*self._asking, *self._recalls, *self._waiting, *self._inside()]

    def take(self, asked: Asked, ids: list[int], minds: Minds, tell: Tell) -> Job:
        """Take a request in, its prompt laid out by `prompt_ids`. Raises `Refused` when it is too long."""
        chat = asked.prompt if isinstance(asked.prompt, str) else ""
        context = self._room.context or int(getattr(self.bank.base.model.config, "max_position_embeddings", 4096))
        context = min(context, self.tokens)
        left = context - len(ids)
        if left < 1:
            raise Refused(
                400,
                f"The prompt has {len(ids)} tokens and there is room for {context}: shorten it.",
                code="context_length_exceeded",
                param="prompt" if chat else "messages",
            )
        most = min(asked.max_tokens or self._room.usual, self._room.reply, left)
        seed = secrets.randbits(62) if asked.seed is None else asked.seed
        how = Decoding(most, asked.temperature, asked.top_p)
        generator = torch.Generator(device=self.bank.base.device).manual_seed(seed)
        spelling = Spelling(self._decode)
        self._taken += 1
        job = Job(self._taken, asked, minds, tell, ids, how, generator, spelling, Stops(asked.stop, trim=not chat))
        if asked.question is not None and minds.router.gates:
            job.recall = minds.recalling([asked.question])
            self._asking.append(job)
        else:
            self._waiting.append(job)
        return job

    def turn(self) -> None:
        """One pass of a recall, those who wait let in, and a token for each row; what goes wrong ends whom it hit."""
        self._leave()
        while self._asking and not self._before(self._asking[0]) and self._fits(recall=self._asking[0]):
            self._recalls.append(self._asking.popleft())
        if self._recalls:
            job = self._recalls[0]
            try:
                self._recall(job)
            except Exception as error:  # noqa: BLE001 - one request's misfortune is not the others'
                self._recalls.popleft()
                job.fail(error)
        try:
            self._admit()
            if self._running:
                self._step()
        except Exception as error:  # noqa: BLE001 - the rows share what broke; requests that come later do not
            for job in self._inside():
                job.fail(error)
            self._long, self._running, self._rows = None, {}, Rows(self.bank, Decoding(), self._known)

    def _before(self, asking: Job) -> bool:
        """Whether somebody who came earlier waits for memory: it is not taken away under their eyes."""
        return any(job.number < asking.number and not self._fits(job) for job in self._waiting)

    def _recall(self, job: Job) -> None:
        assert job.recall is not None
        try:
            next(job.recall)
            self._recalls.rotate(-1)
            return
        except StopIteration as done:
            told, (adapter,) = done.value
        self._recalls.popleft()
        if 0 not in told:
            job.adapter = adapter
            self._waiting.append(job)
            return
        for token in self.bank.base.chat.raw(told[0].text):
            if not job.over:
                job.add(token)
        job.end("stop")

    def _leave(self) -> None:
        """Those whose reply nobody waits for."""
        for queue in (self._asking, self._recalls, self._waiting):
            gone = [job for job in queue if job.cancelled]
            for job in gone:
                queue.remove(job)
                job.fail(Abandoned())
        if self._long is not None and self._long[0].cancelled:
            self._long[0].fail(Abandoned())
            self._long = None
        if any(job.cancelled for job in self._running.values()):
            for job in self._running.values():
                if job.cancelled:
                    job.fail(Abandoned())
            self._keep([row for row, n in enumerate(self._rows.indices) if not self._running[n].cancelled])

    @torch.inference_mode()
    def _admit(self) -> None:
        """Some tokens of the long prompt, and short ones as far as there is room."""
        self._go_in()
        if not self._waiting or (self._running and not self._mergeable):
            return
        chosen: list[Job] = []
        for job in self._in_order():
            if len(self._inside()) >= self._room.rows or not self._fits(job):
                break
            if self._mergeable and len(job.ids) > CHUNK:
                if self._long is None:
                    self._waiting.remove(job)
                    self._begin(job)
            elif chosen and sum(len(one.ids) for one in (*chosen, job)) > CHUNK:
                break
            else:
                self._waiting.remove(job)
                self._running[job.number] = job
                chosen.append(job)
        if chosen:
            chosen.sort(key=lambda job: job.adapter or "")
            numbers = [job.number for job in chosen]
            self._rows.admit(numbers, [job.ids for job in chosen], [job.adapter for job in chosen])

    def _begin(self, job: Job) -> None:
        """With a long prompt; what is known of it may not fit into the memory."""
        try:
            self._long = job, Entering(self.bank, job.ids, job.adapter, self._known)
        except Exception as error:  # noqa: BLE001 - one request's misfortune is not the others'
            job.fail(error)

    def _in_order(self) -> list[Job]:
        """Those who wait, as they came; but first one for a release that nobody is answered by yet."""
        answering = {id(job.minds) for job in self._inside()}
        new = next((job for job in self._waiting if id(job.minds) not in answering), None)
        return [*([new] if new is not None else []), *(job for job in self._waiting if job is not new)]

    def _go_in(self) -> None:
        if self._long is None:
            return
        job, entering = self._long
        entering.advance(CHUNK)
        if not entering.left:
            self._long = None
            self._running[job.number] = job
            self._rows.enter(job.number, entering)

    def _inside(self) -> list[Job]:
        """Those that have a row, or will have one once their prompt is run."""
        return [*self._running.values(), *([self._long[0]] if self._long is not None else [])]

    def _fits(self, *more: Job, recall: Job | None = None) -> bool:
        """Whether there is memory for these rows and this recall too. Whoever is alone was cut to what there is."""
        rows, recalls = [*self._inside(), *more], [*self._recalls, *([recall] if recall is not None else [])]
        taken = len(rows) * max((job.most for job in rows), default=0)
        return len(rows) + len(recalls) == 1 or taken + sum(job.recall_most for job in recalls) <= self.tokens

    @torch.inference_mode()
    def _step(self) -> None:
        jobs = [self._running[number] for number in self._rows.indices]
        chosen_R = choose_each(self._rows.logits_RV, [job.how for job in jobs], [job.generator for job in jobs])
        going = []
        for row, (job, token) in enumerate(zip(jobs, chosen_R.tolist(), strict=True)):
            if token in self._rows.ends:
                job.end("stop")
            else:
                job.add(token)
            if not job.over:
                going.append(row)
        if len(going) < len(jobs):
            self._keep(going)
            chosen_R = chosen_R[going]
        if going:
            self._rows.run(chosen_R)

    def _keep(self, rows: list[int]) -> None:
        with torch.inference_mode():
            self._rows.keep(rows)
        self._running = {number: self._running[number] for number in self._rows.indices}

    def _decode(self, ids: list[int]) -> str:
        text: str = self.bank.base.tokenizer.decode(ids, skip_special_tokens=True)
        return text


def prompt_ids(chat: ChatFormat, asked: Asked) -> list[int]:
    """A request's prompt as tokens. Raises `Refused` when it can't be laid out."""
    if isinstance(asked.prompt, str):
        return chat.raw(asked.prompt) or list(chat.end_tokens)[:1]
    try:
        return chat.conversation([(message.role, message.content) for message in asked.prompt])
    except ValueError as error:
        raise Refused(400, f"The model can't be asked so: {error}", param="messages") from error
