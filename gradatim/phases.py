"""What each phase of a step does, built from the rooms' parts. The order is told in `step.py`.

Every function may be run again after a kill, so each only computes, or does what is idempotent: blobs and adapters are
named by their digests, marks on records are set to the same value, and a release that is made or promoted twice is
made or promoted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gradatim import __version__
from gradatim.approvals import want_rollout
from gradatim.diagnose import diagnose
from gradatim.errors import InputError
from gradatim.judge import Exam, Thresholds, answered_in_context, skill_suite, verdict, write_exam
from gradatim.judge.measure import measure, right
from gradatim.learn import Trainee, train
from gradatim.model.adapter import Adapter, ModuleShape
from gradatim.model.bank import AdapterBank
from gradatim.observe.corrections import Correction, correction_passages
from gradatim.observe.passages import split_passages
from gradatim.observe.screening import screen
from gradatim.observe.standing import standing_passages
from gradatim.observe.subject import name_subjects
from gradatim.propose import Material, admit, build, choose_strategy
from gradatim.propose.filters import fingerprint
from gradatim.recall import Studied
from gradatim.store.canonical import canonical, digest_of
from gradatim.store.records import load_document
from gradatim.types import (
    Candidate,
    Cost,
    Diagnosis,
    Digest,
    Document,
    Evidence,
    Feedback,
    Passage,
    Quarantined,
    Question,
    StudyExample,
    StudySet,
    TrainingPlan,
    Verdict,
)
from gradatim.watch.cost import exceeds
from gradatim.workbench import Workbench, study_prompts
from gradatim.workspace import Workspace
from gradatim.writing.facts import Fact, find_facts
from gradatim.writing.questions import accepted_answers, attribute, title_of, write_questions
from gradatim.writing.restatements import write_implications, write_restatements, write_thesaurus
from gradatim.writing.words import contains

REPLAY_COUNT = 96
WRITTEN_LISTS = 8  # of prompts, by the writer, for each passage
QUESTIONS = 32  # attempts for each fact; about half of them are kept
RAW = "raw text"
CONTEXT_CHARACTERS = 6000


@dataclass(frozen=True, slots=True)
class Decision:
    """How a step ends: its outcome, why, and the release that was made."""

    outcome: Literal["released", "awaiting-approval", "awaiting-rollout", "rejected", "inconclusive", "nothing-to-do"]
    reason: str
    candidate: str | None = None
    release: str | None = None


def unfinished(workspace: Workspace) -> bool:
    """Whether a step was begun and not finished."""
    begun = sum(1 for _ in workspace.ledger.entries("step-begun"))
    return begun > sum(1 for _ in workspace.ledger.entries("step-finished"))


def waiting(workspace: Workspace) -> bool:
    """Whether any record is new."""
    return bool(workspace.records.documents("new") or workspace.records.feedback("new"))


# ------------------------------------------------------------------ observe


def observe(bench: Workbench) -> Evidence:
    """New documents and corrections, less what the charter forbids and what a person would not believe."""
    bench.progress.phase("observe")
    records, blobs, charter = bench.workspace.records, bench.workspace.blobs, bench.charter
    documents = [load_document(record, blobs) for record in records.documents("new")]
    feedback = [record.feedback for record in records.feedback("new")]
    received: list[Document | Feedback] = [*documents, *feedback]
    refused = [
        Quarantined(item.id, f"its source {item.provenance.source} is not allowed ({charter.line('sources.allow')})")
        for item in received
        if not charter.allows_source(item.provenance.source)
    ]
    barred = {item.record for item in refused}
    passages = [p for document in documents if document.id not in barred for p in _passages(document)]
    trusted = [p for record in records.documents("studied") for p in _passages(load_document(record, blobs))]
    screened = screen(
        passages,
        trusted,
        [item for item in feedback if item.id not in barred],
        earlier=[record.feedback for record in records.feedback("studied")],
        released=records.quarantine.released(),
        trust=charter.trust,
    )
    quarantined = (*refused, *screened.quarantined)
    doubted = {item.record for item in quarantined}
    corrections = tuple(item for item in screened.feedback if item.correction)
    return Evidence(
        tuple(document for document in documents if document.id not in doubted),
        (
            *name_subjects(standing_passages(screened.passages)),
            *(correction.passage for correction in correction_passages(corrections)),
        ),
        corrections,
        quarantined,
        tuple(item.id for item in screened.feedback if item.id not in doubted),
    )


def _passages(document: Document) -> tuple[Passage, ...]:
    try:
        return split_passages(document)
    except InputError:
        return ()


# ----------------------------------------------------------------- diagnose


def diagnose_weakness(bench: Workbench, evidence: Evidence, seed: int) -> Diagnosis:
    """The passages the live model can't answer for, by questions it writes with the passage in view."""
    if not evidence.passages:
        return Diagnosis((), (), (), 0, 0)
    passages = evidence.passages
    asker = bench.asker
    bench.progress.phase("diagnose: writing questions", QUESTIONS * 3 * len(passages))
    facts = find_facts(bench.bank, passages)
    written = write_questions(
        asker, passages, facts, each=QUESTIONS, seed=seed, temperature=0.85, advance=bench.progress.advance
    )
    bench.progress.phase("diagnose: which passage does each point at", None)
    questions, _ = attribute(asker, passages, facts, written)
    asked = [
        Question(digest_of(text.encode())[:16], text, _accepted(facts[index]), correction.passage.id)
        for correction in _corrections(evidence)
        for index in [passages.index(correction.passage)]
        for text in correction.questions
    ]
    bench.progress.phase("diagnose: asking", 3 * len(passages))
    return diagnose(passages, [*asked, *questions], bench.ask_live)


def _corrections(evidence: Evidence) -> tuple[Correction, ...]:
    return correction_passages(evidence.corrections)


def _accepted(facts: Sequence[Fact]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(answer for fact in facts[:1] for answer in accepted_answers(fact)))


# --------------------------------------------------------------------- seal


def seal(bench: Workbench, evidence: Evidence, diagnosis: Diagnosis, seed: int) -> Exam:
    """The sealed exam over the weak passages; one wording of each correction is held out for it."""
    weak = _weak(evidence, diagnosis)
    bench.progress.phase("seal: writing the exam", 3 * 3 * len(weak))
    facts = find_facts(bench.bank, weak)
    held = []
    for correction in _corrections(evidence):
        text = _held_out(correction)
        if correction.passage in weak and text:
            accepted = _accepted(facts[weak.index(correction.passage)])
            held.append(Question(digest_of(text.encode())[:16], text, accepted, correction.passage.id))
    by_person = [*held, *questions_by_person(bench.workspace, weak)]
    return write_exam(bench.bank, weak, facts, by_person, seed + 1, advance=bench.progress.advance)


def _weak(evidence: Evidence, diagnosis: Diagnosis) -> tuple[Passage, ...]:
    wanted = {weakness.passage for weakness in diagnosis.weaknesses}
    return tuple(passage for passage in evidence.passages if passage.id in wanted)


def _held_out(correction: Correction) -> str | None:
    """The wording of a correction's question that is never trained on: the last, where there are at least three."""
    return correction.questions[-1] if len(correction.questions) >= 3 else None


def questions_by_person(workspace: Workspace, passages: Sequence[Passage]) -> Iterator[Question]:
    """What people asked about the passages' documents, each with the first passage that answers it, if one does."""
    for entry in workspace.ledger.entries("questions"):
        own = [passage for passage in passages if passage.document == entry.body["document"]]
        for line in workspace.blobs.get_json(entry.body["blob"], list[dict[str, object]]) if own else []:
            text, accepted = str(line["question"]), tuple(str(one) for one in line["accepted"])  # type: ignore[attr-defined]
            home = next((passage for passage in own if contains(passage.text, accepted)), own[0])
            yield Question(digest_of(text.encode())[:16], text, accepted, home.id)


# ------------------------------------------------------------------ propose


def propose(
    bench: Workbench,
    evidence: Evidence,
    diagnosis: Diagnosis,
    exam: Exam,
    forced: str | None,
    controls: bool,
    seed: int,
) -> tuple[StudySet, ...]:
    """The study set of the chosen strategy; with `controls` also the raw passages."""
    weak = _weak(evidence, diagnosis)
    bench.progress.phase("propose: rewording", 6 * len(weak))
    advance = bench.progress.advance
    material = Material(
        weak,
        tuple(tuple(found) for found in find_facts(bench.bank, weak)),
        tuple(question for question in diagnosis.questions if question.passage in {p.id for p in weak}),
        tuple(write_restatements(bench.bank, weak, each=2, seed=seed, advance=advance)),
        tuple(write_implications(bench.bank, weak, each=2, seed=seed, advance=advance)),
        write_thesaurus(bench.bank, weak, seed=seed, advance=advance),
        tuple(
            (correction.passage.id, text)
            for correction in _corrections(evidence)
            if correction.passage in weak
            for text in correction.questions
            if text != _held_out(correction)
        ),
        _written(bench, weak, seed),
    )
    strategy = forced or choose_strategy(bench.workspace.records.outcomes(), writer=bool(material.written))
    sealed = frozenset(fingerprint(question.text) for question in exam.questions)
    examples, dropped = admit(build(strategy, material, seed), sealed)
    studies = [StudySet(strategy, examples, dropped)]
    if controls:
        raw = tuple(StudyExample(p.context or "Text", p.text, "raw", p.id) for p in weak)
        studies.append(StudySet(RAW, raw))
    return tuple(studies)


def _written(bench: Workbench, passages: Sequence[Passage], seed: int) -> tuple[tuple[str, str], ...]:
    """What the workspace's writer would study, where it has one."""
    if bench.writer is None:
        return ()
    bench.progress.phase("propose: as the writer learnt to", None)
    found = bench.writer.write([(title_of(p), p.text) for p in passages], each=WRITTEN_LISTS, seed=seed)
    return tuple((p.id, prompt) for p, prompts in zip(passages, found, strict=True) for prompt in prompts)


# -------------------------------------------------------------------- learn


def learn(
    bench: Workbench, evidence: Evidence, studies: Sequence[StudySet], scratch: Path, unguarded: bool, seed: int
) -> tuple[Candidate, ...]:
    """Train all candidates in the same passes; each guarded one replays the base's answers and gets a gate."""
    replay = bench.replay(REPLAY_COUNT)
    plan = TrainingPlan(seed=seed)
    wanted = [("guarded" if study.strategy != RAW else "control", study, plan) for study in studies]
    if unguarded:
        wanted.append(("unguarded", studies[0], replace(plan, guarded=False, tokens=plan.tokens // 3)))
    trainees = [
        Trainee(
            name,
            bench.bank.add(name, Adapter(shapes_of(bench.bank, p), p.rank, p.alpha, "cpu").initialise(seed)),
            study.examples,
            p,
            replay if p.guarded else (),
        )
        for name, study, p in wanted
    ]
    bench.progress.phase("learn", sum(trainee.plan.tokens for trainee in trainees))
    logs = train(bench.bank, trainees, bench.progress.advance, bench.out_of_budget)
    candidates = []
    for trainee, (name, study, p) in zip(trainees, wanted, strict=True):
        gate = bench.fit_gate(study.examples, _earlier_questions(bench.workspace)) if p.guarded else None
        texts = {example.target for example in study.examples}
        told = [(one.text, title_of(one)) for one in evidence.passages if one.text in texts]
        studied = Studied.of(told, bench.bank.base.chat, bench.asker.adapter)
        digest = bench.store(trainee.adapter, gate, studied if p.guarded else None, scratch)
        bench.bank.remove(name)
        log = logs[name]
        study_digest = bench.workspace.blobs.put_json(study)
        candidates.append(Candidate(name, study.strategy, p, study_digest, digest, log.curve(), log.tokens))
    return tuple(candidates)


def shapes_of(bank: AdapterBank, plan: TrainingPlan) -> list[ModuleShape]:
    """The modules that the plan adapts: those above the blocks it leaves frozen."""
    blocks = bank.base.model.config.num_hidden_layers
    return bank.shapes(range(int(plan.frozen * blocks), blocks))


def _earlier_questions(workspace: Workspace) -> list[str]:
    """What the live adapters studied, spread over each one's prompts, and what their exams asked."""
    asked = [question.text for exam in earlier_exams(workspace) for question in exam.questions]
    live = workspace.registry.live().adapters
    for entry in workspace.ledger.entries("phase"):
        if entry.body["phase"] == "learn":
            for candidate in workspace.blobs.get_json(entry.body["result"], tuple[Candidate, ...]):
                if candidate.adapter in live:
                    asked += study_prompts(workspace.blobs.get_json(candidate.study, StudySet).examples)
    return asked


def earlier_exams(workspace: Workspace) -> list[Exam]:
    """The exams of the steps that the live release is built on."""
    lineage = set()
    release = workspace.registry.live()
    while release.step:
        lineage.add(release.step)
        if release.parent is None:
            break
        release = workspace.registry.get(release.parent)
    return [
        workspace.blobs.get_json(entry.body["result"], Exam)
        for entry in workspace.ledger.entries("phase")
        if entry.body["phase"] == "seal" and entry.body["step"] in lineage
    ]


# -------------------------------------------------------------------- judge


def judge(bench: Workbench, evidence: Evidence, exam: Exam, candidates: Sequence[Candidate]) -> tuple[Verdict, ...]:
    """A verdict for each candidate, all on the same questions, beside the same controls."""
    suite, charter = skill_suite(), bench.charter
    lessons = [question for earlier in earlier_exams(bench.workspace) for question in earlier.questions]
    bench.progress.phase("judge: what the base can do", len(suite))
    of_base = bench.suite_replies(suite)
    bench.progress.phase("judge: controls", 2 * len(exam.questions))
    before = right(exam.questions, bench.ask_live([q.text for q in exam.questions]))
    lessons_before = _lessons_before(bench, lessons)
    controls = {"no update": _share(before), "document in context": _share(_in_context(bench, evidence, exam))}
    verdicts = []
    for candidate in candidates:
        bench.progress.phase(f"judge: {candidate.name}", len(exam.questions) + len(lessons))
        measured = measure(
            bench.minds_with(candidate),
            exam=exam.questions,
            exam_before=before,
            lessons=lessons,
            lessons_before=lessons_before,
            suite=suite,
            of_base=of_base,
            controls=controls,
            confidence=charter.gate.confidence,
            advance=bench.progress.advance,
        )
        if candidate.strategy == RAW:
            controls[RAW] = _share(measured.exam.after)
        after = zip((*lessons, *exam.questions), (*measured.lessons.after, *measured.exam.after), strict=True)
        answers = {_asked_of(question): ok for question, ok in after}
        said = verdict(candidate.name, measured, _thresholds(bench))
        verdicts.append(replace(said, answers=answers, judged_by=_judged_by(bench)))
    return tuple(replace(one, controls=dict(controls)) for one in verdicts)


def _lessons_before(bench: Workbench, lessons: Sequence[Question]) -> list[bool]:
    """What the live model gets right of earlier lessons: its own verdict tells, the rest is asked."""
    known: dict[str, bool] = {}
    if lessons and bench.live.verdict is not None:
        judged = bench.workspace.blobs.get_json(bench.live.verdict, Verdict)
        known = judged.answers if judged.judged_by == _judged_by(bench) else {}
    asked = [question for question in lessons if _asked_of(question) not in known]
    if asked:
        answers = right(asked, bench.ask_live([question.text for question in asked]))
        known = known | {_asked_of(question): ok for question, ok in zip(asked, answers, strict=True)}
    return [known[_asked_of(question)] for question in lessons]


def _asked_of(question: Question) -> Digest:
    """Names a question together with what is accepted: two lessons may be asked the same and answered otherwise."""
    return digest_of(canonical([question.passage, question.text, list(question.accepted)]))


def _judged_by(bench: Workbench) -> str:
    """What decides, beside the adapters, how a question is answered."""
    return f"{__version__}, {bench.bank.base.dtype}"


def _in_context(bench: Workbench, evidence: Evidence, exam: Exam) -> list[bool]:
    text = {document.id: document.text[:CONTEXT_CHARACTERS] for document in evidence.documents}
    home = {passage.id: text.get(passage.document, passage.text) for passage in evidence.passages}
    answers: list[bool] = []
    for document in dict.fromkeys(home[question.passage] for question in exam.questions):
        asked = [question for question in exam.questions if home[question.passage] == document]
        answers += right(asked, answered_in_context(bench.bank, document, [q.text for q in asked]))
    return answers


def _thresholds(bench: Workbench) -> Thresholds:
    gate, charter = bench.charter.gate, bench.charter
    names = ("least_gain", "most_forgetting", "most_lesson_loss", "most_kl")
    lines = {name: charter.line(f"gate.{name}") for name in names}
    return Thresholds(
        gate.least_gain, gate.most_forgetting, gate.most_lesson_loss, gate.most_kl, gate.confidence, lines
    )


def _share(answers: Sequence[bool]) -> float:
    return sum(answers) / len(answers) if answers else 0.0


# ------------------------------------------------------------------ release


def release(bench: Workbench, step: str, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> Decision:
    """Release the guarded candidate that passed, unless the budget is spent or a person must approve."""
    if not candidates:
        return Decision("nothing-to-do", "Nothing new that is believed, or the model knows all of it already.")
    over = exceeds(bench.meter.cost(), bench.charter.budget)
    if over:
        return Decision("rejected", f"{over} ({bench.charter.line(over.split(':')[0])})")
    passed = [
        (candidate, said)
        for candidate, said in zip(candidates, verdicts, strict=True)
        if said.outcome == "pass" and candidate.plan.guarded and candidate.strategy != RAW
    ]
    if not passed:
        return _refusal(verdicts)
    candidate, said = passed[0]
    registry, blobs = bench.workspace.registry, bench.workspace.blobs
    made = registry.create(
        base=bench.live.base,
        adapters=(*bench.live.adapters, candidate.adapter),
        parent=bench.live.id,
        step=step,
        verdict=blobs.put_json(said),
    )
    gain = said.checks[0]
    reason = f"{candidate.name} passed: gain {gain.estimate:+.0%} [{gain.low:+.0%}, {gain.high:+.0%}]"
    if bench.charter.approval.required:
        _announce(bench.workspace, "approval-needed", {"release": made.id, "step": step})
        line = bench.charter.line("approval.required")
        return Decision("awaiting-approval", f"{reason}; a person must approve it ({line})", candidate.name, made.id)
    moved = _moved_meanwhile(bench.workspace, step, made.id)
    if moved:
        why = f"{made.id} was judged beside {bench.live.id}, but meanwhile {moved} became live: take another step"
        return Decision("inconclusive", why, candidate.name, made.id)
    if bench.charter.schedule.release == "rollout":
        want_rollout(bench.workspace, made.id, by="gradatim step")
        line = bench.charter.line("schedule.release")
        return Decision("awaiting-rollout", f"{reason}; a server rolls it out ({line})", candidate.name, made.id)
    registry.promote(made.id, reason, by="gradatim step")
    return Decision("released", reason, candidate.name, made.id)


def _moved_meanwhile(workspace: Workspace, step: str, made: Digest) -> Digest | None:
    """What somebody else made live since the step began; a kill leaves time for it, and theirs is the last word."""
    begun, moved = False, None
    for entry in workspace.ledger.entries():
        begun = begun or (entry.kind == "step-begun" and entry.body["step"] == step)
        if begun and (entry.kind == "rollback" or (entry.kind == "promote" and entry.body["release"] != made)):
            moved = entry.body["release"]
    return moved


def _refusal(verdicts: Sequence[Verdict]) -> Decision:
    said = verdicts[0]
    check = next((check for check in said.checks if check.outcome == said.outcome), said.checks[0])
    outcome: Literal["rejected", "inconclusive"] = "inconclusive" if said.outcome == "inconclusive" else "rejected"
    return Decision(outcome, f"{said.candidate}: {check.name} {check.estimate:.3f}; {check.explanation}")


def _announce(workspace: Workspace, kind: str, body: dict[str, object]) -> None:
    if all(entry.body != body for entry in workspace.ledger.entries(kind)):
        workspace.ledger.append(kind, body)


# -------------------------------------------------------------------- watch


def watch(
    bench: Workbench,
    step: str,
    evidence: Evidence,
    decision: Decision,
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
) -> Cost:
    """Settle the records (what was not learnt stays new), remember what the strategy achieved, add up the cost.

    What is to be rolled out stays new until a later step finds that it is known: a rollout may yet take it back.
    """
    records = bench.workspace.records
    documents, released = {record.id for record in records.documents()}, records.quarantine.released()
    for item in evidence.quarantined:
        if item.record in released:
            continue  # by a person, since this step looked
        mark = records.mark_documents if item.record in documents else records.mark_feedback
        mark([item.record], "quarantined", item.reason)
    if decision.outcome in ("released", "awaiting-approval", "nothing-to-do"):
        records.mark_documents([document.id for document in evidence.documents], "studied")
        records.mark_feedback(list(evidence.feedback), "studied")
    if candidates and candidates[0].strategy != RAW:
        records.add_outcome(candidates[0].strategy, step, verdicts[0].checks[0].estimate)
    return replace(_whole_cost(bench, step), tokens=sum(candidate.tokens for candidate in candidates))


def _whole_cost(bench: Workbench, step: str) -> Cost:
    """This process's share by the meter, and the seconds of phases that an interrupted one had finished."""
    here = bench.meter.cost()
    phases = [e for e in bench.workspace.ledger.entries("phase") if e.body["step"] == step]
    recorded = sum(float(entry.body.get("seconds", 0.0)) for entry in phases)
    if recorded <= here.seconds or here.seconds == 0:
        return here
    return replace(here, seconds=recorded, joules=here.joules * recorded / here.seconds)
