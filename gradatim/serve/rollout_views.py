"""Rollouts as the control plane tells them: what was written down, and never more."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from gradatim.errors import InputError
from gradatim.rollout import Event, Evidence, Rollout, load
from gradatim.serve.arms import CONFIDENCE, arms_over_time
from gradatim.serve.measures import unit_value
from gradatim.serve.settings import RATING, Metric
from gradatim.store.rollouts import RolloutTable, SavedRollout


class RolloutViews:
    """Of one table of rollouts; `rating` is the metric that they go by."""

    def __init__(self, table: RolloutTable, rating: Metric) -> None:
        self._table, self._rating = table, rating

    def listed(self) -> list[dict[str, Any]]:
        """All rollouts in short, in the order in which they were started."""
        return [_short(saved, restored(saved)) for saved in self._table.all()]

    def show(self, rollout: str) -> dict[str, Any] | None:
        """One rollout with its arms, its evidence and its events; None when there is none of this id."""
        saved = self._table.get(rollout)
        if saved is None:
            return None
        state = restored(saved)
        return _short(saved, state) | {
            "held": self._table.held(saved.id),
            "newcomers_left_out": state.newcomers.left_out,
            "arms": [asdict(arm) for arm in self._table.arms(saved.id)],
            "evidence": [plain_evidence(found) for found in state.evidence()],
            "events": json.loads(saved.events),
        }

    def history(self, rollout: str) -> list[dict[str, Any]]:
        """What the rollout knew over time, oldest first; InputError when there is none of this id."""
        self._known(rollout)
        return [asdict(look) | {"evidence": json.loads(look.evidence)} for look in self._table.looks(rollout)]

    def arms(self, rollout: str) -> dict[str, Any]:
        """How each arm was rated over time; InputError when there is no rollout of this id."""
        self._known(rollout)
        rated = self._table.rated(rollout, RATING, 0)
        arms = arms_over_time(rated, lambda value: unit_value(self._rating, value))
        return {"rollout": rollout, "metric": RATING, "confidence": CONFIDENCE, "arms": arms}

    def _known(self, rollout: str) -> None:
        if self._table.get(rollout) is None:
            raise InputError(f"There is no rollout {rollout[:100]!r}")


def restored(saved: SavedRollout) -> Rollout:
    """The rollout as it was written down."""
    return load(saved.state, bytes.fromhex(saved.secret))


def plain_event(event: Event) -> dict[str, Any]:
    """An event as JSON."""
    return asdict(event) | {"evidence": [plain_evidence(found) for found in event.evidence]}


def plain_evidence(found: Evidence) -> dict[str, Any]:
    """Evidence as JSON; an end that is nowhere is null."""
    plain = asdict(found)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in plain.items()}


def _short(saved: SavedRollout, state: Rollout) -> dict[str, Any]:
    step = state.settings.steps[state.step].share if state.stage == "step" else None
    return {
        "id": saved.id,
        "live": saved.live,
        "candidate": saved.candidate,
        "open": saved.open,
        "stage": state.stage,
        "step": step,
        "share": state.share,
        "paused": state.paused,
        "started_at": saved.started_at,
    }
