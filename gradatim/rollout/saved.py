"""A rollout as JSON, and back exactly: what was killed goes on as if it had not been.

The key is not written, only a check of it: whoever can read the state can't choose an arm. Rows that came after the
last dump are to be handed in again; a row that is handed in twice counts once. Limit: the state grows by some twenty
bytes for each subject that a test has counted.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from pydantic import TypeAdapter

from gradatim.errors import InputError
from gradatim.rollout.assignment import Assignment, Wave, canary_chance
from gradatim.rollout.census import Census
from gradatim.rollout.events import Stage
from gradatim.rollout.newcomers import Newcomers
from gradatim.rollout.rails import AgainstBaseline, AgainstBound, QuantileRatio, test_of
from gradatim.rollout.rollout import Rollout
from gradatim.rollout.sequences import Difference, Mean, Quantile, Share
from gradatim.rollout.settings import Settings

VERSION = 1


@dataclass(frozen=True, slots=True)
class _Plain:
    """The fields of a rollout that JSON holds as they are."""

    live: str
    candidate: str
    clock: float
    stage: Stage
    step: int
    paused: str | None
    entered: float
    entered_units: int
    patience: float
    heard: float


_PLAIN = TypeAdapter(_Plain)
_NAMES = [field.name for field in fields(_Plain)]
_WAVES = TypeAdapter(list[Wave])
_PARTS = TypeAdapter(dict[str, Difference])

_Kept = TypeVar("_Kept", bound=AgainstBaseline | AgainstBound | QuantileRatio | Census | Newcomers)


def dump(rollout: Rollout) -> str:
    """The whole state, one line of JSON; of equal states the same line."""
    state: dict[str, Any] = {name: getattr(rollout, name) for name in _NAMES}
    state |= {
        "version": VERSION,
        "key": _check(rollout.assignment.key),
        "settings": rollout.settings.plain(),
        "waves": [asdict(wave) for wave in rollout.waves],
        "tests": [asdict(test) for test in rollout.tests],
        "census": asdict(rollout.census),
        "newcomers": asdict(rollout.newcomers),
    }
    return json.dumps(state, default=sorted, sort_keys=True, allow_nan=False)


def load(text: str, key: bytes) -> Rollout:
    """The rollout that was dumped; InputError when the text or the key is another's."""
    try:
        state = json.loads(text)
        if state["version"] != VERSION:
            raise InputError(f"The state of the rollout has version {state['version']}; this program reads {VERSION}")
        if state["key"] != _check(key):
            raise InputError("The key is not the one that the rollout was started with: its arms would be others")
        return _rollout(state, key)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"This is not the state of a rollout ({type(error).__name__}): take it from a copy") from None


def _rollout(state: dict[str, Any], key: bytes) -> Rollout:
    settings = Settings.of(state["settings"])
    waves = _WAVES.validate_python(state["waves"])
    plain = _PLAIN.validate_python({name: state[name] for name in _NAMES})
    empty = [test_of(spec, canary_chance(waves[-1])) for spec in settings.specs]
    return Rollout(
        settings=settings,
        assignment=Assignment(key),
        waves=waves,
        tests=[_restored(test, kept) for test, kept in zip(empty, state["tests"], strict=True)],
        census=_restored(Census(), state["census"]),
        newcomers=_restored(Newcomers(), state.get("newcomers", {})),
        **asdict(plain),
    )


def _restored(empty: _Kept, plain: dict[str, Any]) -> _Kept:
    """The plain values in the shape of one that has seen nothing."""
    values: dict[str, Any] = {}
    for name, value in plain.items():
        like = getattr(empty, name)
        if isinstance(like, Difference | Mean | Share | Quantile):
            value = TypeAdapter(type(like)).validate_python(value)
        if name == "parts" and value is not None:
            value = _PARTS.validate_python(value)
        values[name] = set(value) if isinstance(like, set) else value
    return replace(empty, **values)


def _check(key: bytes) -> str:
    return hashlib.blake2b(b"rollout", digest_size=16, key=key).hexdigest()
