"""The canary that judges the quality of an update: who meets it, what is shown, when it grows and when it goes back.

assignment    sticky arms by keyed hash
betting       how surely a sum is above or below nothing, at any time
sequences     confidence sequences for means, differences, shares and quantiles
settings      steps, goal, rails and how much chance is allowed
rails         one test for the goal and for each rail
census        are the arms as large as meant?
newcomers     how many unknown subjects one source may bring
events        rows in, events out
rollout       the state machine
saved         its state as JSON
"""

from gradatim.rollout.assignment import Arm, Assignment
from gradatim.rollout.events import Event, Row
from gradatim.rollout.newcomers import Newcomers
from gradatim.rollout.rails import Evidence
from gradatim.rollout.rollout import Rollout
from gradatim.rollout.saved import dump, load
from gradatim.rollout.settings import Goal, Rail, Settings, Step

__all__ = [
    "Arm",
    "Assignment",
    "Event",
    "Evidence",
    "Goal",
    "Newcomers",
    "Rail",
    "Rollout",
    "Row",
    "Settings",
    "Step",
    "dump",
    "load",
]
