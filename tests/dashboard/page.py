"""Reading a page as a test does: its elements, what they say, and where they say it is from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "link", "input", "img", "br"}


@dataclass
class Element:
    """An element with its attributes; texts and elements inside, in order."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None
    inside: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(each if isinstance(each, str) else each.text for each in self.inside)

    def all(self) -> list[Element]:
        """This element and all within it."""
        return [self, *(one for each in self.inside if isinstance(each, Element) for one in each.all())]

    def within(self, *wanted: str) -> bool:
        """Whether it, or what it lies in, has one of these attributes, or `tick` among its classes."""
        here: Element | None = self
        while here is not None:
            if any(name in here.attributes for name in wanted) or "tick" in here.attributes.get("class", "").split():
                return True
            here = here.parent
        return False


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.here = Element("", {}, None)
        self.declared = ""

    def handle_decl(self, decl: str) -> None:
        self.declared = decl

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.inside.append(made)
        if tag not in _VOID:
            self.here = made

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.here.inside.append(Element(tag, {name: value or "" for name, value in attrs}, self.here))

    def handle_endtag(self, tag: str) -> None:
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.inside.append(data)


def read(text: str) -> Element:
    """A page; AssertionError where its tags don't match."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.declared == "DOCTYPE html"
    assert reader.here is reader.root
    return reader.root


def find(page: Element, tag: str, **attributes: str) -> list[Element]:
    """Elements of a tag with these attributes (`_` for `-`)."""
    wanted = {name.replace("_", "-").rstrip("-"): value for name, value in attributes.items()}
    return [one for one in page.all() if one.tag == tag and wanted.items() <= one.attributes.items()]


def at(answer: Any, pointer: str) -> Any:
    """What a JSON pointer points at (RFC 6901)."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        answer = answer[int(key)] if isinstance(answer, list) else answer[key]
    return answer


_UNITS = {"": 1.0, "%": 0.01, "points": 0.01, "s": 1.0, "min": 60.0, "h": 3600.0, "J": 1.0, "kJ": 1000.0}
_FIGURE = re.compile(r"([+-]?[\d,]+(?:\.\d+)?(?:e[+-]\d+)?) ?(%|points|min|s|h|kJ|J)?")


def stands_for(written: str, value: float) -> bool:
    """Whether a figure as it is written is a rounding of a value: within half of its last digit."""
    parts = _FIGURE.findall(written.replace("−", "-"))
    assert parts, f"{written!r} is no figure"
    assert _FIGURE.sub("", written.replace("−", "-")).strip() == ""
    said = sum(float(digits.replace(",", "")) * _UNITS[unit] for digits, unit in parts)
    digits, unit = parts[-1]
    mantissa, _, power = digits.partition("e")
    places = len(mantissa.partition(".")[2])
    last = 10.0 ** (int(power or 0) - places) * _UNITS[unit]
    return abs(said - value) <= last * 0.5 + 1e-9
