"""What a rollout measures of a reply, and what a rating is worth to it."""

from __future__ import annotations

from dataclasses import dataclass

from gradatim.errors import InputError
from gradatim.serve.settings import RATING, Metric, Settings
from gradatim.serve.unseen import Seen
from gradatim.store.traffic import Interaction
from gradatim.watch.refusals import refuses

COST = "cost"


@dataclass(frozen=True, slots=True)
class Measures:
    """With what a million tokens cost."""

    price_prompt: float = 0.0
    price_completion: float = 0.0

    def of_served(self, served: Interaction, text: str) -> dict[str, float]:
        """Of a reply that a user was given; nothing of one that its client left."""
        if served.finish in ("cancelled", "error"):
            return {"error": 1.0} if served.finish == "error" else {}
        return self._values(text, served.seconds, served.prompt_tokens, served.completion_tokens)

    def of_unseen(self, seen: Seen) -> dict[str, float]:
        """Of a reply that no user was given."""
        if seen.ended is None:
            return {"error": 1.0}
        return self._values(seen.text, seen.seconds, seen.ended.prompt_tokens, seen.ended.completion_tokens)

    def _values(self, text: str, seconds: float, prompt: int, completion: int) -> dict[str, float]:
        cost = (prompt * self.price_prompt + completion * self.price_completion) / 1e6
        length, refusal = float(completion), float(refuses(text))
        return {"error": 0.0, "latency": seconds, "length": length, "refusal": refusal, COST: cost}


def refuse_unusable(settings: Settings) -> None:
    """InputError when a rollout can't go by these settings."""
    metric = settings.metrics[RATING]
    unbounded = metric.type == "number" and None in (metric.low, metric.high)
    if metric.level != "response" or unbounded:
        raise InputError("A rollout goes by ratings of responses, from a low to a high: set metrics.rating so")
    if settings.limits.warm_releases < 2:
        raise InputError("A rollout needs two releases loaded: set limits.warm_releases to 2 or more")


def unit_value(metric: Metric, value: float) -> float:
    """A value of a bounded metric from 0 to 1, 1 being best."""
    low, high = (-1.0, 1.0) if metric.type == "thumbs" else (0.0, 1.0)
    if metric.low is not None and metric.high is not None:
        low, high = metric.low, metric.high
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return share if metric.direction == "higher" else 1 - share
