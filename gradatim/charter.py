"""The charter: a person's bounds on a model that changes itself, read from a TOML file.

A charter says what may be learnt from, what a candidate must show, what a step may cost and who must approve. It is
read once, never changed by the program, and known by the digest of its bytes. Each key knows the line it stands on, so
that a verdict can cite the rule that decided. A key that is left out has its vetted default, that of
`charter.default.toml`, which also explains every key.

Limits: paths are matched as they are written, with `..` resolved and symbolic links not. The charter binds this
program; it does not stop a person who can edit the file, only shows, through the digest in the ledger, that it changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gradatim import charter_file
from gradatim.types import Digest

DEFAULT_PATH = Path(__file__).with_name("charter.default.toml")


@dataclass(frozen=True, slots=True)
class Sources:
    """What may be learnt from: glob patterns over absolute paths, URLs and "cli". `deny` wins."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """What a candidate must show. Shares are in [0, 1], `most_kl` is in nats per token."""

    least_gain: float = 0.20
    most_forgetting: float = 0.05
    most_lesson_loss: float = 0.10
    most_kl: float = 0.10
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Budget:
    """What one step may cost."""

    seconds: float = 900.0
    joules: float = 60_000.0


@dataclass(frozen=True, slots=True)
class Approval:
    """Whether a person has the last word, and who. An empty `by` means anyone."""

    required: bool = False
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RolloutLimits:
    """How a release meets its users, and what takes it back. A rise is by how much more than the baseline's."""

    steps: tuple[float, ...] = (0.05, 0.25, 0.50)
    margins: tuple[float, ...] = (0.20, 0.08, 0.05)
    alpha: float = 0.05
    shadow_subjects: int = 0
    deadline_hours: float = 168.0
    watch_hours: float = 96.0
    holdback: float = 0.05
    most_error_rise: float = 0.02
    most_refusal_rise: float = 0.05
    most_latency_ratio: float = 1.25
    most_length_rise: float = 100.0
    most_cost_rise: float = 0.001
    most_unsafe: float = 0.01
    probes: bool = False
    slices: tuple[str, ...] = ()
    most_slice_fall: float = 0.10
    price_prompt: float = 0.0
    price_completion: float = 0.0


@dataclass(frozen=True, slots=True)
class Trust:
    """How much anybody's word may weigh, and from when on it waits for a person."""

    reply_words: int = 10
    person_corrections: int = 20
    source_votes: int = 3
    burst_minutes: float = 10.0
    burst_ratings: int = 120
    burst_corrections: int = 30
    burst_factor: float = 5.0
    copies: int = 3
    planted_questions: int = 3
    newcomers: int = 50


@dataclass(frozen=True, slots=True)
class Schedule:
    """When `gradatim run` takes a step by itself, how much of that a day, and how what passed goes out."""

    documents: int = 1
    corrections: int = 5
    quiet_minutes: float = 10.0
    patience_hours: float = 24.0
    hours: tuple[str, ...] = ()
    steps_a_day: int = 8
    day_seconds: float = 7_200.0
    day_joules: float = 480_000.0
    most_failures: int = 3
    retry_minutes: float = 30.0
    release: str = "promote"


@dataclass(frozen=True, slots=True)
class Charter:
    """The bounds, and where they stand. Made by `load`; the constructor is for a charter that no file holds."""

    sources: Sources = Sources()
    gate: Gate = Gate()
    budget: Budget = Budget()
    approval: Approval = Approval()
    rollout: RolloutLimits = RolloutLimits()
    trust: Trust = Trust()
    schedule: Schedule = Schedule()
    path: Path = DEFAULT_PATH
    digest: Digest = ""  # of the file's bytes; empty when there is no file
    lines: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, path: Path) -> Charter:
        """Reads a charter; raises CharterError, one line that names file, line and remedy."""
        file = charter_file.read(path)
        return cls(
            Sources(**file.values.get("sources", {})),
            Gate(**file.values.get("gate", {})),
            Budget(**file.values.get("budget", {})),
            Approval(**file.values.get("approval", {})),
            RolloutLimits(**file.values.get("rollout", {})),
            Trust(**file.values.get("trust", {})),
            Schedule(**file.values.get("schedule", {})),
            path=path,
            digest=file.digest,
            lines=file.lines,
        )

    @classmethod
    def default(cls) -> Charter:
        """The charter that a new workspace starts with, a copy of `DEFAULT_PATH`."""
        return cls.load(DEFAULT_PATH)

    def line(self, key: str) -> str:
        """The rule to cite, of a "section.key": "charter.toml line 23: most_forgetting = 0.05"."""
        section, _, name = key.partition(".")
        value: Any = getattr(getattr(self, section), name)
        rule = f"{name} = {charter_file.as_toml(value)}"
        if key in self.lines:
            return f"{self.path.name} line {self.lines[key]}: {rule}"
        return f"{self.path.name}, by default: {rule}"

    def allows_source(self, source: str) -> bool:
        """Whether a record from this path, URL or "cli" may be learnt from."""
        if source != "cli" and "://" not in source:
            source = os.path.abspath(source)  # noqa: PTH100 - Path.absolute keeps "..", Path.resolve follows links
        allowed = any(fnmatchcase(source, pattern) for pattern in self.sources.allow)
        return allowed and not any(fnmatchcase(source, pattern) for pattern in self.sources.deny)

    def allows_approver(self, name: str) -> bool:
        """Whether this person may approve a candidate."""
        return bool(name.strip()) and (not self.approval.by or name in self.approval.by)
