"""Values that know where they came from: each figure on a page carries its place in the API's answer.

    step = Traced(answer, "step")        the answer of the API that the page calls `step`
    step.cost.seconds                    still knows that it is step#/cost/seconds
    {{ step.cost.seconds | seconds }}    <span data-from="step#/cost/seconds" data-value="12.3">12.3 s</span>

Templates are given nothing else, and a bare number can't be put into a page without saying how it is written. A test
follows every mark back to the API. `data-value` is the value as JSON; where it is missing, the text itself is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from markupsafe import Markup

from gradatim.dashboard import formats

NOTHING = "–"
_DIGEST = re.compile("[0-9a-f]{64}")


class Traced:
    """A value out of an answer of the API: of an object its fields, of a list its items are traced as well."""

    __slots__ = ("_place", "_plain")

    def __init__(self, plain: Any, place: str) -> None:
        self._plain = plain
        self._place = place if "#" in place else f"{place}#"

    def __getattr__(self, name: str) -> Traced:
        try:
            return self[name]
        except (KeyError, TypeError):
            raise AttributeError(name) from None

    def __getitem__(self, key: str | int) -> Traced:
        if isinstance(key, str) and not isinstance(self._plain, dict):
            raise KeyError(key)
        part = str(key if isinstance(key, str) or key >= 0 else len(self._plain) + key)
        return Traced(self._plain[key], f"{self._place}/{part.replace('~', '~0').replace('/', '~1')}")

    def __iter__(self) -> Iterator[Traced]:
        return (self[index] for index in range(len(self._plain)))

    def __len__(self) -> int:
        return len(self._plain)

    def __bool__(self) -> bool:
        return bool(self._plain)

    def __eq__(self, other: object) -> bool:
        return bool(self._plain == (other._plain if isinstance(other, Traced) else other))

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(self.__html__())

    def __html__(self) -> str:
        if self._plain is None or isinstance(self._plain, str):
            return marked(self, "" if self._plain is None else self._plain, value_too=False)
        raise TypeError(f"{self._place} is no text: say how it is written")


def plain(value: Any) -> Any:
    """The value alone: for addresses, attributes and geometry, never to be read."""
    return value._plain if isinstance(value, Traced) else value


def place(value: Traced) -> str:
    """Where it came from: `<name of the answer>#<JSON pointer>`."""
    return value._place


def pairs(value: Traced) -> list[tuple[Markup, Traced]]:
    """An object's names, as they may be read, with its values."""
    return [(Markup('<span data-key="{}">{}</span>').format(place(value), key), value[key]) for key in plain(value)]


def marked(value: Traced, text: str, *, tag: str = "span", css: str = "", value_too: bool = True) -> Markup:
    """An element that says what its text is a form of."""
    told = Markup(' data-value="{}"').format(json.dumps(plain(value))) if value_too else ""
    named = Markup(' class="{}"').format(css) if css else ""
    return Markup('<{} data-from="{}"{}{}>{}</{}>').format(Markup(tag), place(value), told, named, text, Markup(tag))


def _written(form: Callable[[float], str]) -> Callable[[Traced], Markup]:
    """A filter that writes a number; what is none, as JSON has it for one that is not finite, is written as it is."""

    def write(value: Traced) -> Markup:
        number = plain(value)
        if number is None:
            return marked(value, NOTHING, css="number")
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            return marked(value, str(number), css="number")
        return marked(value, form(number), css="number")

    return write


def bare_points(value: Traced) -> Markup:
    """A difference of shares whose unit stands beside it: heard, not seen."""
    if not isinstance(plain(value), int | float):
        return _written(formats.points)(value)
    written, unit, _ = formats.points(plain(value)).partition(" points")
    return marked(value, Markup('{}<span class="unseen">{}</span>').format(written, unit), css="number")


def when(value: Traced) -> Markup:
    """A moment."""
    if plain(value) is None:
        return marked(value, NOTHING)
    told = formats.as_time(plain(value)).isoformat(timespec="seconds")
    attributes = (told, place(value), json.dumps(plain(value)), formats.moment(plain(value)))
    return Markup('<time datetime="{}" data-from="{}" data-value="{}">{}</time>').format(*attributes)


def short(value: Traced) -> Markup:
    """A digest, its first twelve characters."""
    if not plain(value):
        return marked(value, NOTHING)
    attributes = (plain(value), place(value), json.dumps(plain(value)), formats.short(plain(value)))
    return Markup('<code title="{}" data-from="{}" data-value="{}">{}</code>').format(*attributes)


def word(value: Traced) -> Markup:
    """An outcome, a state or a verdict, in its colour."""
    text, kind = str(plain(value) or NOTHING), str(plain(value)).replace(" ", "-")
    return marked(value, text.replace("_", " ").replace("-", " "), css=f"word word-{kind}", value_too=False)


def count(value: Traced) -> Markup:
    """How many there are."""
    return Markup('<span class="number" data-count="{}">{}</span>').format(place(value), formats.integer(len(value)))


def brief(value: Traced) -> Markup:
    """Some value of an entry, of whatever kind: digests short, numbers as they are."""
    found = plain(value)
    if isinstance(found, str):
        return short(value) if _DIGEST.fullmatch(found) else marked(value, found, value_too=False)
    return marked(value, json.dumps(found), css="number")


def is_simple(value: Traced) -> bool:
    """Whether a value is one thing, no list and no object."""
    return plain(value) is not None and not isinstance(plain(value), dict | list)


def raw_json(value: Traced) -> Markup:
    """A value as JSON, for those who want to see it all."""
    return marked(value, json.dumps(plain(value), indent=2, ensure_ascii=False), tag="code")


FILTERS: dict[str, Callable[..., Any]] = {
    "plain": plain,
    "pairs": pairs,
    "integer": _written(formats.integer),
    "figure": _written(formats.figure),
    "percent": _written(formats.percent),
    "points": _written(formats.points),
    "bare_points": bare_points,
    "seconds": _written(formats.seconds),
    "joules": _written(formats.joules),
    "when": when,
    "short": short,
    "word": word,
    "number_of": count,
    "raw_json": raw_json,
    "brief": brief,
}
"""What templates may do with a traced value."""
