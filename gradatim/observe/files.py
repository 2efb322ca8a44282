"""Bytes and text of a file that a person named, or one line that says why not.

Text is UTF-8, with or without a byte order mark, or UTF-16 and UTF-32 with one. Nothing guesses any other encoding: a
wrong guess would teach the model wrong letters.
"""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path

from gradatim.errors import InputError

MAX_BYTES = 10_000_000
"""Larger files are refused before they are read."""

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular, non-empty file of at most MAX_BYTES; raises InputError."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a file in it")
        if not path.exists():
            raise InputError(f"{path}: there is no such file; check the name")
        if not path.is_file():
            raise InputError(f"{path}: is not a regular file; save what it gives to a file first")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: has {size:,} bytes, at most {MAX_BYTES:,} are read; split it")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}); name a file that you may read") from None
    if not data:
        raise InputError(f"{path}: is empty; there is nothing to learn from")
    return data


def decode(path: Path, data: bytes) -> str:
    """The text of these bytes, with `\\n` line ends and composed letters (NFC); raises InputError."""
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding in ("utf-8", "utf-8-sig") and b"\0" in data:
        raise InputError(f"{path}: is binary; save it as .txt, .md or .pdf first")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        name = encoding.removesuffix("-sig").upper()
        raise InputError(f"{path}:{line}: is not {name}; re-save it as UTF-8, or as .pdf") from None
    if not text.strip():
        raise InputError(f"{path}: holds nothing but white space; there is nothing to learn from")
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
