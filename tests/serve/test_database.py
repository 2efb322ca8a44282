"""A server whose rows are in PostgreSQL: it answers as any other, and outlives its database's absence."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from gradatim.charter import DEFAULT_PATH
from gradatim.workspace import Workspace
from tests.postgres import Postgres
from tests.serve.conftest import Serve

ASKED: dict[str, Any] = {"model": "gradatim", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 4}


def test_it_answers_again_when_its_database_is_back(postgresql: Postgres, serve: Serve, tmp_path: Path) -> None:
    url = postgresql.new()
    name = url.split("/")[3].split("?")[0]
    base = {"source": "tiny", "digest": "tiny-0"}
    workspace = Workspace.create(tmp_path / "here", base, DEFAULT_PATH.read_text("utf-8"), database=url)
    with closing(workspace.records):
        running = serve(workspace)
        with running.http() as http:
            first = http.post("/v1/chat/completions", json=ASKED)
            rating = {"response_id": first.json()["id"], "value": 1}
            rating["token"] = first.headers["x-gradatim-feedback-token"]
            postgresql.run("postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            postgresql.run(
                "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            for path, body in (("/v1/chat/completions", ASKED), ("/v1/feedback", rating)):
                away = http.post(path, json=body)
                assert away.status_code == 503
                assert "can't be used" in away.json()["error"]["message"]
                assert postgresql.password not in away.text
            postgresql.run("postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            assert http.post("/v1/feedback", json=rating).json()["known"] is False
            assert http.post("/v1/feedback", json=rating).json()["known"] is True
            assert http.post("/v1/chat/completions", json=ASKED).status_code == 200
        kept = [one.finish for one in workspace.records.traffic.interactions()]
        assert (kept[0], kept[-1], len(workspace.records.traffic.ratings())) == ("length", "length", 1)
