"""The batch: long prompts don't hold the others up, and the memory of keys and values has a most that holds."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gradatim.model import sampling
from gradatim.model.bank import AdapterBank
from gradatim.model.sampling import Decoding, cache_bytes, sample
from gradatim.recall import Minds
from gradatim.serve.base import Asked, Ended, Refused
from gradatim.serve.decoding import CHUNK, Batch, Job, Room, prompt_ids
from tests.serve.conftest import new_base


@dataclass
class Heard:
    """What a request was told."""

    job: Job
    pieces: list[str | Ended | Exception] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(piece for piece in self.pieces if isinstance(piece, str))

    @property
    def over(self) -> bool:
        return bool(self.pieces) and not isinstance(self.pieces[-1], str)


class Table:
    """A batch and those who asked it."""

    def __init__(self, room: Room | None = None) -> None:
        self.bank = AdapterBank(new_base())
        self.batch = Batch(self.bank, room or Room())
        self._minds = Minds(self.bank, {})

    def ask(self, text: str, tokens: int = 8, minds: Minds | None = None) -> Heard:
        asked = Asked(text, max_tokens=tokens)
        pieces: list[str | Ended | Exception] = []
        ids = prompt_ids(self.bank.base.chat, asked)
        return Heard(self.batch.take(asked, ids, minds or self._minds, pieces.append), pieces)

    def alone(self, text: str, tokens: int = 8) -> str:
        """What `sample` makes of the same prompt in one go."""
        chat = self.bank.base.chat
        (ids,) = sample(self.bank, [chat.raw(text)], None, Decoding(max_tokens=tokens))
        return str(self.bank.base.tokenizer.decode(ids, skip_special_tokens=True))


def words(count: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices("baker ferry France who when six seven Paris Harrow".split(), k=count))


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("count", [1, 20, 60, 150, 400])
def test_a_prompt_in_pieces_is_answered_as_one_in_one_go(count: int) -> None:
    table = Table()
    heard = table.ask(words(count, count))
    turns = 0
    while not heard.over:
        table.batch.turn()
        turns += 1
    assert heard.text == table.alone(words(count, count))
    pieces = -(-len(heard.job.ids) // CHUNK)
    assert turns <= pieces + 8 + 1  # a turn for each piece of the prompt, and one for each token


def test_short_prompts_pass_long_ones_and_those_under_way_have_a_token_each_turn() -> None:
    table = Table()
    under_way = table.ask(words(5, 1), tokens=200)
    table.batch.turn()
    long = [table.ask(words(400, seed)) for seed in (2, 3)]
    short = table.ask(words(5, 4), tokens=3)
    waited = 0
    while not short.over:
        made = under_way.job.made
        table.batch.turn()
        waited += 1
        assert under_way.job.made == made + 1
        assert not any(heard.job.made for heard in long)
    assert waited <= 4
    while not all(heard.over for heard in long):
        table.batch.turn()
    assert [heard.text for heard in long] == [table.alone(words(400, seed)) for seed in (2, 3)]
    while not under_way.over:
        table.batch.turn()
    assert under_way.text == table.alone(words(5, 1), tokens=200)


def test_the_first_request_for_a_new_release_passes_those_who_wait_for_the_old_one() -> None:
    table = Table()
    under_way = table.ask(words(40, 0), tokens=100)
    table.batch.turn()
    waiting = [table.ask(words(40, number)) for number in range(1, 9)]
    promoted = Minds(table.bank, {})
    first, second = (table.ask(words(40, number), minds=promoted) for number in (9, 10))
    table.batch.turn()
    assert first.job.made == 1
    assert second.job.made == 0  # it waits its turn
    assert sum(heard.job.made for heard in waiting) < len(waiting)
    while table.batch.busy:
        table.batch.turn()
    everybody = [under_way, *waiting, first, second]
    assert [heard.text for heard in everybody] == [
        table.alone(words(40, number), tokens=100 if number == 0 else 8) for number in range(11)
    ]


def test_a_long_prompt_that_nobody_waits_for_any_more_is_not_run_on() -> None:
    table = Table()
    gone, after = table.ask(words(400, 1)), table.ask(words(400, 2))
    table.batch.turn()
    gone.job.cancelled = True
    while not after.over:
        table.batch.turn()
    assert gone.over
    assert after.text == table.alone(words(400, 2))
    assert not table.batch.busy


def test_keys_and_values_stay_below_their_most_and_everybody_is_answered() -> None:
    token, mergeable = cache_bytes(AdapterBank(new_base()))
    assert mergeable
    assert token == 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, width of a head, bytes
    room = Room(cache=token * 600)
    table = Table(room)
    assert table.batch.tokens == 600 - 600 // 16  # the rest is for the beginnings of prompts
    sizes = [5, 120, 30, 90, 3, 60, 110, 8, 45, 5, 5, 5]
    heard = [table.ask(words(size, number), tokens=10 + number) for number, size in enumerate(sizes)]
    known = table.batch._known
    assert known is not None
    most = together = 0
    for _ in range(2000):
        table.batch.turn()
        most = max(most, table.batch._rows.cache_bytes + token * known.tokens)
        together = max(together, len(table.batch._running))
        if not table.batch.busy:
            break
    assert all(one.over for one in heard)
    assert 0 < most <= room.cache
    assert together > 1
    alone = [table.alone(words(size, number), tokens=10 + number) for number, size in enumerate(sizes)]
    assert [one.text for one in heard] == alone


class Remembering(Minds):
    """Minds whose recall takes three passes and finds nothing."""

    def __init__(self, bank: AdapterBank) -> None:
        super().__init__(bank, {})
        self.router = SimpleNamespace(gates={"lesson": None})  # type: ignore[assignment]

    def recalling(self, questions: list[str], *_told: object) -> Generator[None, None, Any]:  # type: ignore[override]
        yield from (None, None, None)
        return {}, [None]


def test_questions_for_lessons_that_keep_coming_do_not_take_the_room_that_a_long_prompt_waits_for() -> None:
    token, _ = cache_bytes(AdapterBank(new_base()))
    table = Table(Room(cache=token * 1000, known=False))  # two recalls, or the long prompt
    minds = Remembering(table.bank)

    def question() -> None:
        asked = Asked("who", question="who", max_tokens=2)
        table.batch.take(asked, prompt_ids(table.bank.base.chat, asked), minds, lambda _: None)

    for _ in range(3):
        question()
    table.batch.turn()
    long = table.ask(words(200, 0), tokens=4)
    for _turn in range(60):
        question()
        table.batch.turn()
        if long.over:
            break
    assert long.over
    assert long.text == table.alone(words(200, 0), tokens=4)


def test_prompts_of_which_some_are_known_stay_below_the_most_too() -> None:
    token, _ = cache_bytes(AdapterBank(new_base()))
    table = Table(Room(cache=2048 * token))
    opening = words(22, 7)
    first = table.ask(opening, tokens=1)
    while not first.over:
        table.batch.turn()
    prompts = [prompt for number in range(30) for prompt in (f"{opening} six", words(22, 1000 + number))]
    heard = [table.ask(prompt, tokens=30) for prompt in prompts]
    most = 0
    while table.batch.busy:
        table.batch.turn()
        most = max(most, table.batch._rows.cache_bytes // token)
    assert most <= table.batch.tokens
    assert [one.text for one in heard] == [table.alone(prompt, tokens=30) for prompt in prompts]


def test_who_can_not_be_begun_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    before = table.ask(words(200, 0), tokens=1)
    while not before.over:
        table.batch.turn()

    def none_left(_: object) -> None:
        raise torch.OutOfMemoryError("none left")

    monkeypatch.setattr(sampling, "cache_of", none_left)
    short, long = table.ask(words(200, 0)[:150]), table.ask(words(300, 0))
    for _ in range(5):
        table.batch.turn()
    for one in (short, long):
        assert isinstance(one.pieces[-1], torch.OutOfMemoryError)
    assert not table.batch.busy
    monkeypatch.undo()
    again = table.ask(words(300, 0))
    while not again.over:
        table.batch.turn()
    assert again.text == table.alone(words(300, 0))


def test_what_could_never_have_room_is_refused_or_cut() -> None:
    token, _ = cache_bytes(AdapterBank(new_base()))
    table = Table(Room(cache=token * 100, known=False))
    with pytest.raises(Refused, match="room for 100"):
        table.ask(words(200, 0))
    cut = table.ask(words(5, 0), tokens=500)
    while not cut.over:
        table.batch.turn()
    ended = cut.pieces[-1]
    assert isinstance(ended, Ended)
    assert ended.prompt_tokens + ended.completion_tokens == 100
