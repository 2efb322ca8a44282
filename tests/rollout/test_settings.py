"""Settings: what they refuse, in one line, and how they spend the chance of a false alarm."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from gradatim.charter import Charter, RolloutLimits
from gradatim.errors import CharterError, InputError
from gradatim.rollout.settings import DEFAULT_RAILS, Goal, Rail, Settings, Step


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"steps": []}, "at least one step"),
        ({"steps": [{"share": 0.6, "margin": 0.1}]}, "at most 0.5"),
        ({"steps": [{"share": 0.0, "margin": 0.1}]}, "above 0"),
        ({"steps": [{"share": 0.2, "margin": 0.1}, {"share": 0.1, "margin": 0.1}]}, "shares must grow"),
        ({"steps": [{"share": 0.1, "margin": 0.1}, {"share": 0.2, "margin": 0.2}]}, "margins must not grow"),
        ({"steps": [{"share": 0.1, "margin": 0.0}]}, "margin is a number above 0"),
        ({"steps": [{"share": 0.1, "margin": 0.1, "units": -1}]}, "dwell"),
        ({"steps": [{"share": "much", "margin": 0.1}]}, "steps.0.share"),
        ({"alpha": 0}, "alpha lies between"),
        ({"holdback": 0.5}, "holdback"),
        ({"watch": -1}, "watch is a number of seconds"),
        ({"deadline": math.inf}, "deadline is a number of seconds"),
        ({"shadow_subjects": -1}, "shadow_subjects"),
        ({"goal": {"metric": " "}}, "needs a name"),
        ({"goal": {"low": 1, "high": 1}}, "no range"),
        ({"goal": {"least_gain": -0.1}}, "least gain"),
        ({"rails": [{"name": "x"}]}, "rails.0.metric"),
    ],
)
def test_what_cannot_be_used_is_one_line(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        Settings.of(values)
    assert "\n" not in str(caught.value)


def rail(**values: Any) -> Rail:
    usual: dict[str, Any] = {"name": "r", "metric": "m", "statistic": "mean", "against": "baseline", "limit": 1.0}
    return Rail(**usual | values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"name": ""}, "needs a name"),
        ({"metric": "a\nb"}, "needs a name of one line"),
        ({"limit": math.nan}, "finite"),
        ({"quantile": 1.0}, "between 0 and 1"),
        ({"low": 2.0, "high": 1.0}, "no range"),
        ({"statistic": "share", "high": 2.0}, "a share is of"),
    ],
)
def test_a_rail_that_cannot_be(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        rail(**values)


def test_names_of_rails_are_their_own() -> None:
    with pytest.raises(InputError, match="one name"):
        Settings(rails=(rail(), rail()))
    with pytest.raises(InputError, match='called "goal"'):
        Settings(rails=(rail(name="goal"),))


@pytest.mark.parametrize("rails", [(), DEFAULT_RAILS[:1], DEFAULT_RAILS])
@pytest.mark.parametrize("shadow", [0, 100])
def test_all_that_may_err_adds_up_to_alpha(rails: tuple[Rail, ...], shadow: int) -> None:
    """Both ends of the goal, and of each rail the one end that fails, over all epochs."""
    settings = Settings(rails=rails, shadow_subjects=shadow, alpha=0.04)
    spent = 0.0
    for epoch in ("shadow", "steps", "watch") if shadow else ("steps", "watch"):
        spent += 2 * settings.goal_alpha(epoch)
        spent += sum(settings.rail_alpha(epoch) for _ in rails)
    assert spent == pytest.approx(0.04)


def test_settings_survive_json() -> None:
    settings = Settings(
        goal=Goal("won", least_gain=0.01),
        steps=(Step(0.1, 0.2), Step(0.3, 0.1, units=7, seconds=60)),
        rails=(*DEFAULT_RAILS, rail(slice="de", worse="lower", must_clear=True)),
        shadow_subjects=10,
    )
    assert Settings.of(json.loads(json.dumps(settings.plain()))) == settings
    assert Settings.of({}) == Settings()


# ------------------------------------------------------------------ the charter's


def test_the_default_charter_says_what_settings_default_to() -> None:
    assert Settings.of_charter(Charter.default()) == Settings()


def test_the_charter_decides() -> None:
    limits = RolloutLimits(steps=(0.1, 0.4), margins=(0.3, 0.1), most_error_rise=0.5, watch_hours=2, holdback=0.2)
    settings = Settings.of_charter(Charter(rollout=limits))
    assert [(step.share, step.margin) for step in settings.steps] == [(0.1, 0.3), (0.4, 0.1)]
    assert [rail.limit for rail in settings.rails if rail.name == "error"] == [0.5]
    assert (settings.watch, settings.holdback, settings.margin) == (7200, 0.2, 0.1)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (RolloutLimits(steps=(0.1,)), "margins = .*one for each of the steps"),
        (RolloutLimits(holdback=0.5), "holdback = 0.5: the last step must leave more"),
    ],
)
def test_a_charter_at_odds_with_itself_cites_its_line(limits: RolloutLimits, expected: str) -> None:
    with pytest.raises(CharterError, match=expected) as caught:
        Settings.of_charter(Charter(rollout=limits))
    assert "\n" not in str(caught.value)
