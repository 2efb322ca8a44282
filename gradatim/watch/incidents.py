"""Incidents: what a person must look at, with a clock, in the ledger.

    ENTRY "incident"   {event: "opened", kind, about, said, evidence, settings, entries}
                       {event: "acknowledged", incident, by}, with a reason where one was given
                       {event: "closed", incident, by, reason}

An incident is called by the index of the entry that opened it. While one of a kind and subject is open, the same is not
opened again. `evidence` and `settings` are digests of blobs: what it was opened on, and the charter and the server's
settings as they were at that moment. `entries` are the ledger entries that it speaks of.

    rollback   a rollout took a release back by itself      drift      what is asked, answered or rated changed
    schedule   the scheduler takes no more steps            proxy      ratings rise while the truth falls
    ledger     a byte of the workspace is not what was signed

Limit: when the ledger itself is damaged nothing can be added to it, and so no incident opened; the log says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from gradatim.errors import InputError
from gradatim.ledger.bundle import pack
from gradatim.ledger.entry import Entry
from gradatim.ledger.log import Ledger
from gradatim.store import durable
from gradatim.store.blobs import Blobs
from gradatim.types import Digest

ENTRY = "incident"
PREFIX = "incident-"
SETTINGS = ("charter.toml", "serve.toml")
Kind = Literal["rollback", "schedule", "ledger", "drift", "proxy"]


@dataclass(frozen=True, slots=True)
class Word:
    """What a person said of an incident, and when."""

    by: str
    at: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident as the ledger tells it."""

    id: str
    kind: str
    about: str  # which rollout, feature or release
    said: str  # on one line
    opened_at: str
    evidence: Digest
    settings: Digest
    entries: tuple[int, ...]  # of the ledger: its own, and those it speaks of
    acknowledged: Word | None = None
    closed: Word | None = None

    @property
    def state(self) -> str:
        if self.closed:
            return "closed"
        return "acknowledged" if self.acknowledged else "open"

    def seconds_to(self, word: Word | None) -> float | None:
        """From the opening to a word."""
        if word is None:
            return None
        return (datetime.fromisoformat(word.at) - datetime.fromisoformat(self.opened_at)).total_seconds()


class Incidents:
    """The incidents of a workspace folder."""

    def __init__(self, folder: Path, ledger: Ledger, blobs: Blobs) -> None:
        self._folder, self._ledger, self._blobs = folder, ledger, blobs

    def all(self) -> list[Incident]:
        """In the order in which they were opened."""
        found: dict[int, Incident] = {}
        for entry in self._ledger.entries(ENTRY):
            if entry.body["event"] == "opened":
                found[entry.index] = _opened(entry)
            else:
                of = entry.body["incident"]
                word = Word(entry.body["by"], entry.at, entry.body.get("reason", ""))
                told = replace(found[of], entries=(*found[of].entries, entry.index))
                closing = entry.body["event"] == "closed"
                found[of] = replace(told, closed=word) if closing else replace(told, acknowledged=word)
        return list(found.values())

    def get(self, name: str) -> Incident:
        """The incident of this id, with or without its prefix; InputError when there is none."""
        wanted = f"{PREFIX}{name.removeprefix(PREFIX)}"
        for incident in self.all():
            if incident.id == wanted:
                return incident
        raise InputError(f"No incident is called {name[:100]}: `gradatim incidents` lists them")

    def open(
        self, kind: Kind, about: str, said: str, evidence: Mapping[str, Any], entries: Sequence[int] = ()
    ) -> Incident | None:
        """Open one; None, and nothing changed, while the same is open."""
        same = [incident for incident in self.all() if (incident.kind, incident.about) == (kind, about)]
        if any(not incident.closed for incident in same):
            return None
        body = {
            "event": "opened",
            "kind": kind,
            "about": about,
            "said": said,
            "evidence": self._blobs.put_json(evidence),
            "settings": self._blobs.put_json(dict(self._settings())),
            "entries": sorted(entries),
        }
        return _opened(self._ledger.append(ENTRY, body))

    def acknowledge(self, name: str, by: str, reason: str = "") -> Incident:
        """Somebody has seen it, and may say why it can wait; InputError when that was said before."""
        incident = self.get(name)
        if incident.acknowledged or incident.closed:
            word = incident.acknowledged or incident.closed
            raise InputError(f"{incident.id} was {incident.state} by {word.by if word else 'nobody'} already")
        return self._say(incident, "acknowledged", {"by": by} | ({"reason": reason} if reason else {}))

    def close(self, name: str, by: str, reason: str) -> Incident:
        """Somebody has dealt with it, and says how; InputError when it is closed, or no reason is given."""
        incident = self.get(name)
        if incident.closed:
            raise InputError(f"{incident.id} was closed by {incident.closed.by} already")
        if not reason.strip():
            raise InputError(f"{incident.id} is closed with a reason: say what came of it")
        return self._say(incident, "closed", {"by": by, "reason": reason})

    def last_closed(self, kind: Kind, about: str) -> str | None:
        """When the last incident of this kind and subject was closed."""
        words = [one.closed for one in self.all() if (one.kind, one.about) == (kind, about)]
        return max((word.at for word in words if word is not None), default=None)

    def data(self, incident: Incident) -> dict[str, Any]:
        """As the command line and the control plane tell it."""
        told = {"acknowledged": incident.acknowledged, "closed": incident.closed}
        return {
            "id": incident.id,
            "kind": incident.kind,
            "about": incident.about,
            "said": incident.said,
            "state": incident.state,
            "opened_at": incident.opened_at,
            **{name: _word(incident, word) for name, word in told.items()},
            "entries": list(incident.entries),
        }

    def evidence(self, incident: Incident) -> Any:
        """What it was opened on."""
        return self._blobs.get_json(incident.evidence, dict[str, Any])

    def bundle(self, incident: Incident) -> bytes:
        """The zip file of an incident: its entries with proofs, its evidence and the settings (`ledger/bundle.py`)."""
        blobs = {digest: self._blobs.get(digest) for digest in (incident.evidence, incident.settings)}
        return pack(self._ledger, incident.entries, blobs)

    def export(self, name: str, to: Path | None = None) -> Path:
        """Write the bundle of an incident to a new file; InputError when there is such a file."""
        incident = self.get(name)
        path = to or Path(f"{incident.id}.zip")
        try:
            durable.write_new(path, self.bundle(incident))
        except FileExistsError:
            raise InputError(f"{path} is there already: name another file") from None
        except OSError as error:
            raise InputError(f"{path}: can't be written ({error.strerror}); name another file") from None
        return path

    def _say(self, incident: Incident, event: str, body: dict[str, str]) -> Incident:
        index = int(incident.id.removeprefix(PREFIX))
        self._ledger.append(ENTRY, {"event": event, "incident": index} | body)
        return self.get(incident.id)

    def _settings(self) -> Iterator[tuple[str, str]]:
        for name in SETTINGS:
            if (path := self._folder / name).is_file():
                yield name, path.read_text("utf-8", errors="replace")


def _opened(entry: Entry) -> Incident:
    body = entry.body
    fields = {name: body[name] for name in ("kind", "about", "said", "evidence", "settings")}
    entries = (*body["entries"], entry.index)
    return Incident(id=f"{PREFIX}{entry.index}", opened_at=entry.at, entries=entries, **fields)


def _word(incident: Incident, word: Word | None) -> dict[str, Any] | None:
    if word is None:
        return None
    return {"by": word.by, "at": word.at, "reason": word.reason, "seconds": incident.seconds_to(word)}
