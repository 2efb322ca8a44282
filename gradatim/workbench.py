"""What a step works with: the base and its bank, the live minds, and what is computed once and kept.

The base is loaded when the first unfinished phase needs it, so a step that was killed after its last phase finishes
without it. The base's replies to the suite and to the replay prompts are kept in the user's cache under the digests of
model and prompts, because they are the same for every workspace on that base; so is the adapter that asks, which comes
with the package for the bundled model and is trained once for any other.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path

from gradatim.charter import Charter
from gradatim.judge.measure import MAX_SKILL_REPLY
from gradatim.judge.skills import SkillQuestion
from gradatim.learn.asking import learn_to_ask, lessons, positions, taught_by
from gradatim.learn.replay import base_replies, replay_prompts
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.base import default_cache, load_base
from gradatim.model.routing import Gate, features
from gradatim.progress import Progress
from gradatim.recall import Minds, Studied
from gradatim.release.answering import check_base, load_adapter, load_minds
from gradatim.store.adapters import Adapters
from gradatim.store.canonical import canonical, digest_of
from gradatim.store.durable import replace
from gradatim.types import Candidate, Digest, Release, StudyExample
from gradatim.watch.cost import Meter, exceeds
from gradatim.workspace import Workspace
from gradatim.writing.asker import Asker
from gradatim.writing.studying import Writer

GATE_PROMPTS = 320
_IN_TRAINING = "asker in training"
SHIPPED_ASKERS = Path(str(resources.files("gradatim.learn"))) / "askers"


def study_prompts(study: Sequence[StudyExample]) -> list[str]:
    """At most about `GATE_PROMPTS` different prompts, spread evenly: what a lesson's questions look like."""
    prompts = list(dict.fromkeys(example.prompt for example in study))
    return prompts[:: max(1, len(prompts) // GATE_PROMPTS)]


def asker_folder(base: Digest, bank: Callable[[], AdapterBank], progress: Progress) -> Path:
    """Where the asker of a base is: shipped, in the user's cache, or trained now and put there."""
    shipped = SHIPPED_ASKERS / base[:16]
    if shipped.is_dir():
        return shipped
    key = default_cache() / "askers" / f"{digest_of(canonical([base, taught_by()]))}.txt"
    store = Adapters(key.parent / "adapters")
    if key.is_file() and store.verify(kept := key.read_text("utf-8").strip()) is None:
        return store.folder / kept
    learner = bank()
    learnt = lessons(Asker(learner, _IN_TRAINING))
    progress.phase("learning to ask, once for this model", positions(learnt))
    with tempfile.TemporaryDirectory(dir=store.folder.parent) as folder:
        learn_to_ask(learner, _IN_TRAINING, learnt, advance=progress.advance).save(Path(folder))
        learner.remove(_IN_TRAINING)
        digest = store.add(Path(folder))
    replace(key, f"{digest}\n".encode())
    return store.folder / digest


def prepare(workspace: Workspace, progress: Progress) -> None:
    """What is done once for a base and not for one step, and so counts against no step's budget."""
    live = workspace.registry.live()

    def bank() -> AdapterBank:
        base = load_base(workspace.base["source"])
        check_base(base, live.base)
        return AdapterBank(base)

    asker_folder(live.base, bank, progress)


class Workbench:
    """Everything heavy, loaded on first use."""

    def __init__(self, workspace: Workspace, charter: Charter, meter: Meter, progress: Progress, live: Release) -> None:
        self.workspace, self.charter, self.meter, self.progress = workspace, charter, meter, progress
        self.live = live  # as the step began: one that was killed after promoting must not build on its own release

    @cached_property
    def bank(self) -> AdapterBank:
        self.progress.say(f"loading {self.workspace.base['source']}")
        base = load_base(self.workspace.base["source"])
        check_base(base, self.live.base)
        return AdapterBank(base)

    @cached_property
    def live_minds(self) -> Minds:
        return load_minds(self.bank, self.workspace.adapters, self.live.adapters)

    @cached_property
    def asker(self) -> Asker:
        """Whoever asks about new texts: kept in the workspace, so that answers don't change with the package."""
        folder = asker_folder(self.live.base, lambda: self.bank, self.progress)
        digest = self.workspace.adapters.add(folder)
        load_adapter(self.bank, self.workspace.adapters, digest)
        return Asker(self.bank, digest)

    @cached_property
    def writer(self) -> Writer | None:
        """The newest writer that was found good on this base (`recipes/writer.py`); None where there is none."""
        found = [entry.body for entry in self.workspace.ledger.entries("writer")]
        good = [str(body["adapter"]) for body in found if body["adopted"] and body["base"] == self.live.base]
        if not good:
            return None
        load_adapter(self.bank, self.workspace.adapters, good[-1])
        return Writer(self.bank, good[-1])

    def ask_live(self, questions: Sequence[str]) -> list[str]:
        """What the model as it is served says; the bare base without adapters if nothing was ever released."""
        return self.live_minds.ask(questions, self.progress.advance)

    def minds_with(self, candidate: Candidate) -> Minds:
        """The live minds and the candidate's, as they would be served together."""
        return load_minds(self.bank, self.workspace.adapters, (*self.live.adapters, candidate.adapter))

    def suite_replies(self, suite: Sequence[SkillQuestion]) -> list[str]:
        """The bare base's reply to each question of the suite."""
        asked = [question.question for question in suite]
        bare = Minds(self.bank, {})

        def make() -> list[str]:
            made = bare.reply(asked, max_tokens=MAX_SKILL_REPLY, advance=self.progress.advance)
            return [reply.text for reply in made]

        return self._kept(asked, MAX_SKILL_REPLY, make)

    def replay(self, count: int) -> tuple[StudyExample, ...]:
        """The first `count` replay prompts of an even spread over the file, with the base's replies."""
        prompts = replay_prompts()
        chosen = prompts[:: max(1, len(prompts) // count)][:count]

        def make() -> list[str]:
            said = {e.prompt: e.target for e in base_replies(self.bank, chosen, self.progress.advance)}
            return [said.get(prompt, "") for prompt in chosen]

        replies = self._kept(chosen, 0, make)
        return tuple(
            StudyExample(prompt, reply, "replay", None) for prompt, reply in zip(chosen, replies, strict=True) if reply
        )

    def fit_gate(self, study: Sequence[StudyExample], earlier: Sequence[str]) -> Gate:
        """A gate that opens for the study questions and stays shut for unrelated and earlier ones."""
        self.progress.phase("gate", None)
        others = [*replay_prompts(), *earlier]
        return Gate.fit(features(self.bank, study_prompts(study)), features(self.bank, others))

    def store(self, adapter: Adapter, gate: Gate | None, studied: Studied | None, scratch: Path) -> Digest:
        """Save a trained adapter, with its gate and what it studied, under its digest."""
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            adapter.save(Path(folder), base=str(self.workspace.base["source"]))
            if gate is not None:
                gate.save(Path(folder))
            if studied is not None:
                studied.save(Path(folder))
            return self.workspace.adapters.add(Path(folder))

    def out_of_budget(self) -> bool:
        """Whether the step has spent its seconds or joules."""
        return exceeds(self.meter.cost(), self.charter.budget) is not None

    def _kept(self, prompts: Sequence[str], limit: int, make: Callable[[], list[str]]) -> list[str]:
        key = digest_of(canonical([self.live.base, str(self.bank.base.dtype), limit, list(prompts)]))
        file = default_cache() / "replies" / f"{key}.json"
        if file.is_file():
            kept = json.loads(file.read_text("utf-8"))
            if isinstance(kept, list) and len(kept) == len(prompts):
                return [str(reply) for reply in kept]
        replies = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, json.dumps(replies).encode())
        return replies
