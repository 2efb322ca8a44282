"""Rollouts on simulated users: false alarms of an equal canary, and how many meet one that is ten points worse.

    python benchmarks/rollout.py [--runs 1000] [--users 100000] [--ratings 200] [--rated 0.1] [--seed 0]

The world: `users` people of unlike activity (log-normal) and unlike kindness (a Beta of mean 0.70; a rating is thumbs
up or down), `ratings` of them an hour, one request in 1/`rated` rated, everybody a little harsher at night. A canary
that is ten points worse pleases each of them a seventh less often (0.60 on average). Every rule sees the same people
with the same moods in the same order, the arms are dealt by the same hash, and rules that compare arms count the same
units (each person's first rating): only the rule differs.

    gradatim        the package's state machine, default steps and alpha, a look an hour, two rails (error, length;
                    measured on the rated requests only, to keep this short)
    fixed sample    5 % until the number of units with 95 % power for 10 points, one z-test at 0.05; then 100 % or back
    t-test hourly   a day each at 5, 25 and 50 %, back or on to 100 % as soon as p < 0.05
    thresholds      as Argo Rollouts does: a day a step; each interval the canary's share of thumbs up must be at least
                    0.65, and more than `failureLimit` = 2 failures abort (intervals of 1 and of 6 hours)

A false alarm is an equal canary that is rolled back, or called better than the baseline; that an equal canary reaches
100 % as "no worse" is right. The plan, of which exposure is a share, is the time that half of the equal canaries of
this very run take from their start to the end of the watch; a rule without a watch is followed as long. What a rule
promoted, everybody meets until the plan ends. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, ttest_ind_from_stats

from gradatim.rollout.assignment import Assignment, canary_chance
from gradatim.rollout.events import Row
from gradatim.rollout.rollout import Rollout
from gradatim.rollout.settings import DEFAULT_RAILS, Settings

HOURS = 264  # of stream: the deadline and the watch
KEYS = 16  # different deals of the same people to arms
KINDNESS = 0.70
SETTINGS = Settings(rails=tuple(rail for rail in DEFAULT_RAILS if rail.name in ("error", "length")))
SCHEDULE = [(24, 0.05), (24, 0.25), (24, 0.50)]  # hours, share: what rules without evidence go by
Floats = NDArray[np.float64]


class Dealt(Assignment):
    """An assignment that looks its hashes up: the same arms, a hundred times as fast."""

    __slots__ = ("places", "steps", "tokens", "watch")

    def __init__(self, key: bytes, users: int) -> None:
        super().__init__(key)
        names = [str(user) for user in range(users)]
        places = {epoch: [Assignment.place(self, name, epoch) for name in names] for epoch in ("steps", "watch")}
        tokens = [Assignment.token(self, name) for name in names]
        kept = {"places": places, "tokens": tokens, **{epoch: np.array(at) for epoch, at in places.items()}}
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    def place(self, subject: str, epoch: str) -> float:
        return self.places[epoch][int(subject)]

    def token(self, subject: str) -> str:
        return self.tokens[int(subject)]


@dataclass
class World:
    """Who there is, and how often each of them comes."""

    users: int
    ratings: float  # an hour
    rated: float  # share of the requests

    def __post_init__(self) -> None:
        activity = np.random.default_rng(1).lognormal(0.0, 1.0, self.users)
        self.activity = activity / activity.sum()
        self.cumulative = np.cumsum(self.activity)
        self.cached: dict[tuple[int, float], float] = {}
        self.deals = [Dealt(f"deal {number:>20}".encode(), self.users) for number in range(KEYS)]

    @property
    def requests(self) -> float:
        """An hour."""
        return self.ratings / self.rated

    def met(self, deal: Dealt, share: float) -> float:
        """Share of all requests that come from the canary's subjects."""
        key = id(deal), share
        if key not in self.cached:
            self.cached[key] = float(self.activity[deal.steps < share].sum())
        return self.cached[key]


@dataclass
class Stream:
    """One run: every rating of `HOURS`, as it would be under either release."""

    deal: Dealt
    user: NDArray[np.int64]
    live: Floats
    canary: Floats
    ends: NDArray[np.int64]  # index after each hour's last rating
    noise: np.random.Generator

    def hour(self, number: int) -> slice:
        return slice(self.ends[number - 1] if number else 0, self.ends[number])


def stream(world: World, worse: float, seed: int) -> Stream:
    chance = np.random.default_rng(seed)
    counts = chance.poisson(world.ratings, HOURS)
    total = int(counts.sum())
    user = np.minimum(np.searchsorted(world.cumulative, chance.random(total)), world.users - 1)
    kindness = chance.beta(9 * KINDNESS, 9 * (1 - KINDNESS), world.users)[user]
    hour = np.repeat(np.arange(HOURS), counts)
    kindness = kindness * (1 + 0.04 * np.sin(hour * np.pi / 12))
    mood = chance.random(total)
    deal = world.deals[seed % KEYS]
    canary = mood < kindness * (1 - worse / KINDNESS)
    return Stream(deal, user, (mood < kindness) * 1.0, canary * 1.0, np.cumsum(counts), chance)


@dataclass
class Outcome:
    """What a rule did with one stream."""

    ended: str  # "back", "promoted", "waiting"
    hours: float  # until then
    exposed: float  # requests that met the canary in that time
    better: bool = False  # it was called better
    missed: bool = False  # an interval of the goal that did not hold the truth, at any look
    failed: str = ""  # what rolled it back


# ------------------------------------------------------------------ the rules


def gradatim(world: World, run: Stream) -> Outcome:
    rollout, _ = Rollout.start(SETTINGS, "live", "canary", run.deal.key, 0.0)
    rollout.assignment = run.deal
    exposed, better, missed = 0.0, False, False
    seen: dict[str, set[int]] = {"steps": set(), "watch": set()}
    for hour in range(HOURS):
        wave = rollout.waves[-1]
        exposed += world.requests * _share(world, run.deal, rollout)
        rollout.observe(_rows(rollout, run, hour, seen[wave.epoch]), (hour + 1) * 3600.0)
        alpha = SETTINGS.goal_alpha(wave.epoch)
        found = rollout.tests[0].interval(alpha)
        missed, better = missed or not found.low <= 0 <= found.high, better or found.low > 0
        for event in rollout.decide((hour + 1) * 3600.0):
            if event.kind in ("rollback", "finish"):
                failed = [found.name for found in event.evidence if found.finding == "fail"]
                ended = "back" if event.kind == "rollback" else "promoted"
                return Outcome(ended, hour + 1, exposed, better, missed, " ".join(failed))
            if event.kind == "pause":
                return Outcome("waiting", hour + 1, exposed, better, missed, event.reason)
    return Outcome("waiting", HOURS, exposed, better, missed)


def _share(world: World, deal: Dealt, rollout: Rollout) -> float:
    if rollout.stage == "watch":
        return 1 - SETTINGS.holdback
    return world.met(deal, rollout.share)


def _rows(rollout: Rollout, run: Stream, hour: int, seen: set[int]) -> list[Row]:
    """The hour's rated requests of subjects in the comparison; of others the rollout would count none.

    Nor would it count anybody again: who was handed in once in an epoch is left out here already.
    """
    part, share = run.hour(hour), rollout.waves[-1].share
    places = run.deal.steps[run.user[part]]
    if rollout.stage == "watch":
        inside, met = places >= share, run.deal.watch[run.user[part]] < canary_chance(rollout.waves[-1])
    else:
        inside, met = (places < share) | (places >= 1 - share), places < share
    everybody = run.user[part][inside].tolist()
    fresh = []
    for i, user in enumerate(everybody):
        if user not in seen:
            seen.add(user)
            fresh.append(i)
    n = len(fresh)
    ratings = np.where(met, run.canary[part], run.live[part])[inside][fresh].tolist()
    errors, lengths = (run.noise.random(n) < 0.01).tolist(), run.noise.lognormal(5.0, 0.7, n).tolist()
    wave = rollout.wave
    return [
        Row(str(everybody[i]), wave, {"rating": rating, "error": error, "length": length})
        for i, rating, error, length in zip(fresh, ratings, errors, lengths, strict=True)
    ]


def _first_ratings(run: Stream, share: float, start: int, stop: int, seen: set[int]) -> tuple[Floats, Floats]:
    """Canary's and baseline's ratings of the hours, each person once."""
    part = slice(run.ends[start - 1] if start else 0, run.ends[stop - 1])
    places = run.deal.steps[run.user[part]]
    arms: tuple[list[float], list[float]] = ([], [])
    for inside, values, arm in ((places < share, run.canary, arms[0]), (places >= 1 - share, run.live, arms[1])):
        for user, value in zip(run.user[part][inside].tolist(), values[part][inside].tolist(), strict=True):
            if user not in seen:
                seen.add(user)
                arm.append(value)
    return np.array(arms[0]), np.array(arms[1])


def fixed_sample(world: World, run: Stream) -> Outcome:
    """One look, at the number of units that finds 0.70 against 0.60 in 95 of 100 cases."""
    wanted = (norm.ppf(0.975) + norm.ppf(0.95)) ** 2 * (0.7 * 0.3 + 0.6 * 0.4) / 0.1**2
    share = SCHEDULE[0][1]
    seen: set[int] = set()
    arms = [np.array([]), np.array([])]
    for hour in range(HOURS):
        new = _first_ratings(run, share, hour, hour + 1, seen)
        arms = [np.append(arm, more) for arm, more in zip(arms, new, strict=True)]
        if min(map(len, arms)) >= wanted:
            break
    canary, baseline = arms
    pooled = np.concatenate(arms).mean()
    error = np.sqrt(pooled * (1 - pooled) * (1 / len(canary) + 1 / len(baseline)))
    z = (canary.mean() - baseline.mean()) / error
    exposed = (hour + 1) * world.requests * world.met(run.deal, share)
    ended = "back" if z < -norm.ppf(0.975) else "promoted"
    return Outcome(ended, hour + 1, exposed, better=bool(z > norm.ppf(0.975)))


def hourly_t_test(world: World, run: Stream) -> Outcome:
    """Student's two-sided test at 0.05 at every look, as if each were the only one."""
    seen: set[int] = set()
    sums = np.zeros((2, 3))  # of each arm: units, sum, sum of squares
    exposed = 0.0
    for hour, share in enumerate(share for hours, share in SCHEDULE for _ in range(hours)):
        exposed += world.requests * world.met(run.deal, share)
        for row, new in zip(sums, _first_ratings(run, share, hour, hour + 1, seen), strict=True):
            row += len(new), new.sum(), (new**2).sum()
        n, means = sums[:, 0], sums[:, 1] / np.maximum(sums[:, 0], 1)
        if n.min() < 2:
            continue
        deviations = np.sqrt(np.maximum(sums[:, 2] - n * means**2, 1e-9) / (n - 1))
        test = ttest_ind_from_stats(means[0], deviations[0], n[0], means[1], deviations[1], n[1], equal_var=False)
        if test.pvalue < 0.05:
            better = bool(means[0] > means[1])
            return Outcome("promoted" if better else "back", hour + 1, exposed, better)
    return Outcome("promoted", hour + 1, exposed)


def thresholds(interval: int, least: float = 0.65, failure_limit: int = 2) -> Callable[[World, Stream], Outcome]:
    """Fixed intervals, a success threshold and a limit of failures, over the canary alone; all its ratings."""

    def rule(world: World, run: Stream) -> Outcome:
        exposed, failures, good, given = 0.0, 0, 0.0, 0
        for hour, share in enumerate(share for hours, share in SCHEDULE for _ in range(hours)):
            exposed += world.requests * world.met(run.deal, share)
            part = run.hour(hour)
            ratings = run.canary[part][run.deal.steps[run.user[part]] < share]
            good, given = good + float(ratings.sum()), given + len(ratings)
            if (hour + 1) % interval == 0:
                failures += bool(given) and good / given < least
                good, given = 0.0, 0
                if failures > failure_limit:
                    return Outcome("back", hour + 1, exposed)
        return Outcome("promoted", hour + 1, exposed)

    return rule


RULES: dict[str, Callable[[World, Stream], Outcome]] = {
    "gradatim": gradatim,
    "fixed sample": fixed_sample,
    "t-test hourly": hourly_t_test,
    "thresholds, 1 h": thresholds(1),
    "thresholds, 6 h": thresholds(6),
}


# ------------------------------------------------------------------ the figures


def share_of(hits: int, of: int) -> list[float]:
    """A share and its 95 % interval (Wilson)."""
    interval = binomtest(hits, of).proportion_ci(0.95, method="wilson")
    return [round(hits / of, 4), round(float(interval.low), 4), round(float(interval.high), 4)]


def equal_figures(outcomes: list[Outcome]) -> dict[str, Any]:
    back = [outcome for outcome in outcomes if outcome.ended == "back"]
    claimed = [outcome for outcome in outcomes if outcome.better]
    return {
        "false alarms": share_of(sum(o.ended == "back" or o.better for o in outcomes), len(outcomes)),
        "rolled back": share_of(len(back), len(outcomes)),
        "called better": share_of(len(claimed), len(outcomes)),
        "waiting for a person": share_of(sum(o.ended == "waiting" for o in outcomes), len(outcomes)),
        "hours, median": float(np.median([o.hours for o in outcomes])),
    }


def worse_figures(world: World, outcomes: list[Outcome], plan: float) -> dict[str, Any]:
    back = [outcome for outcome in outcomes if outcome.ended == "back"]
    exposed = [o.exposed + (o.ended == "promoted") * max(plan - o.hours, 0) * world.requests for o in outcomes]
    shares = np.array(exposed) / (plan * world.requests)
    hours = [outcome.hours for outcome in back] or [np.nan]
    until = [outcome.exposed / (outcome.hours * world.requests) for outcome in back] or [np.nan]
    kept = sum(o.ended == "back" and share <= 0.05 for o, share in zip(outcomes, shares, strict=True))
    return {
        "rolled back": share_of(len(back), len(outcomes)),
        "back before 5 % of the plan": share_of(kept, len(outcomes)),
        "hours to rollback, median": float(np.median(hours)),
        "hours to rollback, 95 %": round(float(np.percentile(hours, 95)), 1),
        "share exposed until then, mean": round(float(np.mean(until)), 4),
        "exposed requests, mean": round(float(np.mean(exposed))),
        "exposed share of plan, mean": round(float(shares.mean()), 4),
        "exposed share of plan, 95 %": round(float(np.percentile(shares, 95)), 4),
    }


def run_all(world: World, worse: float, runs: int, seed: int) -> dict[str, list[Outcome]]:
    outcomes: dict[str, list[Outcome]] = {name: [] for name in RULES}
    for number in range(runs):
        run = stream(world, worse, seed + number)
        for name, rule in RULES.items():
            outcomes[name].append(rule(world, run))
    return outcomes


def table(title: str, rules: dict[str, dict[str, Any]]) -> None:
    print(f"\n{title:34}" + "".join(f"{name:>24}" for name in rules))
    for figure in next(iter(rules.values())):
        print(f"{figure:34}" + "".join(f"{_cell(figures[figure]):>24}" for figures in rules.values()))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return f"{value[0]:.1%} [{value[1]:.1%}, {value[2]:.1%}]"
    return f"{value:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--ratings", type=float, default=200.0, help="an hour")
    parser.add_argument("--rated", type=float, default=0.1, help="share of the requests that are rated")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.process_time()
    world = World(options.users, options.ratings, options.rated)
    equal = run_all(world, 0.0, options.runs, options.seed)
    finished = [o.hours for o in equal["gradatim"] if o.ended == "promoted"]
    if not finished:
        parser.error("no equal canary finished, so there is no plan to compare with: take more ratings, users or runs")
    plan = float(np.median(finished))
    worse = run_all(world, 0.10, options.runs, options.seed + 1_000_000)
    seconds = time.process_time() - began
    figures_equal = {name: equal_figures(outcomes) for name, outcomes in equal.items()}
    figures_worse = {name: worse_figures(world, outcomes, plan) for name, outcomes in worse.items()}
    print(f"{options.runs} runs, {options.ratings:g} ratings and {world.requests:g} requests an hour")
    print(f"{seconds:.0f} s of processor time; the plan: {plan:g} hours, {plan * world.requests:,.0f} requests")
    table("An equal canary", figures_equal)
    table("Ten points worse (0.60 for 0.70)", figures_worse)
    missed = share_of(sum(o.missed for o in equal["gradatim"]), options.runs)
    claimed = 2 * (SETTINGS.goal_alpha("steps") + SETTINGS.goal_alpha("watch"))
    unfinished = Counter(o.failed for o in equal["gradatim"] if o.ended != "promoted")
    print(f"\nGoal's intervals of an equal canary that ever missed: {_cell(missed)}; at most {claimed:.1%} claimed")
    print(f"Equal canaries that did not finish, by what stopped them: {dict(unfinished)}")
    figures = {
        **vars(options),
        "seconds": round(seconds, 1),
        "plan hours": plan,
        "plan requests": plan * world.requests,
        "equal": figures_equal,
        "worse": figures_worse,
        "equal, goal ever missed": missed,
        "equal, goal claimed to miss at most": round(claimed, 4),
        "equal, stopped by": unfinished,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
