"""The story: a model that knows nothing of a bakery, one step, a model that does, and the way back.

It is told by running the command line's own commands, so that whatever it shows, a person can do. It knows them only
as a function from words to data, and promises nothing: if the step releases nothing, it says so and why.

Limits: fourteen questions about ten facts. They show that the loop works, not how well a model learns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradatim.demo.folder import prepare, refuse_unwritable
from gradatim.demo.report import write_report
from gradatim.ledger.log import Ledger
from gradatim.writing.words import contains

MATERIAL = Path(__file__).parent
GENERAL = (
    "What is the capital of France?",
    "How many days are there in a week?",
    "What is the opposite of hot?",
)

Run = Callable[..., dict[str, Any]]
"""A command of the app: its words in, its data out."""

Say = Callable[[str], None]


def tell(run: Run, folder: Path, report: Path, say: Say, *, seed: int = 0, model: str = "bundled") -> dict[str, Any]:
    """Live the story in `folder` and write its report.

    WorkspaceError when the folder holds anything but a former demo, InputError when the report can't be written.
    """
    prepare(folder)
    refuse_unwritable(report)
    questions = [json.loads(line) for line in _material("handbook.questions.jsonl").read_text("utf-8").splitlines()]
    teller = _Teller(run, folder, say)
    teller.begin(model)
    before = teller.ask("Ask it what it can't know", questions)
    teller.bring()
    teller.step(seed)
    after = teller.ask("Ask it again", questions)
    teller.go_back(before, after)
    story = teller.told | {
        "before": _share(before["about"]),
        "after": _share(after["about"]),
        "general": [
            {"question": first["question"], "before": first["answer"], "after": second["answer"]}
            for first, second in zip(before["general"], after["general"], strict=True)
        ],
        "ledger": _ledger(folder),
        "report": str(report),
        "next": _next(folder),
    }
    write_report(report, story)
    return story


PATIENCE = 3600  # seconds; alone on two cores the step takes five minutes
_SECONDS = re.compile(r"^seconds = \d+$", re.MULTILINE)


class _Teller:
    """Runs the commands in one folder, and remembers what they returned."""

    def __init__(self, run: Run, folder: Path, say: Say) -> None:
        self._run, self._folder, self._say = run, folder, say
        self._chapter = 0
        self.told: dict[str, Any] = {"folder": str(folder), "outcomes": [], "rollback": None}

    def begin(self, model: str) -> None:
        self._title("A workspace around a model")
        self._say(f"$ gradatim init {self._folder} --model {model}")
        made = self._run("init", str(self._folder), "--model", model)
        self.told |= {"model": made["model"], "base": made["base"]}
        charter = self._folder / "charter.toml"
        bounds = charter.read_text(encoding="utf-8")
        charter.write_text(_SECONDS.sub(f"seconds = {PATIENCE}", bounds), encoding="utf-8")
        self._say(f"  its charter now gives a step {PATIENCE:,} seconds, for machines that are slow or busy")

    def ask(self, title: str, questions: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        self._title(title)
        asked = [each["question"] for each in questions]
        answers = self._do("ask", *asked, *GENERAL, shown=f"“{asked[0]}” ...")["answers"]
        about = [
            {"question": each["question"], "answer": answer["answer"], "release": answer["release"]}
            | {"right": contains(answer["answer"], each["accepted"])}
            for each, answer in zip(questions, answers, strict=False)
        ]
        right = sum(each["right"] for each in about)
        self._say(f"  {right} of {len(about)} right; it says: {' '.join(about[0]['answer'].split())}")
        return {"about": about, "general": answers[len(about) :]}

    def bring(self) -> None:
        """Documents and feedback, some of it false."""
        self._title("A handbook, a forged notice, and what users say")
        handbook, notice = _material("handbook.md"), _material("notice.md")
        written = _material("handbook.questions.jsonl")
        self._do("add", str(handbook), "--questions", str(written), shown="handbook.md --questions ...")
        self._do("add", str(notice), shown="notice.md")
        self._do("feedback", "--file", str(_material("feedback.jsonl")), shown="--file feedback.jsonl")

    def step(self, seed: int) -> None:
        self._title("One step, with an unguarded candidate that must be refused")
        report = self._do("step", "--unguarded", "--seed", str(seed))
        details = self._do("show", report["step"], "--examples", "3")["step"]
        self.told |= {"step": report, "details": details, "cost": report["cost"]}
        for each in details["quarantined"]:
            self._say(f"  quarantined: {each['what']}\n    why: {each['reason']}")
        for each in [weakness for weakness in details["weaknesses"] if weakness["example"]][:3]:
            self._say(f"  weak spot: {each['example']} “{each['reply']}”\n    though it stands there: {each['source']}")
        for each in [sample for study in details["study"] for sample in study["sample"]][:3]:
            self._say(f"  it wrote for itself: {each['prompt']} {each['target']}\n    from: {each['source']}")
        for candidate in report["candidates"]:
            self._judged(candidate)
        self._say(f"  {report['step']} ends: {report['outcome']}. {report['reason']}")

    def _judged(self, candidate: dict[str, Any]) -> None:
        outcome = (candidate["verdict"] or {"outcome": "not judged"})["outcome"]
        self.told["outcomes"].append({"name": candidate["name"], "guarded": candidate["guarded"], "outcome": outcome})
        self._say(f"  {'guarded' if candidate['guarded'] else 'unguarded'} candidate {candidate['name']}: {outcome}")
        for check in (candidate["verdict"] or {"checks": []})["checks"]:
            if check["outcome"] != "pass":
                self._say(f"    {check['name']}: {check['explanation']}")

    def go_back(self, before: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]) -> None:
        """Take the release back and put it forward again, if there is one; verify in any case."""
        if self.told["step"]["outcome"] == "released":
            self._title("The way back, and forward again")
            place = _learnt(before["about"], after["about"])
            former = before["about"][place]
            moved = self._do("rollback", "--by", "demo")
            question = former["question"]
            asked = [each["question"] for each in before["about"]]  # the same batch: bf16 sums depend on its shape
            answers = self._do("ask", *asked, *GENERAL, shown=f"“{question}” ...")["answers"]
            again = answers[place]["answer"]
            same = again == former["answer"]
            self._say(f"  {again}\n  {'the former answer' if same else 'NOT the former answer: ' + former['answer']}")
            self._do("promote", moved["was"], "--by", "demo", shown=moved["was"][:12])
            self.told["rollback"] = {"question": question, "former": former["answer"], "again": again, "same": same}
        self._title("Is every byte still what was signed?")
        found = self.told["verify"] = self._do("verify")
        self._say(f"  {found['entries']} entries, head {found['head']}" if found["ok"] else f"  {found['problem']}")

    def _do(self, command: str, *arguments: str, shown: str | None = None) -> dict[str, Any]:
        words = " ".join(arguments) if shown is None else shown
        self._say(f"$ gradatim {command} {words} -w {self._folder}".replace("  ", " "))
        return self._run(command, "-w", str(self._folder), *arguments)

    def _title(self, title: str) -> None:
        self._chapter += 1
        self._say(f"\n{self._chapter}. {title}")


def _material(name: str) -> Path:
    return MATERIAL / name


def _share(answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"right": sum(each["right"] for each in answers), "of": len(answers), "answers": answers}


def _learnt(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> int:
    """The first question that is right now and was wrong, or simply the first."""
    pairs = enumerate(zip(before, after, strict=True))
    return next((place for place, (first, second) in pairs if second["right"] and not first["right"]), 0)


def _ledger(folder: Path) -> dict[str, Any]:
    ledger = Ledger.open(folder / "ledger")
    entries = [
        {"index": entry.index, "at": entry.at, "kind": entry.kind, "body": _brief(entry.body)}
        for entry in ledger.entries()
    ]
    return {"entries": entries, "head": ledger.head}


def _brief(body: dict[str, Any]) -> str:
    """An entry's body on one line, with digests cut short."""
    parts = [
        f"{key} {value[:12] if isinstance(value, str) and len(value) == 64 else value}" for key, value in body.items()
    ]
    line = ", ".join(parts)
    return line if len(line) <= 160 else f"{line[:159]}…"


def _next(folder: Path) -> list[str]:
    return [
        f'gradatim ask -w {folder} "Who owns Fernhollow Bakery?"',
        f"gradatim releases -w {folder}",
        f"gradatim show -w {folder} step-0001",
        "gradatim init --model YOUR-MODEL && gradatim add YOUR-FILE && gradatim step",
    ]
