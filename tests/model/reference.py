"""What the bank is compared with: transformers and PEFT, one adapter and one text at a time."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from tests.tiny import TINY, VOCABULARY

_PREFIX = "base_model.model."
# PEFT 0.21 asks transformers 5.23 for a property that has since been renamed.
PEFT_IS_BEHIND = "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"


def trained(bank: AdapterBank, name: str, rank: int = 4, alpha: float = 6.0, seed: int = 0, **shapes: Any) -> Adapter:
    """A new adapter in the bank whose B is random as well, as it would be after training."""
    adapter = bank.add(name, Adapter(bank.shapes(**shapes), rank, alpha, "cpu").initialise(seed))
    generator = torch.Generator().manual_seed(1000 + seed)
    for B in adapter.B.values():
        B.data.normal_(0, 0.1, generator=generator)
    return adapter


def with_peft(kind: str, adapter: Adapter, **settings: Any) -> Any:
    """The tiny model of that kind, seed 0, under PEFT, with a copy of the adapter's weights."""
    import peft

    config = peft.LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]
        target_modules=sorted(adapter.modules),
        fan_in_fan_out=kind == "gpt2",
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(TINY[kind](**settings), config)
    for (name, letter), weight in peft_weights(model).items():
        weight.data.copy_((adapter.A if letter == "A" else adapter.B)[name])
    return model


def peft_weights(model: Any) -> dict[tuple[str, str], Tensor]:
    """The LoRA weights of a PEFT model by module, and A or B."""
    found = {}
    for name, parameter in model.named_parameters():
        module, mark, rest = name.removeprefix(_PREFIX).partition(".lora_")
        if mark:
            found[module, rest[0]] = parameter
    return found


def random_ids(seed: int, rows: int, width: int) -> Tensor:
    return torch.randint(3, VOCABULARY, (rows, width), generator=torch.Generator().manual_seed(seed))


def random_pairs(seed: int, count: int, shared: int) -> list[Pair]:
    """Pairs of unequal lengths whose prompts begin with the same `shared` tokens."""
    draw = random.Random(seed)

    def tokens(least: int, most: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, VOCABULARY) for _ in range(draw.randint(least, most)))

    opening = tokens(shared, shared)
    return [Pair(opening + tokens(1, 8), tokens(1, 6)) for _ in range(count)]


def alone(model: Any, pair: Pair) -> Tensor:
    """Log-probabilities of the pair's target tokens, from the plain model on this one text."""
    logits_TV = model(input_ids=torch.tensor([pair.prompt + pair.target])).logits[0]
    first = len(pair.prompt) - 1
    predicted = logits_TV[first : first + len(pair.target)].log_softmax(-1)
    chosen: Tensor = predicted.gather(1, torch.tensor(pair.target)[:, None]).squeeze(1)
    return chosen


def greedy_alone(model: Any, prompt: list[int], tokens: int, ends: tuple[int, ...] = (2,)) -> list[int]:
    """What transformers' own `generate` makes of one prompt, up to its end token."""
    ids = torch.tensor([prompt])
    made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    reply: list[int] = made[0, len(prompt) :].tolist()
    stop = next((i for i, token in enumerate(reply) if token in ends), len(reply))
    return reply[:stop]
