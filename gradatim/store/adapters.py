"""Immutable adapters: a folder of files in PEFT's layout, named by a digest over all of them.

The digest is the SHA-256 of the canonical JSON of the sorted list of [file name, SHA-256 of the file]. That list is
kept beside the files as `manifest.json`, so the folder's name vouches for the manifest and the manifest for each
file: whatever changes is named exactly. Adapters are flat: a subfolder is refused, hidden files are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from gradatim.errors import InputError, IntegrityError
from gradatim.store import durable
from gradatim.store.canonical import canonical, digest_of
from gradatim.types import Digest

MANIFEST = "manifest.json"
STUDIED_FILE = "studied.json"
"""What an adapter learnt by heart (`recall/studied.py`), and the adapter that weighs it."""


class Adapters:
    """A folder of adapter folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, source: Path) -> Digest:
        """Copy a folder of adapter files in; InputError when it is not one. Adding it again changes nothing."""
        files = _adapter_files(source)
        with durable.temporary_folder(self.folder) as temporary:
            manifest = canonical([[file.name, durable.copy_new(file, temporary / file.name)] for file in files])
            durable.write_new(temporary / MANIFEST, manifest)
            durable.fsync_folder(temporary)
            digest = digest_of(manifest)
            self._move_in(temporary, digest)
        return digest

    def path(self, digest: Digest) -> Path:
        """The adapter's folder, after checking every byte; IntegrityError names the file that differs."""
        problem = self.verify(digest)
        if problem is not None:
            raise IntegrityError(problem)
        return self.folder / digest

    def verify(self, digest: Digest) -> str | None:
        """What is wrong with an adapter, or None."""
        folder = self.folder / digest
        if not folder.is_dir():
            return f"adapters/{digest} is missing: restore it from a copy of the workspace"
        manifest = folder / MANIFEST
        if not manifest.is_file() or digest_of(manifest.read_bytes()) != digest:
            return _damaged(digest, MANIFEST, "does not match the adapter's digest")
        expected = dict(json.loads(manifest.read_bytes()))
        for name, file_digest in expected.items():
            if not (folder / name).is_file():
                return _damaged(digest, name, "is missing")
            if _file_digest(folder / name) != file_digest:
                return _damaged(digest, name, "does not match its digest")
        extra = {path.name for path in folder.iterdir()} - expected.keys() - {MANIFEST}
        return _damaged(digest, min(extra), "does not belong to the adapter") if extra else None

    def companions(self, digest: Digest) -> tuple[Digest, ...]:
        """Other adapters of this store that this one can't answer without: the one that its list of texts names."""
        file = self.folder / digest / STUDIED_FILE
        try:
            named = json.loads(file.read_bytes()).get("asker") if file.is_file() else None
        except (ValueError, AttributeError):
            return ()  # whoever reads the list says what is wrong with it
        return (named,) if isinstance(named, str) else ()

    def names(self) -> Iterator[str]:
        """The name of everything in the folder, in order, without the temporary ones."""
        found = (path.name for path in self.folder.iterdir())
        yield from sorted(name for name in found if not name.startswith(durable.TEMPORARY))

    def _move_in(self, temporary: Path, digest: Digest) -> None:
        target = self.folder / digest
        if self.verify(digest) is None:
            return
        with durable.temporary_folder(self.folder) as damaged:
            if target.exists():
                target.rename(damaged / digest)
            temporary.rename(target)
        durable.fsync_folder(self.folder)


def _adapter_files(source: Path) -> list[Path]:
    if not source.is_dir():
        raise InputError(f"No adapter folder at {source}: name a folder in PEFT's layout")
    found = sorted(path for path in source.iterdir() if not path.name.startswith(".") and path.name != MANIFEST)
    for path in found:
        if not path.is_file():
            raise InputError(f"{path} is not a file: an adapter is a flat folder of files")
    if not found:
        raise InputError(f"{source} is empty: an adapter needs adapter_model.safetensors and adapter_config.json")
    return found


def _file_digest(path: Path) -> Digest:
    with path.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _damaged(digest: Digest, name: str, problem: str) -> str:
    return f"adapters/{digest}/{name} {problem}: restore it from a copy of the workspace"
