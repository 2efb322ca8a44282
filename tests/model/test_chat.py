"""Prompts and targets are what the tokenizer's own chat template makes of the conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.model.base import Base
from gradatim.model.chat import ChatFormat
from tests.tiny import CHATML, tiny_tokenizer

TALKS = [
    ("What is the capital of France?", "Paris."),
    ("  Who?  ", "  The baker,\nwho opens at six.  "),
    ("Line one\nline two\n\n", "1. first\n2. second\n\n```python\nprint('x')\n```"),
    ("Où est l'œuf ? 🥚", "Là-bas — à 30 °C. 日本語"),
    ("", ""),
    ("x = {'a': 1}; {{ not jinja }}", "{% nor this %}"),
    ("Say <|im_end|> aloud", "No."),
]


def template_ids(tokenizer: Any, *turns: tuple[str, str], generation: bool = False) -> list[int]:
    messages = [{"role": role, "content": content} for role, content in turns]
    made = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=generation)
    ids: list[int] = made["input_ids"]
    return ids


def assert_follows_template(chat: ChatFormat, tokenizer: Any, question: str, answer: str, end: int) -> None:
    prompt = chat.prompt(question)
    assert prompt == template_ids(tokenizer, ("user", question), generation=True)
    target = chat.target(question, answer)
    whole = template_ids(tokenizer, ("user", question), ("assistant", answer.strip()))
    assert prompt + target == whole[: len(prompt) + len(target)]
    assert target[-1] == end
    assert tokenizer.decode(whole[len(prompt) + len(target) :]).strip() == ""


@pytest.mark.slow
@pytest.mark.parametrize(("question", "answer"), TALKS)
def test_the_bundled_tokenizers_template_is_followed(bundled: Base, question: str, answer: str) -> None:
    end = bundled.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert bundled.chat.end_tokens == {end}
    assert_follows_template(bundled.chat, bundled.tokenizer, question, answer, end)
    assert bundled.chat.text(bundled.chat.target(question, answer)) == answer.strip()


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.text(max_size=30), st.text(max_size=30))
def test_a_template_is_followed_whatever_is_said(question: str, answer: str) -> None:
    tokenizer = tiny_tokenizer()
    assert_follows_template(ChatFormat(tokenizer), tokenizer, question, answer, 2)


@pytest.mark.parametrize(("question", "answer"), TALKS[:4])
def test_without_a_template_the_plain_form_is_used(question: str, answer: str) -> None:
    tokenizer = tiny_tokenizer(chat_template=None)
    chat = ChatFormat(tokenizer)
    whole = chat.prompt(question) + chat.target(question, answer)
    assert tokenizer.decode(chat.prompt(question)) == f"Question: {question}\nAnswer:"
    assert tokenizer.decode(whole[:-1]) == f"Question: {question}\nAnswer: {answer.strip()}"
    assert whole[-1] == 2
    assert chat.text(chat.target(question, answer)) == answer.strip()
    assert chat.raw(question) == tokenizer(question)["input_ids"]


def test_end_tokens_are_those_of_model_and_tokenizer() -> None:
    tokenizer = tiny_tokenizer()
    assert ChatFormat(tokenizer).end_tokens == {2}
    assert ChatFormat(tokenizer, 7).end_tokens == {2, 7}
    assert ChatFormat(tokenizer, [7, 8, 2]).end_tokens == {2, 7, 8}
    tokenizer.eos_token = None
    assert ChatFormat(tokenizer, 7).end_tokens == {7}
    assert ChatFormat(tokenizer).end_tokens == frozenset()


def test_every_target_ends_with_an_end_token_where_there_is_one() -> None:
    bare = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    rewriting = CHATML.replace("{% if add", "{% if not add_generation_prompt %}done{% endif %}{% if add")
    other = "{% if add_generation_prompt %}?{% else %}!{{ messages[1]['content'] }}{% endif %}"  # whole ≠ prompt + …
    for template in (None, CHATML, bare, rewriting, other):
        tokenizer = tiny_tokenizer(chat_template=template)
        assert ChatFormat(tokenizer).target("who?", "the baker")[-1] == 2
        tokenizer.eos_token = None
        assert ChatFormat(tokenizer, 7).target("who?", "the baker")[-1] in {2, 7}
        assert None not in ChatFormat(tokenizer).target("who?", "the baker")


def test_a_conversation_of_one_question_is_its_prompt() -> None:
    for template in (None, CHATML):
        chat = ChatFormat(tiny_tokenizer(chat_template=template))
        assert chat.conversation([("user", "who?")]) == chat.prompt("who?")


def test_a_conversation_is_what_the_template_makes_of_it() -> None:
    tokenizer = tiny_tokenizer()
    turns = [("system", "Be brief."), ("user", "who?"), ("assistant", "the baker"), ("user", "when?")]
    messages = [{"role": role, "content": text} for role, text in turns]
    expected = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert ChatFormat(tokenizer).conversation(turns) == tokenizer(expected)["input_ids"]
    plain = tiny_tokenizer(chat_template=None)
    said = "Be brief.\n\nQuestion: who?\nAnswer: the baker\n\nQuestion: when?\nAnswer:"
    assert ChatFormat(plain).conversation(turns) == plain(said)["input_ids"]


def test_a_conversation_that_the_template_refuses() -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + CHATML
    with pytest.raises(ValueError, match="no system here"):
        ChatFormat(tiny_tokenizer(chat_template=strict)).conversation([("system", "x"), ("user", "who?")])
