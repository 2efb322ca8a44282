"""The package's way of writing a moment."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """This moment: ISO 8601, UTC, milliseconds."""
    return written(datetime.now(UTC))


def written(moment: datetime) -> str:
    """A moment of UTC as it is written everywhere, so that moments sort as texts."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
