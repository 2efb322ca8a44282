"""The file a charter is written in: TOML whose every key has a rule, and knows the line it stands on.

`read` gives the values, checked; whatever is wrong with the file is one CharterError that names file, line and remedy.

Limits: lines are found by reading the file as people write it, one `key = value` a line, under its `[section]` or
dotted; of a value inside an inline table the line of the table is cited.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gradatim.errors import CharterError
from gradatim.types import Digest


@dataclass(frozen=True, slots=True)
class CharterFile:
    """What the file says: the values of every section that it sets, and the line of every "section.key"."""

    values: dict[str, dict[str, Any]]
    lines: dict[str, int]
    digest: Digest


def read(path: Path) -> CharterFile:
    """Reads and checks a charter file; raises CharterError."""
    data = _bytes(path)
    text = _decode(path, data)
    lines = _lines(text)
    tables = _parse(path, text)
    _refuse_unknown(path, lines, "", tables)
    values = {section: _section(path, lines, section, table) for section, table in tables.items()}
    return CharterFile(values, lines, hashlib.sha256(data).hexdigest())


def as_toml(value: Any) -> str:
    """A value as it would be written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


Rule = Callable[[Any], Any]
"""Gives the value as the charter holds it, or raises ValueError saying what it must be."""


def _number(low: float, high: float, demand: str, *, ends: bool = True) -> Rule:
    def rule(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(demand)
        inside = low <= value <= high if ends else low < value < high
        if not inside or abs(value) > sys.float_info.max:
            raise ValueError(demand)
        return float(value)

    return rule


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise ValueError('a list of names in quotes, like ["ada", "ben"]')
    return tuple(value)


def _patterns(value: Any) -> tuple[str, ...]:
    demand = 'a list of patterns in quotes, like ["/srv/handbooks/*", "cli"]'
    if not isinstance(value, list) or not all(isinstance(pattern, str) and pattern for pattern in value):
        raise ValueError(demand)
    for pattern in value:
        if not _can_match(pattern):
            raise ValueError(f'{demand}; "{pattern}" would match nothing: write an absolute path, a URL or "cli"')
    return tuple(value)


def _can_match(pattern: str) -> bool:
    """Whether a pattern could match an absolute path, a URL or "cli" at all."""
    return bool(re.match(r"[/*?\[]|[A-Za-z]:[\\/]|http|[a-z]+://", pattern)) or fnmatchcase("cli", pattern)


def _slices(value: Any) -> tuple[str, ...]:
    demand = 'a list of different slices in quotes, like ["metadata.language=de", "key=k_1a2b"]'
    named = isinstance(value, list) and all(isinstance(name, str) for name in value)
    if not named or len(set(value)) < len(value):
        raise ValueError(demand)
    if not all(re.fullmatch(r"(?:key|metadata\.[^=\n]{1,64})=[^\n]{1,512}", name) for name in value):
        raise ValueError(demand)
    return tuple(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number, 0 or more")
    return value


def _some(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a whole number, 1 or more")
    return value


def _one_of(*words: str) -> Rule:
    demand = f"one of {', '.join(as_toml(word) for word in words)}"

    def rule(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(demand)
        return value

    return rule


_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d"


def _spans(value: Any) -> tuple[str, ...]:
    """Spans of a day, each from one time to another one, the next day's where that is earlier."""
    demand = 'a list of spans of the day in quotes, like ["22:00-06:00"]'
    if not isinstance(value, list) or not all(isinstance(span, str) for span in value):
        raise ValueError(demand)
    for span in value:
        times = re.fullmatch(rf"({_TIME})-({_TIME}|24:00)", span, re.ASCII)
        if not times or times[1] == times[2]:
            raise ValueError(demand)
    return tuple(value)


def _shares(most: float, demand: str, *, falling: bool = False) -> Rule:
    """Shares above 0 and up to `most` in order: growing, or never growing."""
    share = _number(0, most, demand)

    def rule(value: Any) -> tuple[float, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError(demand)
        shares = [share(item) for item in value]
        ordered = sorted(shares, reverse=True) if falling else sorted(set(shares))
        if shares != ordered or min(shares) <= 0:
            raise ValueError(demand)
        return tuple(shares)

    return rule


_share = _number(0, 1, "a share between 0 and 1")
_hours = _number(0, math.inf, "a number of hours, 0 or more")
_rise = _number(0, math.inf, "a number, 0 or more")

RULES: dict[str, dict[str, Rule]] = {
    "sources": {"allow": _patterns, "deny": _patterns},
    "gate": {
        "least_gain": _share,
        "most_forgetting": _share,
        "most_lesson_loss": _share,
        "most_kl": _number(0, math.inf, "a number of nats, 0 or more"),
        "confidence": _number(0.5, 1, "between 0.5 and 1, like 0.95", ends=False),
    },
    "budget": {
        "seconds": _number(0, math.inf, "a number of seconds above 0", ends=False),
        "joules": _number(0, math.inf, "a number of joules above 0", ends=False),
    },
    "approval": {"required": _flag, "by": _names},
    "rollout": {
        "steps": _shares(0.5, "a list of growing shares above 0 and at most 0.5, like [0.05, 0.25, 0.5]"),
        "margins": _shares(1, "a list of shares above 0 that never grow, one a step", falling=True),
        "alpha": _number(0, 0.5, "between 0 and 0.5, like 0.05", ends=False),
        "shadow_subjects": _count,
        "deadline_hours": _hours,
        "watch_hours": _hours,
        "holdback": _number(0, 0.5, "between 0 and 0.5, like 0.05", ends=False),
        "most_error_rise": _share,
        "most_refusal_rise": _share,
        "most_latency_ratio": _number(1, math.inf, "a ratio of 1 or more"),
        "most_length_rise": _rise,
        "most_cost_rise": _rise,
        "most_unsafe": _share,
        "probes": _flag,
        "slices": _slices,
        "most_slice_fall": _share,
        "price_prompt": _rise,
        "price_completion": _rise,
    },
    "trust": {
        "reply_words": _some,
        "person_corrections": _some,
        "source_votes": _some,
        "burst_minutes": _number(0, math.inf, "a number of minutes above 0", ends=False),
        "burst_ratings": _some,
        "burst_corrections": _some,
        "burst_factor": _number(1, math.inf, "a number, 1 or more"),
        "copies": _some,
        "planted_questions": _some,
        "newcomers": _some,
    },
    "schedule": {
        "documents": _count,
        "corrections": _count,
        "quiet_minutes": _number(0, math.inf, "a number of minutes, 0 or more"),
        "patience_hours": _hours,
        "hours": _spans,
        "steps_a_day": _some,
        "day_seconds": _number(0, math.inf, "a number of seconds above 0", ends=False),
        "day_joules": _number(0, math.inf, "a number of joules above 0", ends=False),
        "most_failures": _some,
        "retry_minutes": _number(0, math.inf, "a number of minutes, 0 or more"),
        "release": _one_of("promote", "rollout"),
    },
}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CharterError(f"{path}: there is no such charter; name one that exists or make a workspace") from None
    except OSError as error:
        raise CharterError(f"{path}: can't be read ({error.strerror}); name a charter file that you may read") from None


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CharterError(f"{path}:{line}: is not UTF-8; re-save the charter as UTF-8") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.match(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        what, line = (found[1], found[2]) if found else (str(error), None)
        at = line or text.rstrip("\n").count("\n") + 1
        raise CharterError(f"{path}:{at}: is not TOML ({what}); mend this line") from None


def _lines(text: str) -> dict[str, int]:
    """The line number of every "section.key", and of every "section"."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if header := re.match(r"\s*\[+\s*([\w.-]+)\s*\]", line):
            section = header[1]
            lines.setdefault(section, number)
        elif assignment := re.match(r"""\s*["']?([\w-]+)["']?\s*(?:\.\s*([\w-]+)\s*)?=""", line):
            key = ".".join(part for part in (section, assignment[1], assignment[2]) if part)
            lines.setdefault(key, number)
    return lines


def _section(path: Path, lines: Mapping[str, int], section: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise CharterError(f"{_at(path, lines, section)}: {section} is a section; write [{section}] on its own line")
    _refuse_unknown(path, lines, section, table)
    values = {}
    for key, value in table.items():
        try:
            values[key] = RULES[section][key](value)
        except ValueError as demand:
            at = _at(path, lines, f"{section}.{key}")
            raise CharterError(f"{at}: {key} = {as_toml(value)} must be {demand}") from None
    return values


def _refuse_unknown(path: Path, lines: Mapping[str, int], section: str, table: Iterable[str]) -> None:
    known = RULES[section] if section else RULES
    for key in table:
        if key not in known:
            at = _at(path, lines, f"{section}.{key}" if section else key)
            where = f"[{section}] knows the keys" if section else "a charter has the sections"
            raise CharterError(f"{at}: {key} is unknown; {where} {', '.join(known)}")


def _at(path: Path, lines: Mapping[str, int], key: str) -> str:
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return f"{path}:{lines.get(key, 1)}"
