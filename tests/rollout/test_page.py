"""The page on rollouts and its benchmark: what they show runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "rollout.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["release"] in ("release-7", "release-8")
    assert names["rollout"].paused == "bob"
    assert capsys.readouterr().out == ""  # two rows decide nothing


def test_the_benchmark_ends_with_one_json_object() -> None:
    command = [sys.executable, "benchmarks/rollout.py", "--runs", "2", "--users", "20000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["runs"] == 2
    assert set(figures["equal"]) == set(figures["worse"])
    assert {"gradatim", "fixed sample", "t-test hourly"} < set(figures["equal"])
