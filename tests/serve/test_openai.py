"""The unmodified `openai` client against a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from gradatim.model.bank import AdapterBank
from gradatim.model.sampling import Decoding, sample
from tests.serve.conftest import Running, new_base

MODEL = "gradatim"
ASK: Any = [{"role": "user", "content": "When does the ferry leave?"}]


def alone(turns: list[tuple[str, str]], tokens: int) -> list[int]:
    """What the bare base answers greedily, without any server."""
    base = new_base()
    bank = AdapterBank(base)
    return sample(bank, [base.chat.conversation(turns)], None, Decoding(max_tokens=tokens))[0]


def test_a_whole_reply(running: Running) -> None:
    done = running.openai().chat.completions.with_raw_response.create(model=MODEL, messages=ASK, max_tokens=12)
    reply = done.parse()
    expected = alone([("user", ASK[0]["content"])], 12)
    base = new_base()
    assert reply.choices[0].message.content == base.chat.text(expected)
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason == ("length" if len(expected) == 12 else "stop")
    assert reply.usage is not None
    assert reply.usage.completion_tokens == len(expected)
    assert reply.usage.prompt_tokens == len(base.chat.prompt(ASK[0]["content"]))
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    live = running.workspace.registry.live_id()
    assert (reply.system_fingerprint, done.headers["x-gradatim-release"]) == (live, live)
    assert done.headers["x-request-id"].startswith("req_")
    assert done.headers["x-gradatim-feedback-token"].startswith(reply.id)


def test_a_stream_is_the_same_reply_in_pieces(running: Running) -> None:
    client = running.openai()
    whole = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24)
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=ASK, max_tokens=24, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 4


def reply(running: Running, **more: Any) -> Any:
    usual: dict[str, Any] = {"model": MODEL, "messages": ASK, "max_tokens": 24}
    return running.openai().chat.completions.create(**usual | more)


def test_a_system_message_and_earlier_turns_count(running: Running) -> None:
    turns = [("system", "Be brief."), ("user", "Hello?"), ("assistant", "Hello."), ("user", "Who opens at six?")]
    messages: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in turns]
    expected = new_base().chat.text(alone(turns, 16))
    assert reply(running, messages=messages, max_tokens=16).choices[0].message.content == expected
    parts = [{"type": "text", "text": "Who opens "}, {"type": "text", "text": "at six?"}]
    messages[0]["role"] = "developer"  # OpenAI's later name of it
    messages[-1] = {"role": "user", "content": parts}
    assert reply(running, messages=messages, max_tokens=16).choices[0].message.content == expected


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_sequence_ends_the_reply_before_it(running: Running, length: int, stream: bool) -> None:
    whole = reply(running).choices[0].message.content
    stop = next(part for at in range(6, len(whole)) if (part := whole[at : at + length]).strip() == part)
    stopped = reply(running, stop=[stop, "never in there"], stream=stream)
    if stream:
        chunks = list(stopped)
        text, finish = "".join(c.choices[0].delta.content or "" for c in chunks), chunks[-1].choices[0].finish_reason
    else:
        text, finish = stopped.choices[0].message.content, stopped.choices[0].finish_reason
    assert text == whole[: whole.index(stop)].rstrip()
    assert finish == "stop"
    assert reply(running, stop="never in there").choices[0].message.content == whole


def test_a_seed_reproduces_whoever_else_asks(running: Running) -> None:
    def drawn(seed: int | None, **more: Any) -> str:
        text = reply(running, temperature=1.0, seed=seed, **more).choices[0].message.content
        assert isinstance(text, str)
        return text

    first = drawn(7)
    with ThreadPoolExecutor(6) as others:
        busy = [others.submit(drawn, seed) for seed in range(20, 32)]
        assert drawn(7) == first
        assert len({one.result() for one in busy}) > 6
    assert drawn(8) != first
    assert drawn(None) != drawn(None)
    assert drawn(3, top_p=1e-6) == reply(running).choices[0].message.content  # so small a nucleus is greedy


@pytest.mark.parametrize(
    "how",
    [{"temperature": 5e-324}, {"temperature": 1e-38}, {"temperature": 1.0, "top_p": 5e-324}],
    ids=["no temperature in fp32", "logits beyond fp32", "no nucleus in fp32"],
)
def test_what_is_too_small_to_draw_by_is_greedy(running: Running, how: dict[str, float]) -> None:
    assert reply(running, **how).choices == reply(running).choices


def test_the_default_is_greedy_and_max_tokens_is_kept(running: Running) -> None:
    assert reply(running).choices == reply(running, temperature=0).choices
    short = reply(running, max_tokens=3)
    assert (short.usage.completion_tokens, short.choices[0].finish_reason) == (3, "length")
    newer = running.openai().chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=3)
    assert newer.choices == short.choices


def test_text_completions(running: Running) -> None:
    base = new_base()
    ids = base.chat.raw("The ferry to Harrow")
    expected = base.tokenizer.decode(sample(AdapterBank(base), [ids], None, Decoding(max_tokens=16))[0])
    client = running.openai()
    done = client.completions.create(model=MODEL, prompt="The ferry to Harrow")
    assert (done.choices[0].text, done.object) == (expected, "text_completion")
    assert done.usage is not None
    assert done.usage.prompt_tokens == len(ids)
    chunks = list(client.completions.create(model=MODEL, prompt=["The ferry to Harrow"], stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == expected


def test_the_models(running: Running) -> None:
    (listed,) = running.openai().models.list().data
    assert listed.id == MODEL
    assert running.openai().models.retrieve(MODEL) == listed
    assert listed.model_extra is not None
    assert listed.model_extra["release"] == running.workspace.registry.live_id()
    with pytest.raises(openai.NotFoundError) as missing:
        running.openai().models.retrieve("gpt-4o")
    assert missing.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"n": 2}, "unsupported_parameter"),
        ({"logprobs": True}, "unsupported_parameter"),
        ({"top_logprobs": 3}, "unsupported_parameter"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "unsupported_parameter"),
        ({"presence_penalty": 0.5}, "unsupported_parameter"),
        ({"frequency_penalty": -1}, "unsupported_parameter"),
        ({"logit_bias": {"5": 100}}, "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "unsupported_parameter"),
        ({"reasoning_effort": "high"}, "unsupported_parameter"),
        ({"extra_body": {"beam_width": 4}}, "unknown_parameter"),
        ({"temperature": 2.5}, "invalid_value"),
        ({"top_p": 0}, "invalid_value"),
        ({"max_tokens": 0}, "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "invalid_value"),
        ({"stop": ""}, "invalid_value"),
        ({"messages": []}, "invalid_value"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "invalid_value"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, None),
        ({"messages": [{"role": "user", "content": "long " * 3000}]}, "context_length_exceeded"),
        ({"stream_options": {"include_usage": True}}, None),
    ],
)
def test_what_can_not_be_done_is_refused_in_one_line(running: Running, more: dict[str, Any], code: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        reply(running, **more)
    assert refused.value.type == "invalid_request_error"
    assert code in (None, refused.value.code)
    assert isinstance(refused.value.body, dict)
    assert len(refused.value.body["message"].splitlines()) == 1
    assert refused.value.request_id is not None


def test_what_changes_nothing_is_taken(running: Running) -> None:
    neutral = {
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "response_format": {"type": "text"},
        "user": "ada",
        "metadata": {"session_id": "s-1"},
        "store": False,
        "service_tier": "auto",
    }
    assert reply(running, **neutral).choices == reply(running).choices


def test_another_model_is_not_found(running: Running) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        reply(running, model="gpt-4o")
    assert "this server serves 'gradatim'" in str(missing.value)


def test_what_was_served_is_written_down(running: Running) -> None:
    done = reply(running, user="ada", metadata={"session_id": "s-9"})
    kept = running.workspace.records.traffic.interaction(done.id)
    assert kept is not None
    assert (kept.session, kept.arm, kept.finish) == ("s-9", "live", done.choices[0].finish_reason)
    assert kept.key == "env-client"
    assert "ada" not in kept.subject
    assert (kept.prompt_tokens, kept.completion_tokens) == (done.usage.prompt_tokens, done.usage.completion_tokens)
    answer = running.workspace.records.answer(done.id)
    assert answer is not None
    assert (answer.question, answer.answer) == (ASK[0]["content"], done.choices[0].message.content)
    again = running.workspace.records.traffic.interaction(reply(running, user="ada").id)
    other = running.workspace.records.traffic.interaction(reply(running, user="ben").id)
    assert again is not None
    assert other is not None
    assert (again.subject == kept.subject, other.subject == kept.subject) == (True, False)
