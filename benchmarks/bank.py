"""The adapter bank beside PEFT: the same trainings one after the other there, in the same passes here.

    python benchmarks/bank.py [--only NAME …] [--repeats N] [--data DIR]

Both sides start from the same adapters and see the same tokens in the same order; how far their losses are apart after
two steps is printed with each case. Peer and bank then take turns, `--repeats` times, and the table gives the ratio of
the medians with the least and greatest ratio of two neighbouring turns. `peak_share` is the share of the matmul peak,
measured in the same run, that the bank's training does: base and adapter products forward, backward to the inputs, and
the adapters' own gradients; attention and element-wise work count as nothing.

- lab-1x32, lab-4x32: 32 adapters on a model of 4 layers, one or four texts of 32 tokens a step
- edits: 8 adapters on 8 self-edits with SEAL's own settings (rank 32, one text a step, 10 epochs), but without padding;
  `padded` runs a few steps of that as SEAL's script does, each text padded to 2,048 positions, and extrapolates
- decode: 8 rows on 8 adapters
- waste: each thing the bank leaves out, done and left out, in one run
- growth: one lab step against the number of adapters

`--data DIR` is a folder with `squad/seal_eval_100.json` (100 SQuAD passages with the self-edits published with SEAL,
arXiv 2506.10943); without it, sentences of this project's handbooks stand in. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gradatim.learn.objectives import sequence_means
from gradatim.learn.trainer import Labels, Trainer
from gradatim.model.adapter import Adapter
from gradatim.model.attention import register
from gradatim.model.bank import AdapterBank
from gradatim.model.base import Base, load_base
from gradatim.model.packing import Pair, pack
from gradatim.model.sampling import Decoding, sample
from gradatim.model.scoring import log_probabilities

HANDBOOKS = Path(__file__).with_name("handbooks")
RANK, ALPHA, RATE = 8, 16.0, 1e-3
SEAL_RANK, SEAL_ALPHA, SEAL_EPOCHS, SEAL_WIDTH = 32, 64.0, 10, 2048
Texts = list[list[int]]  # token ids of the sequences of one step


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    adapters: int
    peer: str
    peer_seconds: float
    bank_seconds: float
    speedup: float
    peak_share: float | None
    note: str


# ------------------------------------------------------------------ both sides


class Bank:
    """All trainings in the same passes."""

    def __init__(self, base: Base, count: int, rank: int = RANK, alpha: float = ALPHA) -> None:
        self.bank = AdapterBank(base)
        self.names = [str(number) for number in range(count)]
        for seed, name in enumerate(self.names):
            self.bank.add(name, Adapter(self.bank.shapes(), rank, alpha, "cpu").initialise(seed))

    def train(self, work: Sequence[Sequence[Texts]]) -> list[float]:
        """`work[n][s]`: the texts of adapter n in its step s. Starts afresh; returns each adapter's last loss."""
        trainer = Trainer(self.bank)
        for seed, name in enumerate(self.names):
            self.bank.adapters[name].initialise(seed)
            trainer.join(name, learning_rate=RATE, clip=None)
        last = [0.0] * len(work)
        for step in range(max(map(len, work))):
            active = [number for number, steps in enumerate(work) if step < len(steps)]
            groups = {str(n): [Pair(tuple(ids[:1]), tuple(ids[1:])) for ids in work[n][step]] for n in active}
            losses: list[torch.Tensor] = []

            def objective(labels: Labels, losses: list[torch.Tensor] = losses) -> torch.Tensor:
                losses.append(sequence_means(-labels.log_probability_L, labels.adapters_L, len(labels.counts)))
                return losses[0].sum()

            trainer.step(groups, objective)
            for number, loss in zip(active, losses[0].tolist(), strict=True):
                last[number] = loss
        return last

    def losses(self, texts: Sequence[Texts]) -> list[float]:
        """Mean loss of each adapter on texts that it was not trained on."""
        found = []
        for name, mine in zip(self.names, texts, strict=True):
            packed = pack([Pair(tuple(ids[:1]), tuple(ids[1:])) for ids in mine])
            with torch.no_grad():
                found.append(-float(log_probabilities(self.bank, packed, [name]).mean()))
        return found


class Peft:
    """One training after the other, on one model under PEFT whose adapter is set back in between."""

    def __init__(self, model: Any, like: Bank) -> None:
        import peft

        first = like.bank.adapters["0"]
        config = peft.LoraConfig(r=first.rank, lora_alpha=int(first.alpha), target_modules=sorted(first.modules))
        self.model = peft.get_peft_model(model, config)
        self.like, self.held_out = like, list[float]()
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        for weight in self.weights:
            weight.data = weight.data.float()  # as PEFT's autocast_adapter_dtype has it

    def train(self, work: Sequence[Sequence[Texts]], tests: Sequence[Texts] = (), width: int = 0) -> list[float]:
        """As the bank's; `tests` are what each adapter's loss is measured on afterwards, `width` pads every text."""
        last, self.held_out = [], []
        first = self.like.bank.adapters["0"]
        for number, steps in enumerate(work):
            fresh = Adapter(self.like.bank.shapes(), first.rank, first.alpha, "cpu").initialise(number)
            for name, weight in self.model.named_parameters():
                module, mark, _ = name.removeprefix("base_model.model.").partition(".lora_")
                if mark:
                    weight.data.copy_((fresh.A if ".lora_A." in name else fresh.B)[module])
            optimizer = torch.optim.AdamW(self.weights, lr=RATE, weight_decay=0.0, fused=True)
            loss = torch.zeros(())
            for texts in steps:
                ids, mask, labels = _padded(texts, width)
                loss = self.model(input_ids=ids, attention_mask=mask, labels=labels).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            last.append(float(loss.detach()))
            if tests:
                ids, mask, labels = _padded(tests[number])
                with torch.no_grad():
                    self.held_out.append(float(self.model(input_ids=ids, attention_mask=mask, labels=labels).loss))
        return last


def _padded(texts: Texts, width: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    width = max(width, *map(len, texts))
    ids = torch.zeros(len(texts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    return ids, mask, ids.masked_fill(mask == 0, -100)


# ------------------------------------------------------------------ cases


def lab_model() -> Any:
    """4 layers, 128 wide, a vocabulary of 2,048; random, the same at each call."""
    sizes = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(vocab_size=2048, **sizes)).eval().requires_grad_(False)


def lab_bank(count: int) -> Bank:
    model = lab_model()
    model.set_attn_implementation(register())
    anything: Any = None  # neither a tokenizer nor a chat format is needed here
    return Bank(Base(model, anything, anything, "lab", "lab"), count)


def random_work(count: int, steps: int, rows: int, width: int = 32) -> list[list[Texts]]:
    ids = torch.randint(0, 2048, (count, steps, rows, width), generator=torch.Generator().manual_seed(0))
    made: list[list[Texts]] = ids.tolist()
    return made


def lab(name: str, rows: int, repeats: int) -> Case:
    bank = lab_bank(32)
    peer = Peft(lab_model(), bank)
    work = random_work(32, 12, rows)
    return _trained(name, bank, peer, work, repeats, "12 steps of fp32, fused AdamW on both sides")


def edits(data: Path | None) -> list[Case]:
    """Eight adapters, each on the lines of one passage's self-edit, a line a step; other lines on it are held out."""
    base, other = load_base("bundled"), load_base("bundled")
    lines, held = _passages(data)
    texts, tests = ([[base.chat.raw(line)[:96] for line in mine] for mine in part] for part in (lines, held))
    work = [[[line] for line in mine] * SEAL_EPOCHS for mine in texts]
    bank = Bank(base, len(texts), SEAL_RANK, SEAL_ALPHA)
    peer = Peft(other.model, bank)
    other.model.set_attn_implementation("sdpa")
    what = "published self-edits" if data else "handbook sentences in place of self-edits"
    tokens = sum(len(line) for mine in texts for line in mine)
    note = f"{what}: {sum(map(len, texts))} lines of {tokens / sum(map(len, texts)):.0f} tokens, one a step, 10 epochs"
    case = _trained("edits", bank, peer, work, 1, note, tests)
    began = time.perf_counter()
    peer.train([mine[:1] for mine in work[:3]], width=SEAL_WIDTH)
    each = (time.perf_counter() - began) / 3
    whole = each * sum(map(len, work))
    speedup = round(whole / case.bank_seconds, 1)
    note = f"extrapolated from 3 steps of {each:.1f} s, each text padded to {SEAL_WIDTH:,} as SEAL's script does"
    return [case, Case("padded", len(texts), "SEAL's way", round(whole), case.bank_seconds, speedup, None, note)]


def _passages(data: Path | None) -> tuple[list[list[str]], list[list[str]]]:
    """Of eight passages, the lines to study, and others about the same to be tested on."""
    if data is None:
        books = sorted(HANDBOOKS.glob("*.md"))
        read = [book.read_text().replace("\n", " ").split(". ") for book in books if book.stem != "README"]
        long = [[line.strip() for line in lines if len(line.split()) > 4] for lines in read]
        return [lines[:9] for lines in long], [lines[9:] for lines in long]
    found = json.loads((data / "squad" / "seal_eval_100.json").read_text())[:8]
    completions = [item["edits"]["seal_round2"][0] for item in found]
    lines = [[line.strip() for line in text.split("\n") if len(line.split()) > 4][:9] for text in completions]
    asked = [[f"{q['question']} {q['answer']}" for q in item["questions"]] for item in found]
    return lines, asked


def _trained(
    name: str, bank: Bank, peer: Peft, work: list[list[Texts]], repeats: int, note: str, tests: Sequence[Texts] = ()
) -> Case:
    mine, its = ([side.train([steps[:2] for steps in work])] for side in (bank, peer))
    apart = max(abs(a - b) / abs(b) for a, b in zip(mine[0], its[0], strict=True))
    peer_times, bank_times = _in_turns(lambda: peer.train(work, tests), lambda: bank.train(work), repeats)
    tokens = sum(len(text) - 1 for steps in work for texts in steps for text in texts)
    share = _operations(bank, tokens) / statistics.median(bank_times) / peak(bank.bank.base.dtype)
    note += f"; losses after 2 steps within {apart:.1e}; {_spread(peer_times, bank_times)}"
    if tests:
        note += f"; held-out loss {statistics.mean(peer.held_out):.3f} and {statistics.mean(bank.losses(tests)):.3f}"
    return _case(name, len(work), "PEFT one by one", peer_times, bank_times, share, note)


def decode(name: str, repeats: int) -> Case:
    """Eight rows on eight adapters, 48 tokens each."""
    import peft

    base, other = load_base("bundled"), load_base("bundled")
    bank = Bank(base, 8)
    config = peft.LoraConfig(r=RANK, lora_alpha=int(ALPHA), target_modules=sorted(bank.bank.adapters["0"].modules))
    model = peft.get_peft_model(other.model, config, adapter_name="0")
    for number in range(1, 8):
        model.add_adapter(str(number), config)
    other.model.set_attn_implementation("sdpa")
    subjects = ("rivers", "bread", "the moon", "bees", "glass", "chess", "wool", "tides")
    prompts = [base.chat.prompt(f"Tell me a long story about {subject}.") for subject in subjects]

    def its() -> list[list[int]]:
        replies = []
        for number, prompt in enumerate(prompts):
            model.set_adapter(str(number))
            ids = torch.tensor([prompt])
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=48, do_sample=False, pad_token_id=0
            )
            replies.append(out[0, len(prompt) :].tolist())
        return replies

    def mine() -> list[list[int]]:
        return sample(bank.bank, prompts, bank.names, Decoding(max_tokens=48))

    lengths = [sum(map(len, side())) for side in (its, mine)]
    peer_times, bank_times = _in_turns(its, mine, repeats)
    note = f"{lengths[0]} and {lengths[1]} tokens; {_spread(peer_times, bank_times)}"
    return _case(name, 8, "PEFT, switching adapters", peer_times, bank_times, None, note)


def waste(repeats: int = 3) -> list[tuple[str, float, float]]:
    """What the bank leaves out: seconds of one step without it and with it. Four adapters on the bundled model."""
    base = load_base("bundled")
    bank = AdapterBank(base)
    blocks = base.model.config.num_hidden_layers
    names = [str(number) for number in range(4)]
    for seed, name in enumerate(names):
        bank.add(name, Adapter(bank.shapes(range(blocks // 2, blocks)), RANK, ALPHA, "cpu").initialise(seed))
    books = sorted(HANDBOOKS.glob("*.questions.jsonl"))[:4]
    asked = [[json.loads(line) for line in book.read_text().splitlines()][:12] for book in books]
    chat = base.chat

    def pair_of(question: str, answer: str) -> Pair:
        return Pair(tuple(chat.prompt(question)), tuple(chat.target(question, answer)))

    sentences = [line for lines in _passages(None)[0] for line in lines]  # of quite unlike lengths, as answers
    work = {
        name: [pair_of(line["question"], sentences[i]) for i, line in enumerate(lines)]
        for name, lines in zip(names, asked, strict=True)
    }
    width = max(len(pair) for pairs in work.values() for pair in pairs)

    def pad(pair: Pair) -> Pair:
        return Pair((*pair.prompt[:-1], *[0] * (width - len(pair)), pair.prompt[-1]), pair.target)

    padded = {name: [pad(pair) for pair in pairs] for name, pairs in work.items()}
    labelled = {n: [Pair(p.prompt[:1], p.prompt[1:] + p.target) for p in pairs] for n, pairs in work.items()}

    def step(made: Trainer, given: dict[str, list[Pair]]) -> Callable[[], object]:
        for name in names:
            made.join(name, learning_rate=0.0)
        return lambda: made.step(given, lambda labels: -labels.log_probability_L.sum())

    def seconds(run: Callable[[], object]) -> float:
        run()
        return min(_seconds(run) for _ in range(repeats))

    best = seconds(step(Trainer(bank), work))
    unshared = seconds(step(Trainer(bank, share_prefix=False), work))
    found = [
        ("padding to the longest text", unshared, seconds(step(Trainer(bank, share_prefix=False), padded))),
        ("logits where no label is", unshared, seconds(step(Trainer(bank, share_prefix=False), labelled))),
        ("the prefix once for each text", best, unshared),
        ("blocks below the lowest adapted one", best, seconds(step(Trainer(bank, reuse_lower_blocks=False), work))),
        ("one adapter after the other", best, sum(seconds(step_of(bank, name, work[name])) for name in names)),
    ]
    bank.detach()
    whole = AdapterBank(dataclasses.replace(base, model=base.model.float()))
    for seed, name in enumerate(names):
        whole.add(name, Adapter(whole.shapes(range(blocks // 2, blocks)), RANK, ALPHA, "cpu").initialise(seed))
    return [*found, ("fp32 instead of bf16", best, seconds(step(Trainer(whole), work)))]


def step_of(bank: AdapterBank, name: str, pairs: list[Pair]) -> Callable[[], object]:
    trainer = Trainer(bank)
    trainer.join(name, learning_rate=0.0)
    return lambda: trainer.step({name: pairs}, lambda labels: -labels.log_probability_L.sum())


def growth() -> list[tuple[int, float]]:
    """Seconds of one lab step of 1 × 32 tokens for N adapters, best of three."""
    found = []
    for count in (1, 2, 4, 8, 16, 32, 64, 128):
        bank, work = lab_bank(count), random_work(count, 6, 1)
        bank.train(work)
        found.append((count, min(_seconds(lambda b=bank, w=work: b.train(w)) for _ in range(3)) / 6))  # type: ignore[misc]
    return found


# ------------------------------------------------------------------ figures


def _in_turns(its: Callable[[], object], mine: Callable[[], object], repeats: int) -> tuple[list[float], list[float]]:
    pairs = [(_seconds(its), _seconds(mine)) for _ in range(repeats)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _spread(its: Sequence[float], mine: Sequence[float]) -> str:
    ratios = [a / b for a, b in zip(its, mine, strict=True)]
    return f"ratios {min(ratios):.1f} to {max(ratios):.1f}"


def _case(
    name: str, count: int, peer: str, its: Sequence[float], mine: Sequence[float], share: float | None, note: str
) -> Case:
    a, b = statistics.median(its), statistics.median(mine)
    return Case(name, count, peer, round(a, 3), round(b, 3), round(a / b, 2), share and round(share, 3), note)


def _operations(bank: Bank, tokens: int) -> float:
    """Multiply–adds count twice; the first layer's input needs no gradient, which is neglected."""
    head = bank.bank.base.head.weight
    rank = bank.bank.adapters["0"].rank
    linear = sum(s.features_in * s.features_out for s in bank.bank.shapes()) + head.numel()  # type: ignore[operator]
    low = sum(rank * (s.features_in + s.features_out) for s in bank.bank.shapes())
    return 2.0 * tokens * (2 * linear + 3 * low)


def peak(dtype: torch.dtype) -> float:
    """Operations a second of a matmul of 2,048³, best of five."""
    a, b = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
    return 2 * 2048**3 / min(_seconds(lambda: a @ b) for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("lab-1x32", "lab-4x32", "edits", "decode", "waste", "growth")
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument("--repeats", type=int, default=3)
    folder = os.environ.get("GRADATIM_DATA")
    parser.add_argument("--data", type=Path, default=Path(folder) if folder else None)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    work: dict[str, Callable[[], list[Case]]] = {
        "lab-1x32": lambda: [lab("lab-1x32", 1, chosen.repeats)],
        "lab-4x32": lambda: [lab("lab-4x32", 4, chosen.repeats)],
        "edits": lambda: edits(chosen.data),
        "decode": lambda: [decode("decode", chosen.repeats)],
    }
    cases = [case for name in chosen.only if name in work for case in _told(work[name]())]
    wasted = waste() if "waste" in chosen.only else []
    for name, without, with_ in wasted:
        print(f"{name:38} {without:6.3f} s a step without, {with_:6.3f} s with, {with_ / without:.2f}×", flush=True)
    grown = growth() if "growth" in chosen.only else []
    for count, seconds in grown:
        print(f"{count:4} adapters: {1000 * seconds:7.1f} ms a step, {1000 * seconds / count:6.2f} ms an adapter")
    print(json.dumps({"cases": [asdict(case) for case in cases], "waste": wasted, "growth": grown}))


def _told(cases: list[Case]) -> list[Case]:
    for case in cases:
        share = "" if case.peak_share is None else f", {case.peak_share:.0%} of the peak"
        print(f"{case.name:10} {case.adapters:3} adapters  {case.peer}: {case.peer_seconds:.2f} s, bank "
              f"{case.bank_seconds:.2f} s, {case.speedup:.1f}×{share}  ({case.note})", flush=True)  # fmt: skip
    return cases


if __name__ == "__main__":
    main()
