"""What an update without guards does to a model: several seeds, each held against the charter's bound on forgetting.

    python benchmarks/unguarded.py [--seeds 5] [--handbook FILE]

The study material is written once, as a step would write it; then one adapter for each seed is trained on it without
replay, penalty or gate, a third as long as a guarded candidate, all of them in the same passes. Asked are the base
skills the base had right. The last line is one JSON object; `refused` counts
the seeds whose forgetting alone fails the charter, interval and all.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from gradatim import phases
from gradatim.charter import DEFAULT_PATH, Charter
from gradatim.judge import is_right, skill_suite
from gradatim.judge.measure import MAX_SKILL_REPLY
from gradatim.judge.statistics import share
from gradatim.learn import Trainee, train
from gradatim.model.adapter import Adapter
from gradatim.model.base import load_base
from gradatim.observe.documents import read_document
from gradatim.progress import SILENT
from gradatim.recall import Minds
from gradatim.types import StudyExample, TrainingPlan
from gradatim.watch.cost import Meter
from gradatim.workbench import Workbench
from gradatim.workspace import Workspace

HANDBOOK = Path(phases.__file__).with_name("demo") / "handbook.md"


def study_material(bench: Workbench, handbook: Path) -> tuple[StudyExample, ...]:
    document = read_document(handbook)
    bench.workspace.records.add_document(document, bench.workspace.blobs.put(document.text.encode()))
    evidence = phases.observe(bench)
    diagnosis = phases.diagnose_weakness(bench, evidence, seed=0)
    exam = phases.seal(bench, evidence, diagnosis, seed=0)
    return phases.propose(bench, evidence, diagnosis, exam, None, False, seed=0)[0].examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--handbook", type=Path, default=HANDBOOK)
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    began = time.monotonic()
    suite = skill_suite()
    with tempfile.TemporaryDirectory() as folder, Meter() as meter:
        digest = load_base("bundled").digest
        source = {"source": "bundled", "digest": digest}
        workspace = Workspace.create(Path(folder) / "w", source, DEFAULT_PATH.read_text())
        charter = Charter.load(workspace.charter_path)
        bench = Workbench(workspace, charter, meter, SILENT, workspace.registry.live())
        study, bank = study_material(bench, chosen.handbook), bench.bank
        plan = TrainingPlan(guarded=False)
        trainees = []
        for seed in range(chosen.seeds):
            p = replace(plan, seed=seed, tokens=plan.tokens // 3)
            made = Adapter(phases.shapes_of(bank, p), p.rank, p.alpha, "cpu").initialise(seed)
            trainees.append(Trainee(f"unguarded {seed}", bank.add(f"unguarded {seed}", made), study, p, ()))
        logs = train(bank, trainees)
        had = [is_right(q, reply) for q, reply in zip(suite, bench.suite_replies(suite), strict=True)]
        rows = []
        for trainee in trainees:
            minds = Minds(bank, {trainee.name: None})
            replies = minds.reply([q.question for q in suite], max_tokens=MAX_SKILL_REPLY)
            kept = [is_right(q, r.text) for q, r, before in zip(suite, replies, had, strict=True) if before]
            lost, low, high = share(len(kept) - sum(kept), len(kept), charter.gate.confidence)
            row = {"seed": trainee.plan.seed, "trained": logs[trainee.name].tokens, "lost": round(lost, 3)}
            row |= {"low": round(low, 3), "high": round(high, 3), "refused": low > charter.gate.most_forgetting}
            rows.append(row)
            print(json.dumps(row), flush=True)
    summary = {"base_skills": sum(had), "bound": charter.gate.most_forgetting}
    summary |= {"refused": sum(bool(row["refused"]) for row in rows), "of": len(rows)}
    print(json.dumps({**summary, "seconds": round(time.monotonic() - began), "rows": rows}))


if __name__ == "__main__":
    main()
