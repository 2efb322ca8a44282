"""What is expected of edits: the posterior mean of a Gaussian process, from the rewards of edits that are alike."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from scipy.stats import spearmanr

from gradatim.recipes import forecast as module
from gradatim.recipes.forecast import forecast
from gradatim.recipes.rewards import Edit, Rewarded, best

ALL = [Edit(" ".join(parts), "settings", (), 0.0) for parts in itertools.product("ab", "cd", "efg", "hijk")]
WORTH = dict(zip("abcdefghijk", (0.0, 0.6, 0.3, 0.0, -1.5, 0.5, 0.0, 0.2, 0.0, 0.4, 1.0), strict=True))


def traits(edit: Edit) -> tuple[str, ...]:
    return tuple(edit.text.split())


def reward(edit: Edit, task: int, noise: float = 0.0) -> float:
    """The better an edit's parts, the nearer to 0; tasks are unlike in how hard they are."""
    return -float(np.exp(4 + task % 3 - sum(WORTH[part] for part in traits(edit)) + noise))


def tried(tasks: int, each: int, noise: float, seed: int = 0) -> list[Rewarded]:
    chance = random.Random(seed)
    return [
        Rewarded(edit, task, (reward(edit, task, noise * chance.gauss(0, 1)),))
        for task in range(tasks)
        for edit in chance.sample(ALL, each)
    ]


@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.97), (0.5, 0.85)])
def test_what_some_tasks_have_shown_tells_the_order_for_another(noise: float, least: float) -> None:
    found = forecast(tried(12, 6, noise), [(edit, 99) for edit in ALL], traits)[-len(ALL) :]
    assert spearmanr([one.shrunk for one in found], [reward(edit, 0) for edit in ALL]).statistic > least
    assert all(one.rewards == () for one in found)


def test_a_single_try_says_less_than_the_traits_of_many() -> None:
    """Whoever takes the best single try of noisy ones does worse than by what is expected."""
    truth, gains = [reward(edit, 0) for edit in ALL], []
    for seed in range(8):
        seen = tried(10, 6, noise=1.0, seed=seed)
        every = forecast(seen, [(edit, task) for task in range(10) for edit in ALL], traits)
        for task in range(10):
            by_try = max((one for one in seen if one.task == task), key=lambda one: one.rewards[0])
            (by_forecast,) = best(every, task, 1)
            gains.append(truth[ALL.index(by_forecast.edit)] - truth[ALL.index(by_try.edit)])
    assert np.mean(gains) > 0
    assert np.mean(np.array(gains) >= 0) > 0.8


def test_it_is_the_mean_given_the_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the joint normal distribution of all, written out."""
    seen = [*tried(3, 4, 0.3), Rewarded(ALL[0], 0, (-3.0, -5.0))]
    asked = [(ALL[7], 1), (ALL[20], 99)]
    shared, own, noise = 0.7, 0.4, 0.2
    monkeypatch.setattr(module, "_variances", lambda *_: (shared, own, noise))
    found = forecast(seen, asked, traits)
    rows = [(one.edit, one.task, reward) for one in seen for reward in one.rewards]
    worth = np.array([-np.log1p(-reward) for *_, reward in rows])
    worth -= worth.mean()
    same = np.array([[a[1] == b[1] for b in rows] for a in rows])

    def covariance(one: tuple[Edit, int], other: tuple[Edit, int]) -> float:
        common = np.mean([a == b for a, b in zip(traits(one[0]), traits(other[0]), strict=True)]) ** 2
        return float(common * (shared + own * (one[1] == other[1])))

    points = [(one.edit, one.task) for one in seen] + asked
    of_rows = np.array([[covariance(a[:2], b[:2]) for b in rows] for a in rows]) + noise * np.eye(len(rows))
    of_rows += 100 * same  # how hard a task is
    expected = np.array([[covariance(a, b[:2]) for b in rows] for a in points]) @ np.linalg.inv(of_rows) @ worth
    assert [one.shrunk for one in found] == pytest.approx(expected.tolist())


def test_where_all_rewards_are_equal_nothing_is_expected_to_differ() -> None:
    equal = [Rewarded(edit, task, (-7.0,)) for task in range(2) for edit in ALL[:5]]
    assert [one.shrunk for one in forecast(equal, [(ALL[9], 0)], traits)] == pytest.approx([0.0] * 11)


def test_where_tasks_have_nothing_in_common_each_is_told_by_its_own_tries_alone() -> None:
    """In every second task the order is turned round: what one shows is no help with another."""
    chance, tasks = random.Random(3), 12
    signs = [chance.choice((-1, 1)) for _ in range(tasks)]

    def turned(edit: Edit, task: int) -> float:
        return -float(np.exp(4 - signs[task] * sum(WORTH[part] for part in traits(edit))))

    seen = [
        Rewarded(edit, task, (turned(edit, task),))
        for task in range(tasks)
        for edit in chance.sample(ALL, len(ALL) // 2)
    ]
    every = forecast(seen, [(edit, task) for task in (*range(tasks), 99) for edit in ALL], traits)[len(seen) :]
    for task in range(tasks):
        found = [one.shrunk for one in every if one.task == task]
        assert spearmanr(found, [turned(edit, task) for edit in ALL]).statistic > 0.9
    spread = np.std([one.shrunk for one in every if one.task == 99])
    assert spread < 0.5 * np.std([one.shrunk for one in every if one.task == 0])


def test_how_often_a_task_was_tried_does_not_make_it_better() -> None:
    """A task whose few tries were all good ones is a lucky or an easy one; its traits are not the better for it."""
    many = tried(6, 10, 0.0)
    alone = [Rewarded(ALL[0], 6, (-0.01,)), Rewarded(ALL[0], 7, (-3000.0,))]
    before, after = (
        [one.shrunk for one in forecast(seen, [(edit, 99) for edit in ALL], traits)[-len(ALL) :]]
        for seen in (many, [*many, *alone])
    )
    assert spearmanr(before, after).statistic > 0.99


def test_a_training_that_broke_is_the_worst_one() -> None:
    seen = [Rewarded(edit, 0, (reward(edit, 0),)) for edit in ALL]
    broken = [*seen[:-1], Rewarded(ALL[-1], 0, (float("nan"),))]
    worst = [*seen[:-1], Rewarded(ALL[-1], 0, (min(one.rewards[0] for one in seen[:-1]),))]
    assert [one.shrunk for one in forecast(broken, [], traits)] == [one.shrunk for one in forecast(worst, [], traits)]


@pytest.mark.parametrize("rewards", [(), (0.5,), (float("nan"),)])
def test_without_rewards_or_with_impossible_ones_it_says_so(rewards: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"nothing was tried|never above 0"):
        forecast([Rewarded(ALL[0], 0, rewards)], [], traits)
