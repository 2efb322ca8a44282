"""Sentences that lean on others stand with them, and a chain is cut where that costs least."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.observe.standing import MOST_WORDS, standing_passages
from gradatim.types import Passage
from gradatim.writing.words import leans, words


def passages(*texts: str, context: str = "Rules") -> list[Passage]:
    return [Passage(f"d:{number}", "d", text, context) for number, text in enumerate(texts)]


def joined(*texts: str) -> list[str]:
    return [passage.text for passage in standing_passages(passages(*texts))]


def sentence(opening: str, length: int) -> str:
    return " ".join([opening, *["word"] * (length - len(opening.split()) - 1), "end."])


def test_a_leaning_sentence_joins_the_one_before() -> None:
    made = standing_passages(passages("The carrot is purple.", "It is stored cold.", "Milk is white."))
    assert [(p.id, p.text) for p in made] == [
        ("d:0", "The carrot is purple. It is stored cold."),
        ("d:2", "Milk is white."),
    ]


def test_nothing_joins_across_places_or_to_nothing() -> None:
    assert joined("It is cold.", "The mill is old.") == ["It is cold.", "The mill is old."]
    apart = [*passages("The mill is old.", context="Mill"), *passages("It is cold.", context="Pool")]
    assert len(standing_passages(apart)) == 2


def test_a_long_chain_is_cut_before_they_rather_than_before_it() -> None:
    texts = [sentence("The growers", 18), sentence("It", 18), sentence("Their crop", 18), sentence("It", 18)]
    assert joined(*texts) == [" ".join(texts[:2]), " ".join(texts[2:])]


def test_of_equal_cuts_there_are_as_few_as_can_be() -> None:
    texts = [sentence("The mill", 20), *(sentence("It", 20) for _ in range(3))]
    assert [len(words(text)) for text in joined(*texts)] == [40, 40]


SENTENCES = st.lists(
    st.tuples(st.sampled_from(["The mill", "It", "They", "Their crop", "Whoever"]), st.integers(3, 60)),
    max_size=8,
)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(SENTENCES)
def test_no_sentence_is_lost_and_no_join_is_too_long_or_idle(drawn: list[tuple[str, int]]) -> None:
    given_ = passages(*(sentence(opening, max(length, 4)) for opening, length in drawn))
    made = standing_passages(given_)
    assert " ".join(p.text for p in made) == " ".join(p.text for p in given_)
    by_id = {passage.id: passage for passage in given_}
    for passage in made:
        assert passage.text.startswith(by_id[passage.id].text)
        if passage.text != by_id[passage.id].text:
            assert len(words(passage.text)) <= MOST_WORDS
    starts = {passage.id for passage in made}
    assert all(leans(passage.text) for passage in given_ if passage.id not in starts)
