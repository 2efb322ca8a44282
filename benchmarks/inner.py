"""Inner trainings a second: many adapters in the same passes beside PEFT, one after another.

    python benchmarks/inner.py [--trainings 48] [--repeats 3]

The same study material (drafts of the lab model about people it has not seen), the same batches in the same order, the
same steps, ranks and rates, the same replay. The peer is PEFT with torch's AdamW, a fresh adapter for each training, no
padding beyond the batch's own; what SEAL's published code adds to that (padding to 2,048 tokens, a process and a
checkpoint for each edit) is left out. Both take turns; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from gradatim.learn.inner import InnerPlan, Trial, _Shown, try_each
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.model.packing import Pair
from gradatim.model.scoring import grade
from gradatim.recipes.dialects import LabDialect
from gradatim.recipes.seal import Asking, SelfEdits, Settings, Task
from gradatim.worlds import lab
from gradatim.worlds.biographies import passage, people, questions

MODEL = Path(__file__).with_name("lab") / "one-wording"


def material(bank: AdapterBank, count: int) -> tuple[list[Trial], list[Pair]]:
    """Drafts to train on, and pairs to replay."""
    settings = lab.LabSettings(**json.loads((MODEL / "training.json").read_text())["settings"])
    known = lab.known_people(settings)
    loop = SelfEdits(bank, LabDialect(bank.base.chat), Settings())
    strangers = people(count, random.Random(5), {person.name for person in known})
    drafts = loop.write([Task(passage(person), (), ()) for person in strangers], 2, seed=5)
    trials = [Trial(edits[0].pairs, edits[0].learning_rate, n) for n, edits in enumerate(drafts) if edits]
    asked = [Asking(q.text, q.answer).pair(bank.base.chat) for person in known[:40] for q in questions(person, 0)]
    return trials, asked


def one_by_one(model: Any, trials: Sequence[Trial], plan: InnerPlan, replay: Sequence[Pair]) -> list[float]:
    """Training by PEFT; for each training the mean loss of what it studied, afterwards."""
    after = []
    for trial in trials:
        torch.manual_seed(trial.seed)
        for name, parameter in model.named_parameters():
            if "lora_A" in name:
                torch.nn.init.kaiming_uniform_(parameter, a=5**0.5)
            elif "lora_B" in name:
                torch.nn.init.zeros_(parameter)
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(weights, trial.learning_rate, weight_decay=0.0, fused=True)
        shown, chance = _Shown(trial), random.Random(f"replay {trial.seed}")
        for step in range(plan.steps(trial)):
            batch = shown.batch(plan.step_positions * (step + 1))
            if not batch:
                continue
            pairs = [*batch, *chance.sample(replay, plan.replays)]
            ids, mask, labels = padded(pairs)
            for group in optimizer.param_groups:
                group["lr"] = trial.learning_rate * (1 - step / plan.steps(trial))
            optimizer.zero_grad()
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
            targets, count = labels[:, 1:], len(batch)
            loss = F.cross_entropy(logits[:count].flatten(0, 1), targets[:count].flatten())
            loss = loss + plan.replay_weight * F.cross_entropy(logits[count:].flatten(0, 1), targets[count:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
        with torch.no_grad():
            ids, mask, labels = padded(trial.pairs)
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
            lost = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
        after.append(float(lost) / len(trial.pairs))
    return after


def padded(pairs: Sequence[Pair]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, attention mask and labels, padded to the longest."""
    width = max(map(len, pairs))
    ids = torch.zeros(len(pairs), width, dtype=torch.long)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for row, pair in enumerate(pairs):
        whole = torch.tensor([*pair.prompt, *pair.target])
        ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
        labels[row, len(pair.prompt) : len(whole)] = whole[len(pair.prompt) :]
    return ids, mask, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    bank = AdapterBank(load_base(str(MODEL), dtype=torch.float32))
    plan = InnerPlan()
    trials, replay = material(bank, chosen.trainings)
    ratios, ours, theirs = [], [], []
    studied, of_peft = [0.0], [0.0]

    def measure(names: list[str], numbers: range) -> list[float]:
        graded = grade(bank, [trials[number].pairs for number in numbers], names)
        return [-statistics.mean(one.log_probability for one in grades) for grades in graded]

    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    config = LoraConfig(r=plan.rank, lora_alpha=int(plan.alpha), target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, config)

    def of_the_bank() -> None:
        studied[:] = try_each(bank, trials, plan, measure, replay=replay)

    def of_the_peer() -> None:
        of_peft[:] = one_by_one(model, trials, plan, replay)

    try_each(bank, trials[:4], plan, measure, replay=replay)  # warm
    one_by_one(model, trials[:2], plan, replay)
    for number in range(chosen.repeats):
        turns: list[tuple[list[float], Callable[[], None]]] = [(ours, of_the_bank), (theirs, of_the_peer)]
        for seconds, work in turns if number % 2 == 0 else turns[::-1]:
            began = time.perf_counter()
            work()
            seconds.append((time.perf_counter() - began) / len(trials))
        ratios.append(theirs[-1] / ours[-1])
        print(f"bank {1 / ours[-1]:.2f} trainings a second, PEFT {1 / theirs[-1]:.2f}: {ratios[-1]:.2f} times as many")
    row = {
        "trainings": len(trials),
        "steps": round(statistics.mean(map(plan.steps, trials)), 1),
        "bank_per_second": round(1 / statistics.median(ours), 2),
        "peft_per_second": round(1 / statistics.median(theirs), 2),
        "speedup": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
        "bank_loss": round(statistics.mean(studied), 2),
        "peft_loss": round(statistics.mean(of_peft), 2),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
