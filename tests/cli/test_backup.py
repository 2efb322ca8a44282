"""`gradatim backup` and `gradatim restore`: what they print, and that they refuse on one line."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run


def test_there_and_back(run: Run, folder: Path, tmp_path: Path) -> None:
    made = run("backup", "-w", folder, "--to", tmp_path / "b.tar", "--json")
    assert (made.code, made.data["file"], made.data["secrets"]) == (0, str(tmp_path / "b.tar"), True)
    back = run("restore", tmp_path / "b.tar", "--to", tmp_path / "again", "--json")
    assert back.code == 0
    assert back.data == {"workspace": str(tmp_path / "again")} | {k: v for k, v in made.data.items() if k != "file"}
    assert run("verify", "-w", tmp_path / "again", "--json").data["head"] == made.data["head"]


def test_people_are_told_that_the_key_is_missing(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("backup", "-w", folder, "--to", tmp_path / "b.tar", "--without-secrets")
    assert done.code == 0
    assert "signing key is not among them" in done.out


def test_refusals_are_one_line(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("no archive")
    for arguments, said in (
        (("backup", "-w", folder, "--to", tmp_path / "b.tar"), "exists already"),
        (("restore", tmp_path / "b.tar", "--to", tmp_path / "again"), "is no backup"),
        (("restore", tmp_path / "b.tar", "--to", folder), "nothing is overwritten"),
        (("init", tmp_path / "new", "--database", "mysql://a@b/c"), "can't be used"),
    ):
        done = run(*arguments, "--json")
        assert (done.code, said in done.data["error"]) == (2, True), done.data
        assert done.err.splitlines()[-1] == f"error: {done.data['error']}"
    assert not (tmp_path / "new").exists()
