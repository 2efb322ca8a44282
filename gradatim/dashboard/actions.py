"""Forms, and the orders they become: each is one POST of the control plane, in the name of whoever sent it.

The control plane writes the name and the reason into the ledger, and refuses what the charter forbids; nothing is
decided here. Where a page leads afterwards is fixed for each order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Order:
    """Where an order goes (`{id}`: what it is about), what is said when it was carried out, and where that is shown."""

    path: str
    done: str
    then: str
    signed: bool = True  # whether it carries a name and a reason
    more: tuple[str, ...] = ()  # fields of the form that go with it


_ROLLOUT = "/rollouts/{id}"

ORDERS: dict[str, Order] = {
    "approve": Order("/approvals/{id}:approve", "Approved: the release is live.", "/releases/{id}"),
    "reject": Order("/approvals/{id}:reject", "Rejected: the live release stays.", "/releases/{id}"),
    "promote": Order("/releases/{id}:promote", "The release is live for everybody.", "/releases/{id}"),
    "rollback": Order("/releases:rollback", "Rolled back.", "/releases", more=("release",)),
    "start-rollout": Order("/rollouts", "The rollout has begun.", "/rollouts", signed=False, more=("candidate",)),
    "grow": Order(f"{_ROLLOUT}:promote", "The rollout goes one step further.", _ROLLOUT),
    "grow-full": Order(f"{_ROLLOUT}:promote", "Everybody gets the candidate now; it is watched.", _ROLLOUT),
    "pause": Order(f"{_ROLLOUT}:pause", "The rollout is paused.", _ROLLOUT),
    "resume": Order(f"{_ROLLOUT}:resume", "The rollout goes on.", _ROLLOUT),
    "abort": Order(f"{_ROLLOUT}:abort", "The rollout was given up.", _ROLLOUT),
    "take-back": Order(f"{_ROLLOUT}:rollback", "Rolled back to the former release.", _ROLLOUT),
    "believe": Order("/quarantine/{id}:release", "It is believed from now on.", "/feedback"),
    "discard": Order("/quarantine/{id}:discard", "It is never learnt.", "/feedback"),
    "acknowledge": Order("/incidents/{id}:acknowledge", "The incident is acknowledged.", "/incidents/{id}"),
    "close": Order("/incidents/{id}:close", "The incident is closed.", "/incidents/{id}"),
    "verify": Order("/ledger:verify", "", "/ledger", signed=False),
}
"""What a form may ask for."""


def body_of(action: str, form: Mapping[str, str]) -> dict[str, Any]:
    """The body that an order is sent with."""
    order = ORDERS[action]
    body: dict[str, Any] = {name: form[name] for name in order.more if form.get(name)}
    if order.signed:
        body |= {"by": form.get("by", ""), "reason": form.get("reason", "")}
    if action == "grow-full":
        body["full"] = True
    return body
