"""One step on handbooks: what is learnt, what is kept, what it takes.

    python benchmarks/step.py [--only NAME …] [--kept] [--second] [--seeds N] [--keep DIR] [--show]

For each handbook a fresh workspace on the bundled model takes one step, and the handbook's reworded questions, which
the step never sees, are asked closed book before and after. `kept` is the share of base skills the base had right that
the released model still has, decoded in full. With `--second`, the next handbook is learnt on top, and `first_after`
is what remains of the first one's right answers. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path

from gradatim.charter import DEFAULT_PATH
from gradatim.judge import is_right, skill_suite
from gradatim.model.base import load_base
from gradatim.observe.documents import read_document
from gradatim.release.answering import Answerer
from gradatim.step import StepOptions, take_step
from gradatim.workspace import Workspace
from gradatim.writing.words import contains

HANDBOOKS = Path(__file__).with_name("handbooks")


class Lines:
    """Progress as plain lines with times."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def phase(self, name: str, total: float | None = None) -> None:
        print(f"    {time.monotonic() - self.began:6.1f} s  {name}", flush=True)

    def advance(self, amount: float = 1.0) -> None:
        return

    def say(self, text: str) -> None:
        self.phase(text)


def learn(workspace: Workspace, name: Path, seed: int) -> dict[str, object]:
    document = read_document(name)
    workspace.records.add_document(document, workspace.blobs.put(document.text.encode()))
    began = time.monotonic()
    report = take_step(workspace, StepOptions(seed=seed), Lines())
    checks = {check.name: round(check.estimate, 3) for verdict in report.verdicts for check in verdict.checks}
    return {
        "outcome": report.outcome,
        "seconds": round(time.monotonic() - began, 1),
        "trained": sum(candidate.tokens for candidate in report.candidates),
        "joules": round(report.cost.joules),
        "reason": report.reason,
        "checks": checks,
    }


def ask(answerer: Answerer, name: Path, show: bool = False) -> list[bool]:
    lines = name.with_suffix(".questions.jsonl").read_text().splitlines()
    questions = [json.loads(line) for line in lines]
    replies = answerer.ask([question["question"] for question in questions])
    right = [contains(reply, q["accepted"]) for q, reply in zip(questions, replies, strict=True)]
    for ok, question, reply in zip(right, questions, replies, strict=True):
        if show:
            print("     ", "+" if ok else "-", question["question"], "|", reply, flush=True)
    return right


def skills(answerer: Answerer) -> list[bool]:
    suite = skill_suite()
    replies = answerer.ask([question.question for question in suite])
    return [is_right(question, reply) for question, reply in zip(suite, replies, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--kept", action="store_true", help="the two handbooks that nothing was tuned on")
    parser.add_argument("--second", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the workspaces")
    parser.add_argument("--show", action="store_true")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    every = sorted((HANDBOOKS / "kept" if chosen.kept else HANDBOOKS).glob("*.md"))
    every = [book for book in every if book.stem != "README"]
    books = [book for book in every if not chosen.only or book.stem in chosen.only]
    base = load_base("bundled")
    rows = []
    base_skills: list[bool] = []
    for seed in range(chosen.seeds):
        for book in books:
            with contextlib.ExitStack() as stack:
                if chosen.keep:
                    folder = chosen.keep / f"{book.stem}-{seed}"
                else:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                charter = DEFAULT_PATH.read_text()
                workspace = Workspace.create(folder / "w", {"source": "bundled", "digest": base.digest}, charter)
                answerer = Answerer.open(workspace)
                before = ask(answerer, book)
                base_skills = base_skills or skills(answerer)
                row = {"handbook": book.stem, "seed": seed, **learn(workspace, book, seed)}
                answerer = Answerer.open(workspace)
                after = ask(answerer, book, chosen.show)
                still = [new for old, new in zip(base_skills, skills(answerer), strict=True) if old]
                row |= {
                    "base": round(statistics.mean(before), 3),
                    "right": round(statistics.mean(after), 3),
                    "kept": round(statistics.mean(still), 3),
                    "base_skills": sum(base_skills),
                }
                if chosen.second:
                    other = every[(every.index(book) + 1) % len(every)]
                    second = learn(workspace, other, seed)
                    answerer = Answerer.open(workspace)
                    again, new = ask(answerer, book), ask(answerer, other)
                    had = [now for then, now in zip(after, again, strict=True) if then]
                    row |= {
                        "second_outcome": second["outcome"],
                        "second_right": round(statistics.mean(new), 3),
                        "first_after": round(statistics.mean(had), 3) if had else None,
                    }
                rows.append(row)
                print(json.dumps(row), flush=True)
    means = {
        key: round(statistics.mean(float(row[key]) for row in rows), 3) for key in ("base", "right", "kept", "seconds")
    }
    print(json.dumps({"means": means, "rows": rows}))


if __name__ == "__main__":
    main()
