"""Tiny random models and a tiny tokenizer, made on the spot from a seed: for tests that need a model, any model.

The weights are drawn wider than usual, so that random logits differ from token to token and greedy choices are
not near-ties.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from gradatim.model.base import Base
from gradatim.model.chat import ChatFormat

VOCABULARY = 320
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CORPUS = (
    "The ferry to Harrow leaves at seven, and the baker opens at six.",
    "Question: what is the capital of France? Answer: the capital of France is Paris.",
    "A small model learns one step at a time; every step is verified.",
    "user assistant system: who, what, when, where, why and how many?",
)


def tiny_tokenizer(*, chat_template: str | None = CHATML) -> Any:
    """A byte-level BPE of `VOCABULARY` tokens trained on four sentences; 0 ends a text, 2 ends a turn."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def tiny_llama(seed: int = 0, *, attention: str = "sdpa", **settings: Any) -> Any:
    """A random Llama with grouped-query attention and an output head of its own."""
    return _made(LlamaForCausalLM, LlamaConfig, seed, attention, _grouped(tie_word_embeddings=False), settings)


def tiny_qwen2(seed: int = 0, *, attention: str = "sdpa", **settings: Any) -> Any:
    """A random Qwen2: biases in attention, and the output head tied to the embeddings."""
    return _made(Qwen2ForCausalLM, Qwen2Config, seed, attention, _grouped(tie_word_embeddings=True), settings)


def tiny_gpt2(seed: int = 0, *, attention: str = "sdpa", **settings: Any) -> Any:
    """A random GPT-2: Conv1D layers, learned positions, no dropout."""
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return _made(GPT2LMHeadModel, GPT2Config, seed, attention, {**sizes, **dropout}, settings)


TINY = {"llama": tiny_llama, "qwen2": tiny_qwen2, "gpt2": tiny_gpt2}


def tiny_base(
    kind: str = "llama",
    seed: int = 0,
    *,
    attention: str = "sdpa",
    chat_template: str | None = CHATML,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> Base:
    """A frozen `Base` of one of the kinds in `TINY`; `settings` go to the model's configuration."""
    tokenizer = tiny_tokenizer(chat_template=chat_template)
    model = TINY[kind](seed, attention=attention, **settings).requires_grad_(False)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)  # model.to() would round the rotary frequencies as well
    return Base(model, tokenizer, ChatFormat(tokenizer, model.generation_config.eos_token_id), f"tiny-{seed}", kind)


def _grouped(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        **more,
    }


def _made(
    model: Any, config: Any, seed: int, attention: str, defaults: dict[str, Any], settings: dict[str, Any]
) -> Any:
    tokens = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = model(config(**{"initializer_range": 0.2, **tokens, **defaults, **settings}))
        for vector in (parameter for parameter in made.parameters() if parameter.dim() == 1):
            vector.data.add_(torch.randn_like(vector), alpha=0.1)  # biases would all be 0, and norms 1
    made.set_attn_implementation(attention)
    return made.eval()


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer.to_str()
