"""What several folders of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests import postgres

settings.register_profile("seeded", derandomize=True, deadline=None)  # timing is for benchmarks
settings.load_profile("seeded")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Postgres]:
    """One PostgreSQL server for all tests, its password in PGPASSFILE; skipped where it is not installed."""
    programs = postgres.programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs (initdb, pg_ctl) are not installed here")
    with postgres.running(programs) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSFILE", str(server.password_file))
        yield server
