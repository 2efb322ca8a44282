"""State as JSON: a rollout that was put away goes on as if it had not been."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.errors import InputError
from gradatim.rollout.events import Event
from gradatim.rollout.rollout import Rollout
from gradatim.rollout.saved import dump, load
from gradatim.rollout.settings import DEFAULT_RAILS, Rail, Settings
from tests.rollout.crowd import HOUR, KEY, QUICK, Crowd, started, thumbs

EVERY = (
    *DEFAULT_RAILS,
    Rail("slow", "latency", "quantile", "bound", limit=60.0),
    Rail("floor", "rating", "mean", "bound", limit=0.2, worse="lower", slice="de"),
)


def history(settings: Settings, canary: float, cuts: list[int]) -> tuple[list[Event], Rollout]:
    """Thirty hours, the rollout put away and taken up again after each of these."""
    crowd = Crowd(started(settings), thumbs(canary), 120)
    events: list[Event] = []
    for hour in range(30):
        events += crowd.live(1)
        if hour in cuts:
            crowd.rollout = load(dump(crowd.rollout), KEY)
    return events, crowd.rollout


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(0, 29), max_size=4),
    st.sampled_from([0.3, 0.7]),
    st.sampled_from([(), EVERY]),
    st.sampled_from([0, 50]),
)
def test_it_goes_on_exactly(cuts: list[int], canary: float, rails: tuple[Rail, ...], shadow: int) -> None:
    chosen = replace(QUICK, rails=rails, shadow_subjects=shadow)
    assert history(chosen, canary, cuts) == history(chosen, canary, [])


def test_one_state_is_one_line() -> None:
    crowd = Crowd(started(replace(QUICK, rails=EVERY)), thumbs(0.7))
    crowd.live(5)
    text = dump(crowd.rollout)
    assert "\n" not in text
    assert dump(load(text, KEY)) == text
    assert load(text, KEY) == crowd.rollout


def test_a_pause_survives() -> None:
    rollout = started()
    rollout.pause("ada", "holiday", HOUR)
    assert load(dump(rollout), KEY).paused == "ada"


def test_the_key_is_not_written_and_must_be_the_same() -> None:
    text = dump(started())
    assert KEY.hex() not in text
    assert KEY.decode() not in text
    with pytest.raises(InputError, match="not the one"):
        load(text, b"another key of sixteen bytes or more")


def test_who_was_counted_is_not_written() -> None:
    crowd = Crowd(started(), thumbs(0.7))
    crowd.live(1)
    assert "user 1" not in dump(crowd.rollout)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '"a"', "7"])
def test_what_is_no_state(text: str) -> None:
    with pytest.raises(InputError, match="not the state of a rollout") as caught:
        load(text, KEY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["waves", "tests", "census", "settings", "live", "stage"])
def test_a_state_that_lost_something(name: str) -> None:
    state = json.loads(dump(started()))
    for damaged in ({key: value for key, value in state.items() if key != name}, state | {name: 3.5}):
        with pytest.raises(InputError) as caught:
            load(json.dumps(damaged), KEY)
        assert "\n" not in str(caught.value)


def test_a_state_of_another_version() -> None:
    state = json.loads(dump(started())) | {"version": 2}
    with pytest.raises(InputError, match="version 2"):
        load(json.dumps(state), KEY)
