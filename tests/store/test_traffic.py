"""Interactions, ratings and keys: rows in, equal values out, and never twice; in SQLite and in PostgreSQL alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from gradatim.store.records import Records
from gradatim.store.traffic import Interaction, Rating
from gradatim.types import Answer

ANSWER = Answer("chatcmpl-1", "Who?", "Vole.", "r" * 64, "2026-01-01T00:00:00Z")
SERVED = Interaction("chatcmpl-1", "k-1", "s" * 64, "chat-7", "live", "{}", "stop", 5, 2, 0.25, 0.5)
RATING = Rating("rating-1", "chatcmpl-1", None, "k-1", "s" * 64, "rating", -1.0, None, "2026-01-01T00:00:01Z")


def test_interactions_come_back_beside_their_answers(records: Records) -> None:
    second = replace(SERVED, id="chatcmpl-2", session=None, first_token_seconds=None)
    records.traffic.add([(ANSWER, SERVED), (replace(ANSWER, id="chatcmpl-2"), second)])
    records.traffic.add([(replace(ANSWER, answer="another"), replace(SERVED, finish="error"))])
    assert records.traffic.interactions() == [SERVED, second]
    assert records.traffic.interaction("chatcmpl-2") == second
    assert records.traffic.interaction("chatcmpl-3") is None
    assert records.answer("chatcmpl-1") == ANSWER
    assert records.traffic.count() == 2


def test_all_of_a_batch_or_none(records: Records) -> None:
    with pytest.raises(IntegrityError, match="finish"):
        records.traffic.add([(ANSWER, SERVED), (replace(ANSWER, id="x"), replace(SERVED, id="x", finish="odd"))])
    assert records.traffic.count() == 0
    assert records.answer("chatcmpl-1") is None


def test_a_rating_counts_once_and_is_of_one_thing(records: Records) -> None:
    records.traffic.add([(ANSWER, SERVED)])
    assert records.traffic.add_rating(RATING)
    assert not records.traffic.add_rating(replace(RATING, value=1.0))
    of_session = replace(RATING, id="rating-2", response=None, session="chat-7", metric="solved", value=1.0)
    assert records.traffic.add_rating(of_session)
    assert records.traffic.ratings() == [RATING, of_session]
    with pytest.raises(IntegrityError, match="target"):
        records.traffic.add_rating(replace(RATING, id="rating-3", session="chat-7"))
