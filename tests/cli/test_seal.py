"""`gradatim seal`: what it tells of a loop, and what it does without documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.recipes import writer
from gradatim.recipes.writer import WriterOptions, WriterReport
from gradatim.types import Cost

Run = Callable[..., Any]


def _report(adopted: bool) -> WriterReport:
    rounds = ({"trials": 84, "reliability": 0.9, "tried": -3.0, "kept": -2.5, "seconds": 120.0},)
    gain = (0.4, 0.1, 0.7) if adopted else (0.1, -0.2, 0.4)
    return WriterReport("a" * 64, adopted, *gain, 0.2, 0.35, "other documents", 9, rounds, Cost(300.0, 0, 9000.0))


@pytest.mark.parametrize("adopted", [True, False])
def test_it_tells_what_came_of_the_loop(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, adopted: bool) -> None:
    asked = []

    def train(_workspace: object, options: WriterOptions, _progress: object) -> WriterReport:
        asked.append(options)
        return _report(adopted)

    monkeypatch.setattr(writer, "train_writer", train)
    ran = run("seal", "-w", folder, "--rounds", 1, "--seed", 4)
    assert ran.code == 0
    assert asked == [WriterOptions(1, 2, 4)]
    said = " ".join(ran.out.split())
    assert "20% before, 35% after" in said
    assert ("adopted: the next steps may study" in said) == adopted
    assert ("is not adopted" in said) != adopted
    data = run("seal", "-w", folder, "--json").data
    assert (data["adopted"], data["rounds"][0]["trials"], data["cost"]["joules"]) == (adopted, 84, 9000.0)


def test_without_documents_there_is_nothing_to_learn_from(run: Run, folder: Path) -> None:
    ran = run("seal", "-w", folder)
    assert ran.code == 2
    assert "gradatim add FILE" in ran.err
    assert [line for line in ran.err.splitlines() if line.startswith("error: ")] == ran.err.splitlines()[-1:]
