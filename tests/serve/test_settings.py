"""What a person may set, and how they are told that they can't."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import gradatim
from gradatim.errors import InputError
from gradatim.serve.settings import Metric, Settings, read_settings

DOCS = Path(gradatim.__file__).parents[1] / "docs" / "serve.md"


def test_the_file_in_the_documentation_says_the_defaults(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    (tmp_path / "serve.toml").write_text(block)
    read = read_settings(tmp_path)
    assert read.metrics.pop("helpful") == Metric(type="number", level="session", low=1.0, high=5.0)
    assert read == Settings() == read_settings(tmp_path / "nowhere")
    written = tomllib.loads(block)
    assert set(Settings.model_fields) == {*written, "upstream"}
    assert set(type(read.limits).model_fields) == set(written["limits"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = ", "is not TOML"),
        ("modell = 'x'", "modell: "),
        ("[limits]\nqueue = 0", "limits.queue: "),
        ("[limits]\nqueue = true", "limits.queue: "),
        ("[metrics.x]\ntype = 'stars'", "metrics.x.type: "),
        ("[metrics.x]\nlow = 1", "metrics.x: only a number has a low and a high"),
        ("[metrics.x]\ntype = 'number'\nlow = 2.0\nhigh = 1.0", "metrics.x: low must be below high"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "serve.toml").write_text(text)
    with pytest.raises(InputError) as error:
        read_settings(tmp_path)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_the_values_of_a_metric() -> None:
    thumbs, boolean, number = Metric(), Metric(type="boolean"), Metric(type="number", low=0.0, high=5.0)
    assert [thumbs.value(given) for given in (1, -1, 0, True, "1", 1.0)] == [1.0, -1.0, None, None, None, 1.0]
    assert [boolean.value(given) for given in (True, False, 1, None)] == [1.0, 0.0, None, None]
    assert [number.value(given) for given in (0, 5, 2.5, 6, -1, True)] == [0.0, 5.0, 2.5, None, None, None]
    assert (thumbs.wanted, number.wanted) == ("-1 or 1", "a number at least 0 and at most 5")
