"""Replacing files, and clearing up after the killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradatim.store import durable


def test_replace_makes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"one", b"two"):
        durable.replace(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_write_new_refuses_what_exists(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.write_new(path, b"one", mode=0o600)
    with pytest.raises(FileExistsError):
        durable.write_new(path, b"two")
    assert path.read_bytes() == b"one"


def test_a_temporary_folder_goes_unless_it_was_renamed(tmp_path: Path) -> None:
    with durable.temporary_folder(tmp_path) as folder:
        (folder / "file").write_bytes(b"")
    assert list(tmp_path.iterdir()) == []
    with durable.temporary_folder(tmp_path) as folder:
        folder.rename(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_sweep_removes_old_temporary_things_only(tmp_path: Path) -> None:
    old_file, old_folder = durable.temporary_path(tmp_path), durable.temporary_path(tmp_path)
    young, other = durable.temporary_path(tmp_path), tmp_path / "other"
    old_folder.mkdir()
    for path in (old_file, old_folder / "file", young, other):
        path.write_bytes(b"")
    for path in (old_file, old_folder, other):
        os.utime(path, (0, 0))
    durable.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([young, other])
