"""A command line to call, a workspace that needs no model, a tiny model, and a scripted step."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from gradatim.charter import DEFAULT_PATH
from gradatim.cli.main import app
from gradatim.journal import Journal
from gradatim.observe.passages import split_passages
from gradatim.progress import Progress
from gradatim.store.records import load_document
from gradatim.types import (
    Candidate,
    Check,
    Cost,
    Diagnosis,
    Evidence,
    Outcome,
    Quarantined,
    StepReport,
    StudyExample,
    StudySet,
    TrainingPlan,
    Verdict,
    Weakness,
)
from gradatim.workspace import Workspace

HANDBOOK = """# Mill rules

The mill at Orrin opens at five. Sacks are weighed by Tamsin Vole. The sluice is shut on Sundays.
"""


@dataclass(frozen=True)
class Ran:
    """What a command left: exit code, and the two streams."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Run = Callable[..., Ran]


@pytest.fixture
def run() -> Run:
    """Runs the app in this process; what is no exit is a bug and propagates."""

    def invoke(*arguments: str | Path) -> Ran:
        done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
        return Ran(done.exit_code, done.stdout, done.stderr)

    return invoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace folder whose base was never loaded."""
    made = Workspace.create(
        tmp_path / "here", {"source": "nowhere", "digest": "b" * 64}, DEFAULT_PATH.read_text("utf-8")
    )
    return made.folder


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    file = tmp_path / "handbook.md"
    file.write_text(HANDBOOK, "utf-8")
    return file


# ------------------------------------------------------------------ a tiny model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers, with a tokenizer trained on a line of text and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<end>", "<turn>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([HANDBOOK], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.chat_template = (
        "{% for m in messages %}<turn>{{ m['role'] }}\n{{ m['content'] }}<end>{% endfor %}"
        "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
    )
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    folder = tmp_path_factory.mktemp("model") / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture
def offline() -> dict[str, str]:
    """The environment of a subprocess that can't ask the hub."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}


# ------------------------------------------------------------------ a scripted step


@dataclass
class ScriptedStep:
    """Stands in for `gradatim.step`: runs in no time, and leaves the same traces as a step does."""

    outcome: Any = "released"
    judged: Outcome = "pass"
    approval: bool = False
    fails: BaseException | None = None
    seen: list[Any] = field(default_factory=list)

    def take_step(self, workspace: Workspace, options: Any, progress: Progress) -> StepReport:
        self.seen.append(options)
        with workspace.lock():
            progress.phase("learn", total=2)
            progress.advance()
            progress.say("one line worth reading")
            if self.fails is not None:
                raise self.fails
            return self._step(workspace)

    def _step(self, workspace: Workspace) -> StepReport:
        journal = Journal.begin_or_resume(workspace.ledger, workspace.blobs, {})
        evidence = journal.phase("observe", Evidence, lambda: self._evidence(workspace))
        first = evidence.passages[0]
        weak = Weakness(first.id, 2, 0, "When does it open?", "At nine.")
        journal.phase("diagnose", Diagnosis, lambda: Diagnosis((weak,), (), (), asked=4, right=1))
        examples = tuple(StudyExample(f"Q{n}?", f"A{n}.", "qa", p.id) for n, p in enumerate(evidence.passages))
        study = StudySet("own words", (*examples, StudyExample("Sky?", "Blue.", "replay", None)), {"twice": 3})
        journal.phase("propose", tuple[StudySet, ...], lambda: (study,))
        candidate = Candidate("c-1", "own words", TrainingPlan(), "c" * 64, "d" * 64, (2.0, float("nan")), 640)
        journal.phase("learn", tuple[Candidate, ...], lambda: (candidate,))
        check = Check("gain", 0.4, 0.1, 0.7, 0.2, self.judged, "4 of 10 more right")
        verdict = Verdict("c-1", self.judged, (check,), {"no update": 0.1})
        journal.phase("judge", tuple[Verdict, ...], lambda: (verdict,))
        release = self._release(workspace, journal.step, verdict)
        cost = Cost(12.5, 640, 300.0)
        report = StepReport(
            journal.step,
            self.outcome,
            (candidate,),
            (verdict,),
            release,
            cost,
            "it learnt",
        )
        journal.finish(self.outcome, workspace.blobs.put_json(report))
        return report

    def _evidence(self, workspace: Workspace) -> Evidence:
        documents = tuple(load_document(record, workspace.blobs) for record in workspace.records.documents())
        passages = tuple(passage for document in documents for passage in split_passages(document))
        doubt = Quarantined(documents[-1].id, f'says "six" where passage {passages[0].id} says "five"')
        return Evidence(documents, passages, (), (doubt,))

    def _release(self, workspace: Workspace, step: str, verdict: Verdict) -> str | None:
        if self.outcome not in ("released", "awaiting-approval"):
            return None
        parent = workspace.registry.live_id()
        digest = workspace.blobs.put_json(verdict)
        release = workspace.registry.create(base="b" * 64, parent=parent, step=step, verdict=digest)
        if self.approval:
            workspace.ledger.append("approval-needed", {"release": release.id, "step": step})
        else:
            workspace.registry.promote(release.id, reason="passed", by=step)
        return release.id


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedStep:
    step = ScriptedStep()
    module = SimpleNamespace(StepOptions=SimpleNamespace, take_step=step.take_step)
    monkeypatch.setitem(sys.modules, "gradatim.step", module)
    return step


class ScriptedAnswerer:
    """Answers with the question in capitals and the live release's id."""

    def __init__(self, workspace: Workspace) -> None:
        self.release = workspace.registry.live()

    @classmethod
    def open(cls, workspace: Workspace) -> ScriptedAnswerer:
        return cls(workspace)

    def ask(self, questions: list[str], progress: Progress) -> list[str]:
        progress.advance(len(questions))
        return [f"{question.upper()} {self.release.id[:6]}" for question in questions]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(Answerer=ScriptedAnswerer)
    monkeypatch.setitem(sys.modules, "gradatim.release.answering", module)
