"""What a server watches of itself: once a day, what was served and said the day before, and every stored byte.

    drift    the last whole day (UTC) against up to 28 days before it; inputs of all replies, outputs and scores of the
             live release's, since it answers otherwise than others and is meant to
    proxy    the live release against the one before it, as many days on either side: ratings, corrections, exams
    ledger   every byte of the workspace against its signatures

What is found opens an incident (`watch/incidents.py`). Where one about a feature was closed, what came before that is
not compared with any more: a person has said that this is how things are now. Days on which no server ran are not made
up for. How far the watch has come is noted beside the records, so a restart neither forgets a day nor looks twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta

from gradatim.ledger.entry import MOVES
from gradatim.ledger.verify import verify_workspace
from gradatim.serve.measures import unit_value
from gradatim.serve.settings import RATING, Settings
from gradatim.serve.telemetry import LOGGER
from gradatim.store.watched import Served
from gradatim.types import Verdict
from gradatim.watch.drift import INPUTS, OUTPUTS, TERMS, Drift, Terms, drifted, samples
from gradatim.watch.incidents import Incident, Kind
from gradatim.watch.proxy import Period, against_truth, period
from gradatim.watch.refusals import refuses
from gradatim.workspace import Workspace

LOOK_SECONDS = 60.0
REFERENCE_DAYS = 28
_NOTED = "watched until"


class Watchman:
    """The one who looks once a day. Blocking, but for `keep_watching`."""

    def __init__(self, workspace: Workspace, settings: Settings, terms: Terms = TERMS) -> None:
        self._workspace, self._metric, self._terms = workspace, settings.metrics[RATING], terms
        self._rated = _can_be_rated(settings)

    async def keep_watching(self) -> None:
        """Look when a day is over, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.look, datetime.now(UTC).date() - timedelta(days=1))
            except Exception as error:  # noqa: BLE001 - the next look may do better, and requests are answered meanwhile
                LOGGER.error("the watch failed", exc_info=error)

    def look(self, day: date) -> list[Incident]:
        """Look at a day that is over, once; the incidents that were opened."""
        records = self._workspace.records
        if (records.setting(_NOTED) or "") >= day.isoformat():
            return []
        found = [*self._bytes(), *self._drift(day), *self._proxy(day)]
        records.set_setting(_NOTED, day.isoformat())
        return found

    def _bytes(self) -> list[Incident]:
        checked = verify_workspace(self._workspace.folder)
        if not checked.ok:
            checked = verify_workspace(self._workspace.folder)  # a promotion is two writes, and may be between them
        if checked.ok:
            return []
        return self._open("ledger", "workspace", checked.problem or "", asdict(checked))

    def _drift(self, day: date) -> list[Incident]:
        live, found = self._workspace.registry.live_id(), list[Incident]()
        of_live = {True: OUTPUTS, False: INPUTS}
        everything = self._served(day - timedelta(days=REFERENCE_DAYS), day + timedelta(days=1))
        for only_live, features in of_live.items():
            replies = [reply for reply in everything if not only_live or reply.release == live]
            now = samples(reply for reply in replies if reply.at >= day.isoformat())
            for feature in features:
                since = self._workspace.incidents.last_closed("drift", feature) or ""
                before = samples(reply for reply in replies if since < reply.at < day.isoformat())
                for drift in drifted(before, now, [feature], self._terms):
                    found += self._open("drift", feature, f"{day}: {drift.said}", self._shown(drift, day, live))
        return found

    def _proxy(self, day: date) -> list[Incident]:
        moves = self._workspace.registry.history()
        live = moves[-1]
        former = next((move.release for move in reversed(moves) if move.release != live.release), None)
        since = date.fromisoformat(live.at[:10])
        length = min(day - since + timedelta(days=1), timedelta(days=REFERENCE_DAYS))
        if former is None or not self._rated or length <= timedelta(0):
            return []
        before = self._period(since - length, since + timedelta(days=1), former)
        now = self._period(since, since + length, live.release)
        found = against_truth(before, now, self._terms.alpha)
        if found is None:
            return []
        evidence = asdict(found) | {"before": former, "now": live.release, "day": day.isoformat()}
        return self._open("proxy", live.release, f"release {live.release[:12]}: {found.said}", evidence)

    def _period(self, since: date, until: date, release: str) -> Period:
        """How a release fared in some days, and its exam."""
        verdict = self._workspace.registry.get(release).verdict
        exam = self._workspace.blobs.get_json(verdict, Verdict).answers if verdict else {}
        return period((reply for reply in self._served(since, until) if reply.release == release), exam)

    def _served(self, since: date, until: date) -> list[Served]:
        """What was served from one day to before another, ratings as the metric's goodness from 0 to 1."""
        rows = self._workspace.records.watched.served(since.isoformat(), until.isoformat(), RATING, refuses)
        if not self._rated:
            return [replace(row, rating=None) for row in rows]
        return [
            row if row.rating is None else replace(row, rating=unit_value(self._metric, row.rating)) for row in rows
        ]

    def _shown(self, drift: Drift, day: date, live: str) -> dict[str, object]:
        return asdict(drift) | {"day": day.isoformat(), "live": live, "terms": asdict(self._terms)}

    def _open(self, kind: Kind, about: str, said: str, evidence: dict[str, object]) -> list[Incident]:
        opened = self._workspace.incidents.open(kind, about, said, evidence, _moves(self._workspace))
        if opened is None:
            return []
        LOGGER.error("an incident", extra={"data": {"incident": opened.id, "kind": kind, "said": said}})
        return [opened]


def _can_be_rated(settings: Settings) -> bool:
    """Whether the ratings are of responses, between bounds, as a rollout wants them too."""
    metric = settings.metrics[RATING]
    return metric.level == "response" and not (metric.type == "number" and None in (metric.low, metric.high))


def _moves(workspace: Workspace) -> list[int]:
    """The ledger entry that made the live release live."""
    return [entry.index for entry in workspace.ledger.entries() if entry.kind in MOVES][-1:]
