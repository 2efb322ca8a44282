"""Adapters: immutable folders whose every byte is checked."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gradatim.errors import InputError, IntegrityError
from gradatim.store.adapters import Adapters


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 10)
    (folder / "adapter_config.json").write_text('{"r": 16}')
    return folder


@pytest.fixture
def adapters(tmp_path: Path) -> Adapters:
    return Adapters(tmp_path / "adapters")


def test_an_adapter_is_copied_and_named_by_its_files(adapters: Adapters, source: Path) -> None:
    digest = adapters.add(source)
    assert adapters.path(digest) == adapters.folder / digest
    for file in source.iterdir():
        assert (adapters.path(digest) / file.name).read_bytes() == file.read_bytes()
    assert adapters.add(source) == digest == adapters.add(adapters.path(digest))
    assert list(adapters.names()) == [digest]


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_the_name_depends_on_every_file(adapters: Adapters, source: Path, name: str) -> None:
    digest = adapters.add(source)
    (source / name).write_bytes((source / name).read_bytes() + b"\n")
    other = adapters.add(source)
    (source / name).rename(source / f"{name}.bak")
    assert len({digest, other, adapters.add(source)}) == 3


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "manifest.json"])
def test_a_damaged_file_is_named_and_healed_by_adding_again(adapters: Adapters, source: Path, name: str) -> None:
    digest = adapters.add(source)
    path = adapters.folder / digest / name
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=f"adapters/{digest}/{name} does not match"):
        adapters.path(digest)
    assert adapters.add(source) == digest
    assert adapters.verify(digest) is None
    assert list(adapters.folder.iterdir()) == [adapters.path(digest)]


def test_missing_and_added_files_are_named(adapters: Adapters, source: Path) -> None:
    digest = adapters.add(source)
    (adapters.folder / digest / "gate.safetensors").write_bytes(b"")
    assert "gate.safetensors does not belong" in (adapters.verify(digest) or "")
    (adapters.folder / digest / "adapter_config.json").unlink()
    assert "adapter_config.json is missing" in (adapters.verify(digest) or "")
    with pytest.raises(IntegrityError, match="adapters/abc is missing"):
        adapters.path("abc")


def test_what_is_no_adapter_is_refused(adapters: Adapters, source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No adapter folder"):
        adapters.add(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is empty"):
        adapters.add(tmp_path / "empty")
    (source / "runs").mkdir()
    with pytest.raises(InputError, match="not a file"):
        adapters.add(source)
    assert list(adapters.folder.iterdir()) == []


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_nothing(
    adapters: Adapters, source: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            adapters.add(source)
    assert list(adapters.folder.iterdir()) == []
    assert adapters.verify(adapters.add(source)) is None
