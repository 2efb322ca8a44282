"""Which prompts about a text are studied first. How they are written is told by tests/recipes."""

from __future__ import annotations

from gradatim.writing.studying import covering

HARBOUR = "The harbour of Port Elms closes at nine."
LAMP = "Otto Brand lights the lamp of Port Elms."


def test_questions_come_before_all_else_and_each_prompt_once() -> None:
    prompts = ["The harbour closes at nine.", "What is it about?", "The harbour closes at nine.", "Nine it is."]
    assert covering(prompts, HARBOUR, [LAMP]) == ["What is it about?", "The harbour closes at nine.", "Nine it is."]
    assert covering([], HARBOUR, [LAMP]) == []
    assert covering(prompts[:2], "", []) == ["What is it about?", "The harbour closes at nine."]


def test_a_word_that_other_texts_share_is_worth_less_and_one_of_theirs_alone_costs() -> None:
    assert covering(["Which port?", "Which harbour?"], HARBOUR, [LAMP]) == ["Which harbour?", "Which port?"]
    assert covering(["Which lamp?", "What is this?"], HARBOUR, [LAMP]) == ["What is this?", "Which lamp?"]
    assert covering(["Which zebra?", "Which lamp?"], HARBOUR, [LAMP]) == ["Which zebra?", "Which lamp?"]


def test_what_was_mentioned_counts_less_the_second_time() -> None:
    prompts = ["Is the harbour closed?", "When does the harbour close?", "What is the number: nine?"]
    first, second, third = covering(prompts, HARBOUR, [LAMP])
    assert (first, second) == ("Is the harbour closed?", "What is the number: nine?")  # two words, then a new one
    assert third == "When does the harbour close?"


def test_of_equals_the_shorter_comes_first() -> None:
    prompts = ["What of the harbour, then?", "What of the harbour?", "Why?", "And why?"]
    assert covering(prompts, HARBOUR, [LAMP]) == [prompts[1], prompts[0], prompts[2], prompts[3]]
