"""A workspace whose rows are in PostgreSQL: chosen once by URL, its own, and without a password in the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradatim.errors import InputError, WorkspaceError
from gradatim.ledger.verify import verify_workspace
from gradatim.workspace import DATABASE, Workspace
from tests.postgres import Postgres

BASE = {"source": "bundled", "digest": "b" * 64, "kind": "bundled"}


def made(folder: Path, url: str) -> Workspace:
    return Workspace.create(folder, BASE, "name = 'test'\n", database=url)


def test_its_rows_are_there_and_the_folder_holds_no_password(postgresql: Postgres, tmp_path: Path) -> None:
    url = postgresql.new()
    made(tmp_path / "here", url)
    for value in ("1", "2"):  # opened twice
        workspace = Workspace.open(tmp_path / "here")
        workspace.records.set_setting("cursor", value)
        workspace.records.close()
    name = url.split("/")[3].split("?")[0]
    assert postgresql.run(name, "SELECT value FROM meta WHERE key = 'cursor'") == [("2",)]
    assert not list((tmp_path / "here").glob("records.sqlite*"))
    assert (tmp_path / "here" / DATABASE).read_text() == f'url = "{url}"\n'
    stored = b"".join(path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file())
    assert postgresql.password.encode() not in stored
    assert verify_workspace(tmp_path / "here").ok


def test_a_database_has_one_workspace(postgresql: Postgres, tmp_path: Path) -> None:
    url = postgresql.new()
    made(tmp_path / "one", url)
    with pytest.raises(WorkspaceError, match="a workspace's already"):
        made(tmp_path / "two", url)
    assert not (tmp_path / "two").exists()
    made(tmp_path / "two", postgresql.new())
    (tmp_path / "two" / DATABASE).write_text(f'url = "{url}"\n')
    with pytest.raises(WorkspaceError, match="another workspace's"):
        _ = Workspace.open(tmp_path / "two").records


def test_without_its_database_no_workspace(postgresql: Postgres, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="does not exist"):
        made(tmp_path / "here", postgresql.url("nowhere"))
    with pytest.raises(InputError, match="Leave the password out"):
        made(tmp_path / "here", "postgresql://me:secret@host/name")
    assert not (tmp_path / "here").exists()


def test_beside_other_files_too(postgresql: Postgres, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    made(tmp_path, postgresql.new()).records.close()
    assert (tmp_path / DATABASE).exists()


@pytest.mark.parametrize("said", ["url =", "url = 5", 'host = "x"', 'url = "postgresql://a@b/c"\npassword = "x"'])
def test_a_setting_that_is_none_is_one_line(tmp_path: Path, said: str) -> None:
    workspace = Workspace.create(tmp_path / "here", BASE, "")
    (workspace.folder / DATABASE).write_text(said)
    with pytest.raises(WorkspaceError, match=DATABASE):
        _ = workspace.records
