"""Both databases, one after the other: whoever takes `url` is run on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from gradatim.store.records import Records

Raw = Callable[[str], list[Any]]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records 100%.sqlite'}"
    return str(request.getfixturevalue("postgresql").new())


@pytest.fixture
def records(url: str) -> Iterator[Records]:
    opened = Records(url)
    yield opened
    opened.close()


@pytest.fixture
def raw(url: str) -> Iterator[Raw]:
    """Runs SQL past everything that is tested: the rows."""
    engine = create_engine(url)

    def run(statement: str) -> list[Any]:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    yield run
    engine.dispose()
