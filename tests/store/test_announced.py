"""What a step tells others while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradatim.store import announced
from gradatim.store.announced import Announced, read_announced


class Heard:
    """A display that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def phase(self, name: str, total: float | None = None) -> None:
        self.calls.append(("phase", name, total))

    def advance(self, amount: float = 1.0) -> None:
        self.calls.append(("advance", amount))

    def say(self, text: str) -> None:
        self.calls.append(("say", text))


def test_others_read_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announced, "SECONDS", 0.0)
    heard, path = Heard(), tmp_path / "step-0001" / "announced.json"
    assert read_announced(path) is None
    told = Announced(heard, path)
    told.phase("learn", 100)
    told.advance(30)
    told.advance()
    told.say("early stop")
    found = read_announced(path)
    assert found
    assert (found["phase"], found["done"], found["total"]) == ("learn", 31.0, 100)
    assert found["since"] <= found["at"]
    told.phase("judge")
    found = read_announced(path)
    assert found
    assert (found["phase"], found["done"], found["total"]) == ("judge", 0.0, None)
    said = [("phase", "learn", 100), ("advance", 30), ("advance", 1.0), ("say", "early stop"), ("phase", "judge", None)]
    assert heard.calls == said
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_the_file_is_not_written_at_every_advance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announced, "SECONDS", 3600.0)
    path = tmp_path / "announced.json"
    told = Announced(Heard(), path)
    told.phase("learn", 100)
    told.advance(50)
    found = read_announced(path)
    assert found
    assert found["done"] == 0.0


def test_what_can_not_be_written_stops_no_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    heard = Heard()
    told = Announced(heard, tmp_path / "file" / "announced.json")
    told.phase("learn", 100)
    assert heard.calls == [("phase", "learn", 100)]


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_what_is_damaged_is_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "announced.json"
    path.write_text(text)
    assert read_announced(path) is None
