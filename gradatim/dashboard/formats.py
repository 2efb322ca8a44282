"""How figures are written: as many digits as a person reads, the unit beside them."""

from __future__ import annotations

from datetime import UTC, datetime

MINUS = "−"


def integer(value: float) -> str:
    """1,234."""
    return f"{value:,.0f}".replace("-", MINUS)


def figure(value: float) -> str:
    """Three significant digits: 0.0123, 4.57, 1,230."""
    if abs(value) >= 1000:
        return integer(value)
    return f"{value:.3g}".replace("-", MINUS)


def percent(value: float) -> str:
    """A share as 81 %, or 4.2 % where it is small."""
    return f"{value * 100:.{_digits(value * 100)}f} %".replace("-", MINUS)


def points(value: float) -> str:
    """A difference of shares as +81 points."""
    written = f"{value * 100:+.{_digits(value * 100)}f}".replace("-", MINUS)
    return f"{written} points"


def seconds(value: float) -> str:
    """0.84 s, 12.3 s, 4 min 12 s, 2 h 05 min."""
    if value < 60:
        written = f"{value:.2g} s" if value < 1 else f"{value:.1f} s"
        return written if written != "60.0 s" else "1 min 00 s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def joules(value: float) -> str:
    """840 J, 61.2 kJ."""
    if value < 1000:
        return f"{value:.0f} J" if value >= 10 or value == 0 else f"{value:.2g} J"
    return f"{value / 1000:,.1f} kJ"


def moment(value: str | float) -> str:
    """21 Nov 2026, 15:57 UTC."""
    return f"{as_time(value):%-d %b %Y, %H:%M} UTC"


def as_time(value: str | float) -> datetime:
    """A moment as ISO 8601 or as seconds since 1970."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(UTC)
    return datetime.fromtimestamp(value, UTC)


def short(digest: str) -> str:
    """A digest as people write it."""
    return digest[:12]


def _digits(hundredths: float) -> int:
    return 1 if 0 < abs(hundredths) < 9.95 else 0
