"""SEAL's published self-edits as study material for the bundled model: whose help most with questions by people?

    python benchmarks/published.py [--data DIR] [--passages 24] [--seeds 1] [--rate 0.001]

SQuAD's passages, their human questions, and three writers' edits of each as SEAL's authors published them: Qwen2.5-7B
as it was, the same after two rounds of SEAL, and GPT-4.1. An adapter of the bundled model studies one edit's lines and
the passage itself, as SEAL does it, every arm with equally many positions; `passage only` has nothing but the passage.
What is measured is the log-probability of the human answer after its question, in nats, without the passage in view.
The rate is the same for all. Intervals are 95 %, by bootstrap over passages, of the difference to passage only.

The data is not carried: SQuAD 1.1 (CC BY-SA 4.0) and the edits from SEAL's repository, put together as
`DIR/squad/seal_eval_100.json`, a list of {"title", "context", "questions": [{"question", "answer"}], "edits": {writer:
[text, …]}}. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from gradatim.learn.inner import InnerPlan, Trial, try_each
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.model.packing import Pair
from gradatim.model.scoring import Grade, grade

ARMS = {"passage only": None, "qwen 7b": "qwen7b_base", "seal": "seal_round2", "gpt-4.1": "gpt41"}
LONGEST = 256
PLAN = InnerPlan(rank=32, alpha=64.0, frozen=0.5, positions=3000, step_positions=150, at_once=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.environ.get("GRADATIM_DATA")
    parser.add_argument("--data", type=Path, default=Path(folder) if folder else None)
    parser.add_argument("--passages", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1e-3)
    chosen = parser.parse_args()
    if chosen.data is None:
        parser.error("name the folder with the published edits: --data DIR, or GRADATIM_DATA")
    logging.disable(logging.WARNING)
    began = time.monotonic()
    bank = AdapterBank(load_base("bundled"))
    items = json.loads((chosen.data / "squad" / "seal_eval_100.json").read_text())[: chosen.passages]
    asked = [[question_of(bank, one) for one in item["questions"]] for item in items]
    found = {"base": [mean(grades) for grades in grade(bank, asked, [None] * len(asked))]}
    for name, writer in ARMS.items():
        trials, of = [], []
        for number, item in enumerate(items):
            for seed in range(chosen.seeds):
                trials.append(Trial(material(bank, item, writer, seed), chosen.rate, seed))
                of.append(number)

        def measure(names: list[str], numbers: range, of: list[int] = of) -> list[float]:
            return [mean(grades) for grades in grade(bank, [asked[of[n]] for n in numbers], names)]

        values = np.array(try_each(bank, trials, PLAN, measure)).reshape(len(items), chosen.seeds)
        found[name] = values.mean(axis=1).tolist()
        print(f"{name:14} {np.mean(found[name]):6.3f}  {time.monotonic() - began:.0f} s", flush=True)
    print(json.dumps({"arms": {name: row(values, found["passage only"]) for name, values in found.items()}}))


def material(bank: AdapterBank, item: dict[str, Any], writer: str | None, seed: int) -> tuple[Pair, ...]:
    """The passage and one edit's lines, each under the title, every token of them a label."""
    edits = item["edits"][writer] if writer else []
    lines = [line.strip() for line in edits[seed % len(edits)].split("\n") if len(line.split()) > 2] if edits else []
    texts = [bank.base.chat.raw(f"{item['title']}\n{text}")[:LONGEST] for text in (item["context"], *lines)]
    return tuple(Pair(tuple(ids[:1]), tuple(ids[1:])) for ids in texts)


def question_of(bank: AdapterBank, asked: dict[str, str]) -> Pair:
    chat = bank.base.chat
    return Pair(tuple(chat.prompt(asked["question"])), tuple(chat.target(asked["question"], asked["answer"])))


def mean(grades: list[Grade]) -> float:
    """Log-probability of an answer, nats, mean over the passage's questions."""
    return float(np.mean([one.log_probability for one in grades]))


def row(values: list[float], plain: list[float]) -> dict[str, float]:
    gain = np.array(values) - np.array(plain)
    low, high = bootstrap((gain,), np.mean, rng=0).confidence_interval if gain.std() else (0.0, 0.0)
    found = {"mean": np.mean(values), "beyond the passage": gain.mean(), "low": low, "high": high}
    return {**{name: round(float(value), 3) for name, value in found.items()}, "n": len(values)}


if __name__ == "__main__":
    main()
