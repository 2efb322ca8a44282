"""The adapter bank beside PEFT: the same trainings one after the other there, in the same passes here.

    python benchmarks/bank.py [--only NAME …] [--repeats N] [--data DIR] [--grow]

Both sides start from the same adapters and see the same tokens in the same order; how far their losses are apart after
two steps is printed with each case. Peer and bank then take turns, `--repeats` times, and the table gives the ratio of
the medians with the least and greatest ratio of two neighbouring turns. `peak_share` is the share of the matmul peak,
measured in the same run, that the bank's training does: base and adapter products forward, backward to the inputs, and
the adapters' own gradients; attention and element-wise work count as nothing.

`--data DIR` is a folder with `squad/seal_eval_100.json` (100 SQuAD passages with the self-edits published with SEAL,
arXiv 2506.10943); without it, sentences of this project's handbooks stand in, nine to an adapter. `--grow` adds the
time of one lab step against the number of adapters. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
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
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from gradatim.model.adapter import Adapter
from gradatim.model.attention import register
from gradatim.model.bank import AdapterBank
from gradatim.model.base import Base, load_base
from gradatim.model.packing import Pair, pack_groups
from gradatim.model.sampling import Decoding, sample
from gradatim.model.scoring import label_logits

HANDBOOKS = Path(__file__).with_name("handbooks")
RANK, ALPHA, RATE = 8, 16.0, 1e-3
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

    def __init__(self, base: Base, count: int) -> None:
        self.bank = AdapterBank(base)
        self.names = [str(number) for number in range(count)]
        for seed, name in enumerate(self.names):
            self.bank.add(name, Adapter(self.bank.shapes(), RANK, ALPHA, "cpu").initialise(seed))

    def train(self, steps: Sequence[Sequence[Texts]]) -> list[float]:
        """`steps[s][n]`: the texts of adapter n in step s. Starts afresh; returns each adapter's last loss."""
        for seed, name in enumerate(self.names):
            self.bank.adapters[name].initialise(seed)
        self.bank.stack(self.names)
        adapters = [self.bank.adapters[name] for name in self.names]
        optimizers = [torch.optim.AdamW([a.flat], lr=RATE, weight_decay=0.0, fused=True) for a in adapters]
        last: list[float] = []
        for step in steps:
            groups = [[Pair(tuple(ids[:1]), tuple(ids[1:])) for ids in texts] for texts in step]
            packed = pack_groups(groups)
            logits = label_logits(self.bank, packed, self.names).float()
            nll = F.cross_entropy(logits, packed.labels_L, reduction="none")
            owner = torch.tensor([n for n, group in enumerate(groups) for _ in group])[packed.pairs_L]
            losses = nll.new_zeros(len(groups)).index_add(0, owner, nll) / torch.bincount(owner)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            for adapter, optimizer in zip(adapters, optimizers, strict=True):
                optimizer.step()
                adapter.gradient.zero_()
            last = losses.detach().tolist()
        return last


class Peft:
    """One training after the other, on one model under PEFT whose adapter is set back in between."""

    def __init__(self, model: Any, count: int, like: Bank) -> None:
        import peft

        first = like.bank.adapters["0"]
        config = peft.LoraConfig(r=RANK, lora_alpha=int(ALPHA), target_modules=sorted(first.modules))
        self.model = peft.get_peft_model(model, config)
        self.count, self.like = count, like
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        for weight in self.weights:
            weight.data = weight.data.float()  # as PEFT's autocast_adapter_dtype has it

    def train(self, steps: Sequence[Sequence[Texts]]) -> list[float]:
        last = []
        for number in range(self.count):
            fresh = Adapter(self.like.bank.shapes(), RANK, ALPHA, "cpu").initialise(number)
            for name, weight in self.model.named_parameters():
                module, mark, _ = name.removeprefix("base_model.model.").partition(".lora_")
                if mark:
                    weight.data.copy_((fresh.A if ".lora_A." in name else fresh.B)[module])
            optimizer = torch.optim.AdamW(self.weights, lr=RATE, weight_decay=0.0, fused=True)
            loss = torch.zeros(())
            for step in steps:
                ids, mask, labels = _padded(step[number])
                loss = self.model(input_ids=ids, attention_mask=mask, labels=labels).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            last.append(float(loss))
        return last


def _padded(texts: Texts) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    width = max(map(len, texts))
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


def random_steps(steps: int, count: int, rows: int, width: int = 32) -> list[list[Texts]]:
    ids = torch.randint(0, 2048, (steps, count, rows, width), generator=torch.Generator().manual_seed(0))
    made: list[list[Texts]] = ids.tolist()
    return made


def lab(name: str, rows: int, repeats: int) -> Case:
    bank = lab_bank(32)
    peer = Peft(lab_model(), 32, bank)
    steps = random_steps(12, 32, rows)
    return _trained(name, bank, peer, steps, repeats, 32, "12 steps of fp32, fused AdamW on both sides")


def edits(name: str, data: Path | None, repeats: int) -> Case:
    """Eight adapters, each on the sentences of one passage, four of SEAL's ten epochs."""
    base, other = load_base("bundled"), load_base("bundled")
    texts = [[base.chat.raw(line)[:96] for line in lines] for lines in _passages(data)]
    bank = Bank(base, len(texts))
    peer = Peft(other.model, len(texts), bank)
    other.model.set_attn_implementation("sdpa")
    what = "published self-edits" if data else "handbook sentences in their place"
    note = f"4 epochs of {what}, {sum(len(t) for t in texts[0])} tokens in the first, all of a passage in a batch, bf16"
    return _trained(name, bank, peer, [texts] * 4, repeats, len(texts), note)


def _passages(data: Path | None) -> list[list[str]]:
    if data is None:
        books = [*sorted(HANDBOOKS.glob("*.md")), *sorted((HANDBOOKS / "kept").glob("*.md"))]
        read = [book.read_text().replace("\n", " ").split(". ") for book in books if book.stem != "README"]
        return [[line.strip() for line in lines if len(line.split()) > 4][:9] for lines in read][:8]
    found = json.loads((data / "squad" / "seal_eval_100.json").read_text())
    completions = [item["edits"]["seal_round2"][0] for item in found[:8]]
    return [[line.strip() for line in text.split("\n") if len(line.split()) > 4][:9] for text in completions]


def _trained(name: str, bank: Bank, peer: Peft, steps: list[list[Texts]], repeats: int, count: int, note: str) -> Case:
    mine, its = bank.train(steps[:2]), peer.train(steps[:2])
    apart = max(abs(a - b) / abs(b) for a, b in zip(mine, its, strict=True))
    peer_times, bank_times = _in_turns(lambda: peer.train(steps), lambda: bank.train(steps), repeats)
    tokens = sum(len(text) - 1 for step in steps for texts in step for text in texts)
    share = _operations(bank, tokens) / statistics.median(bank_times) / peak(bank.bank.base.dtype)
    note += f"; losses after 2 steps within {apart:.1e}; {_spread(peer_times, bank_times)}"
    return _case(name, count, "PEFT one by one", peer_times, bank_times, share, note)


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


def grow() -> list[tuple[int, float]]:
    """Seconds of one lab step of 1 × 32 tokens for N adapters, best of three."""
    found = []
    for count in (1, 2, 4, 8, 16, 32, 64, 128):
        bank, steps = lab_bank(count), random_steps(6, count, 1)
        bank.train(steps)
        found.append((count, min(_seconds(lambda b=bank, s=steps: b.train(s)) for _ in range(3)) / len(steps)))
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
    linear = sum(s.features_in * s.features_out for s in bank.bank.shapes()) + head.numel()  # type: ignore[operator]
    low = sum(RANK * (s.features_in + s.features_out) for s in bank.bank.shapes())
    return 2.0 * tokens * (2 * linear + 3 * low)


def peak(dtype: torch.dtype) -> float:
    """Operations a second of a matmul of 2,048³, best of five."""
    a, b = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
    return 2 * 2048**3 / min(_seconds(lambda: a @ b) for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("lab-1x32", "lab-4x32", "edits", "decode")
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument("--repeats", type=int, default=3)
    folder = os.environ.get("GRADATIM_DATA")
    parser.add_argument("--data", type=Path, default=Path(folder) if folder else None)
    parser.add_argument("--grow", action="store_true")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    work: dict[str, Callable[[], Case]] = {
        "lab-1x32": lambda: lab("lab-1x32", 1, chosen.repeats),
        "lab-4x32": lambda: lab("lab-4x32", 4, chosen.repeats),
        "edits": lambda: edits("edits", chosen.data, max(1, chosen.repeats // 3)),
        "decode": lambda: decode("decode", chosen.repeats),
    }
    cases = []
    for name in chosen.only:
        case = work[name]()
        cases.append(case)
        share = "" if case.peak_share is None else f", {case.peak_share:.0%} of the peak"
        print(f"{name:10} {case.adapters:3} adapters  {case.peer}: {case.peer_seconds:.2f} s, bank "
              f"{case.bank_seconds:.2f} s, {case.speedup:.1f}×{share}  ({case.note})", flush=True)  # fmt: skip
    growth = grow() if chosen.grow else []
    for count, seconds in growth:
        print(f"{count:4} adapters: {1000 * seconds:7.1f} ms a step, {1000 * seconds / count:6.2f} ms an adapter")
    print(json.dumps({"cases": [asdict(case) for case in cases], "growth": growth}))


if __name__ == "__main__":
    main()
