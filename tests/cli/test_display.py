"""Progress: bars for a person, lines for a pipe, and never a mistake for markup."""

from __future__ import annotations

import io

from rich.console import Console

from gradatim.cli.display import progress


def shown(*, terminal: bool) -> str:
    to = io.StringIO()
    console = Console(file=to, force_terminal=terminal, width=100, markup=False, emoji=False, highlight=False)
    with progress(console) as display:
        display.advance()  # before any phase: harmless
        display.phase("observe")
        display.phase("learn [c-1]", total=4)
        display.advance(3)
        display.say("weak spot: [when] it opens")
    return to.getvalue()


def test_lines_in_a_pipe() -> None:
    assert shown(terminal=False).splitlines() == ["observe ...", "learn [c-1] ...", "weak spot: [when] it opens"]


def test_bars_on_a_terminal() -> None:
    out = shown(terminal=True)
    assert "weak spot: [when] it opens" in out
    last = out.rsplit("observe", 1)[1]
    assert "✓" in out
    assert "learn [c-1]" in last
    assert "left" in last


def test_an_error_closes_the_display() -> None:
    to = io.StringIO()
    try:
        with progress(Console(file=to, force_terminal=True, width=100)) as display:
            display.phase("learn", total=4)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert to.getvalue().endswith("\x1b[?25h")  # the cursor is back
