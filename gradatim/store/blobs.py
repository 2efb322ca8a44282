"""Content-addressed bytes: a file named by the SHA-256 of what it holds.

A blob is never changed and never trusted: `get` checks the digest at every read. Putting the same bytes again is
free, and heals a blob that was damaged on disk. The folder is flat; nothing is ever collected.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gradatim.errors import IntegrityError
from gradatim.store import durable
from gradatim.store.canonical import canonical, digest_of
from gradatim.types import Digest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


class Blobs:
    """A folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> Digest:
        digest = digest_of(data)
        path = self.folder / digest
        if not path.exists() or path.read_bytes() != data:
            durable.replace(path, data)
        return digest

    def get(self, digest: Digest) -> bytes:
        """The bytes; IntegrityError when they are missing or no longer match their name."""
        problem, data = self._read(digest)
        if problem is not None:
            raise IntegrityError(problem)
        return data

    def put_json(self, value: object) -> Digest:
        """Store a value of `gradatim.types` (or a list, dict or scalar) as canonical JSON."""
        return self.put(canonical(value))

    def get_json(self, digest: Digest, result_type: type[T]) -> T:
        """The value back, validated; IntegrityError when the blob does not hold one."""
        from pydantic import ValidationError

        data = self.get(digest)
        wanted: Any = result_type  # not every type is Hashable to mypy
        try:
            value: T = _adapter(wanted).validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the value"
            name = getattr(result_type, "__name__", str(result_type))
            raise IntegrityError(f"blobs/{digest} does not hold a {name} ({where}: {first['msg']})") from error
        return value

    def verify(self, digest: Digest) -> str | None:
        """What is wrong with a blob, or None."""
        return self._read(digest)[0]

    def names(self) -> Iterator[str]:
        """Every file name in the folder, in order, without the temporary ones."""
        found = (path.name for path in self.folder.iterdir())
        yield from sorted(name for name in found if not name.startswith(durable.TEMPORARY))

    def _read(self, digest: Digest) -> tuple[str | None, bytes]:
        path = self.folder / digest
        try:
            data = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            return f"blobs/{digest} is missing: restore it from a copy of the workspace", b""
        if digest_of(data) != digest:
            return f"blobs/{digest} does not match its digest: restore it from a copy of the workspace", b""
        return None, data


@cache
def _adapter(result_type: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(result_type)
