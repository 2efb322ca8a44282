"""The corridor: one step, in order. Each phase is durable: killed at any moment, the next call finishes the step.

    observe → diagnose → seal → propose → learn → judge → release → watch

`seal` is the judge's: it writes the exam before anything is proposed, and lets only fingerprints out. A phase's result
is a blob named by a ledger entry; a finished phase is read back, never run again. What the rooms do is theirs; what
goes from one to the next is here.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass

from gradatim import phases
from gradatim.charter import Charter
from gradatim.journal import Journal
from gradatim.judge.exam import Exam
from gradatim.progress import SILENT, Progress
from gradatim.store.announced import Announced
from gradatim.types import Candidate, Cost, Diagnosis, Evidence, StepReport, StudySet, Verdict
from gradatim.watch.cost import Meter
from gradatim.workbench import Workbench, prepare
from gradatim.workspace import Workspace


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What a caller may ask of a step."""

    controls: bool = False  # also train on the raw text at the same budget
    unguarded: bool = False  # also train a candidate without any guard: a control that ought to be refused
    strategy: str | None = None  # force one edit strategy
    seed: int = 0


NO_OPTIONS = StepOptions()


def take_step(workspace: Workspace, options: StepOptions = NO_OPTIONS, progress: Progress = SILENT) -> StepReport:
    """Take one step, or finish the one that was interrupted.

    Raises CharterError, WorkspaceError (another step is running), ModelError and IntegrityError. Whatever the outcome,
    it is in the ledger; `nothing-to-do` is not, unless a step had begun.
    """
    charter = Charter.load(workspace.charter_path)
    with workspace.lock(), ExitStack() as metered:
        if not phases.unfinished(workspace):
            if not phases.waiting(workspace):
                return StepReport(
                    "", "nothing-to-do", (), (), None, Cost(), "No new document or correction is waiting."
                )
            prepare(workspace, progress)
        meter = metered.enter_context(Meter())
        inputs = {"options": asdict(options), "charter": charter.digest, "live": workspace.registry.live_id()}
        run = Journal.begin_or_resume(workspace.ledger, workspace.blobs, inputs)
        live = workspace.registry.get(run.inputs["live"])
        announced = Announced(progress, run.announcement)
        bench = Workbench(workspace, charter, meter, announced, live)
        return _walk(run, bench, StepOptions(**run.inputs["options"]))


def _walk(run: Journal, bench: Workbench, options: StepOptions) -> StepReport:
    seed = options.seed * 1000 + int(run.step.rpartition("-")[2])  # another try is another draw
    evidence = run.phase("observe", Evidence, lambda: phases.observe(bench))
    diagnosis = run.phase("diagnose", Diagnosis, lambda: phases.diagnose_weakness(bench, evidence, seed))
    candidates: tuple[Candidate, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    if diagnosis.weaknesses:
        exam = run.phase("seal", Exam, lambda: phases.seal(bench, evidence, diagnosis, seed))
        studies = run.phase(
            "propose",
            tuple[StudySet, ...],
            lambda: phases.propose(bench, evidence, diagnosis, exam, options.strategy, options.controls, seed),
        )
        candidates = run.phase(
            "learn",
            tuple[Candidate, ...],
            lambda: phases.learn(bench, evidence, studies, run.partial("learn"), options.unguarded, seed),
        )
        verdicts = run.phase("judge", tuple[Verdict, ...], lambda: phases.judge(bench, evidence, exam, candidates))
    decision = run.phase(
        "release",
        phases.Decision,
        lambda: phases.release(bench, run.step, candidates, verdicts),
    )
    cost = run.phase("watch", Cost, lambda: phases.watch(bench, run.step, evidence, decision, candidates, verdicts))
    report = StepReport(run.step, decision.outcome, candidates, verdicts, decision.release, cost, decision.reason)
    run.finish(decision.outcome, bench.workspace.blobs.put_json(report))
    return report
