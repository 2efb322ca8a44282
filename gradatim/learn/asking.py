"""Teach an adapter to ask as people do: plain imitation of the questions in `writing/people_ask.toml`.

    python -m gradatim.learn.asking bundled DIR    # how the one that comes with the package was made

Half of the examples have the wanted answer in view, as when study questions are written, half have not, as when a
question has come and its text is looked for. Questions about no text at all (the replay prompts) stand beside them, so
that the adapter can also say how likely a question is to be about something else.

Limits: one setting for every base, vetted on one of 135 million parameters, where it takes ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from gradatim.learn.objectives import sequence_means
from gradatim.learn.replay import replay_prompts
from gradatim.learn.trainer import Labels, Trainer
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.model.packing import Pair
from gradatim.store.canonical import canonical, digest_of
from gradatim.writing.asker import GENERAL, Asker, View, people_ask

RANK, ALPHA = 16, 32.0
LEARNING_RATE = 1e-3
WARMUP = 0.05
EPOCHS = 2
BATCH = 1200  # positions
TAUGHT_BY = "taught_by.txt"


def lessons(asker: Asker) -> list[Pair]:
    """What there is to learn, in file order."""
    asked = [*people_ask(), *((View(GENERAL), prompt) for prompt in replay_prompts())]
    return [asker.pair(view, question) for view, question in asked]


def taught_by() -> str:
    """A digest of all that an asker depends on beside its base: what it is shown, and the settings."""
    shown = [[str(view), question] for view, question in people_ask()] + replay_prompts()
    return digest_of(canonical([shown, RANK, ALPHA, LEARNING_RATE, WARMUP, EPOCHS, BATCH]))


def positions(pairs: Sequence[Pair]) -> int:
    """How many positions the whole training computes."""
    return EPOCHS * sum(map(len, pairs))


def learn_to_ask(
    bank: AdapterBank, name: str, pairs: Sequence[Pair], seed: int = 0, advance: Callable[[int], None] | None = None
) -> Adapter:
    """Train a new adapter of the bank on these pairs. `advance` is told positions, of `positions` in all."""
    blocks = bank.base.model.config.num_hidden_layers
    adapter = Adapter(bank.shapes(range(blocks // 2, blocks)), RANK, ALPHA, bank.base.device).initialise(seed)
    bank.add(name, adapter)
    trainer, chance = Trainer(bank), random.Random(seed)
    trainer.join(name, learning_rate=LEARNING_RATE)
    total, spent = positions(pairs), 0
    for _ in range(EPOCHS):
        for batch in _batches(chance.sample(pairs, len(pairs))):
            share = spent / total
            trainer.set_rate(name, LEARNING_RATE * min(1.0, share / WARMUP + 0.05) * (1 - share))
            trainer.step({name: batch}, _imitate)
            size = sum(map(len, batch))
            spent += size
            if advance is not None:
                advance(size)
    return adapter


def main() -> None:
    """Train an asker for a base, and save it in bfloat16, which is how the bank multiplies it."""
    parser = argparse.ArgumentParser(description="Train an adapter to ask as people do.")
    parser.add_argument("base", help="bundled, a Hugging Face id, a folder or a GGUF file")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    bank = AdapterBank(load_base(chosen.base))
    pairs = lessons(Asker(bank, "asker"))
    with Progress() as bar:
        task = bar.add_task("learning to ask", total=positions(pairs))
        adapter = learn_to_ask(bank, "asker", pairs, chosen.seed, partial(bar.advance, task))
    folder = chosen.folder / bank.base.digest[:16]
    adapter.save(folder, base=chosen.base, dtype=torch.bfloat16)
    (folder / TAUGHT_BY).write_text(f"{taught_by()}\n")


def _batches(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    for pair in pairs:
        batch.append(pair)
        if sum(map(len, batch)) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _imitate(labels: Labels) -> Tensor:
    """The mean over questions of each one's mean loss."""
    return sequence_means(-labels.log_probability_L, labels.pairs_L, sum(labels.counts)).mean()


if __name__ == "__main__":
    main()
