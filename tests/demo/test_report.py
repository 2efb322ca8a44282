"""The report: self-contained, complete, and true to the data even where that is odd."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gradatim.demo.report import INK, SERIES, plot_checks, plot_losses, render, write_report

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of it: tags that match, what is linked, the text that is read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        self.ids += [value for name, value in values.items() if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += f" {data}"


def test_it_needs_nothing_else(story: dict[str, Any]) -> None:
    html = render(story)
    page = Page(html)
    assert page.open == []
    assert [link for link in page.links if not link.startswith("#")] == []
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert re.findall(r"url\((?!#)|@import|<script|<iframe", html) == []
    assert "http" not in html
    assert set(re.findall(r"url\(#([^)]*)\)", html)) <= set(page.ids)


def test_the_two_plots_share_no_id(story: dict[str, Any]) -> None:
    ids = Page(render(story)).ids
    assert sorted(ids) == sorted(set(ids))


def test_it_follows_the_reader_into_the_dark(story: dict[str, Any]) -> None:
    html = render(story)
    assert "prefers-color-scheme: dark" in html
    assert html.count("var(--series-2)") >= 3
    for stand_in in (INK, *SERIES):
        assert stand_in not in html
    defined = set(re.findall(r"(--[\w-]+):", html))
    assert set(re.findall(r"var\((--[\w-]+)\)", html)) <= defined


def test_every_section_is_there(story: dict[str, Any]) -> None:
    page = Page(render(story))
    sections = {"loop", "answers", "candidates", "training", "study", "weak", "quarantine", "cost", "ledger", "next"}
    assert sections <= set(page.ids)
    text = " ".join(page.text.split())
    for words in (
        "1 of 3 before, 2 of 3 after",
        "Reply 0 & <b>",  # escaped in the page, whole for the reader
        "Forged <notice>",
        "At <noon>.",
        "unguarded & <drift>",
        "1.7",
        "0 to 3.4",
        "When do the ovens start?",
        "7 unfaithful",
        "no update 0.07",
        "45,678",
        "2.0 watt-hours",
        "every byte as it was signed",
        "f" * 64,
        "as before the step",
        "(no question could be written)",
    ):
        assert words in text


def test_a_step_that_made_nothing(story: dict[str, Any]) -> None:
    story["step"] |= {"candidates": [], "outcome": "nothing-to-do", "release": None}
    story["details"] |= {"quarantined": [], "weaknesses": [], "study": []}
    story["rollback"] = None
    story["verify"] = {"ok": False, "entries": 1, "head": "", "problem": "blobs/x is missing"}
    page = Page(render(story))
    assert page.open == []
    for words in ("No candidate was judged.", "Nothing was trained.", "Nothing was proposed.", "blobs/x is missing"):
        assert words in page.text
    assert "svg" not in render(story).split("</style>")[1]


def test_figures_that_are_not_finite(story: dict[str, Any]) -> None:
    unguarded = story["step"]["candidates"][1]
    unguarded["losses"] = [2.0, "NaN", "Infinity"]
    unguarded["verdict"]["checks"][1] |= {"estimate": "NaN", "low": "-Infinity", "high": "Infinity"}
    assert "NaN" in Page(render(story)).text


def test_a_candidate_that_was_not_judged(story: dict[str, Any]) -> None:
    story["step"]["candidates"][1] |= {"verdict": None, "losses": []}
    assert "Not judged." in Page(render(story)).text


def test_a_panel_for_each_check_with_its_bound(story: dict[str, Any]) -> None:
    svg = plot_checks(story["step"]["candidates"])
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", svg)
    assert {"gain", "drift", "guarded", "unguarded"} <= set(texts)
    assert svg.count("stroke: var(--bound)") == 2
    assert plot_checks(story["step"]["candidates"]) == svg  # the same bytes from the same figures


def test_losses_have_a_line_each(story: dict[str, Any]) -> None:
    svg = plot_losses(story["step"]["candidates"])
    assert {"guarded", "unguarded", "mean loss"} <= set(re.findall(r"<text [^>]*>([^<]*)</text>", svg))


def test_it_is_written_whole(story: dict[str, Any], tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "report.html", story)
    html = (tmp_path / "new" / "report.html").read_text("utf-8")
    assert html == render(story)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


@pytest.mark.parametrize("missing", ["cost", "ledger", "details"])
def test_a_story_with_a_hole_is_a_bug(story: dict[str, Any], missing: str) -> None:
    del story[missing]
    with pytest.raises(Exception, match=missing):
        render(story)
