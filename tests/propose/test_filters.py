"""What may not be studied: what is sealed, in any order of words, and the same thing three times."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradatim.propose import admit
from gradatim.propose.filters import fingerprint
from gradatim.types import StudyExample

SEALED = "When does the mill at Orrin open for members?"


def example(prompt: str) -> StudyExample:
    return StudyExample(prompt, "The mill opens at five.", "qa", "d:0")


@pytest.mark.parametrize(
    "prompt",
    [
        SEALED,
        SEALED.upper(),
        "For members, when does Orrin's mill open?",
        "The mill opens at Orrin, when, for a member?",
        "Open: members, Orrin, mill",
    ],
)
def test_a_leak_is_caught_in_any_order_and_with_any_small_words(prompt: str) -> None:
    assert admit([example(prompt)], frozenset({fingerprint(SEALED)})) == ((), {"leaks a sealed question": 1})


def test_a_question_that_means_something_else_is_kept() -> None:
    other = example("When does the mill at Harrow open for members?")
    assert admit([other], frozenset({fingerprint(SEALED)})) == ((other,), {})


@given(st.permutations("mill orrin opens morning tamsin".split()), st.randoms(use_true_random=False))
def test_a_fingerprint_knows_no_order(order: list[str], chance: random.Random) -> None:
    with_small_words = [word for one in order for word in (one, chance.choice(("the", "of", "")))]
    assert fingerprint(" ".join(with_small_words)) == fingerprint("mill orrin opens morning tamsin")
    assert fingerprint(" ".join(order[1:])) != fingerprint(" ".join(order))


def test_duplicates_are_kept_twice_and_empty_prompts_never() -> None:
    prompts = ["Who runs it?", "Where is it?", "who runs it", "WHO runs it?!", "?!"]
    kept, dropped = admit(map(example, prompts), frozenset())
    assert [each.prompt for each in kept] == prompts[:3]
    assert dropped == {"near-duplicate": 2}


@given(st.lists(st.sampled_from(["Who is it?", "who is it", "Where?", SEALED, ""]), max_size=12))
def test_nothing_is_lost_uncounted(prompts: list[str]) -> None:
    kept, dropped = admit(map(example, prompts), frozenset({fingerprint(SEALED)}))
    assert len(kept) + sum(dropped.values()) == len(prompts)
    assert SEALED not in {each.prompt for each in kept}
