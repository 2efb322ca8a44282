"""A file becomes a Document: text, Markdown or PDF.

A PDF is one by its first bytes, whatever it is called; everything else must be text. The title is the first heading,
or the file's name without its ending.

Limits: of a PDF only the text layer is read, in the order in which the file holds it: scanned pages have none, columns
and tables come out as lines of words. A word broken over two lines is joined, also where its hyphen was meant.
"""

from __future__ import annotations

import io
import logging
import re
import unicodedata
from pathlib import Path

from gradatim.errors import InputError
from gradatim.observe.files import decode, read_bytes
from gradatim.observe.markdown import first_heading
from gradatim.store.canonical import digest_of
from gradatim.store.clock import now
from gradatim.types import Document, Provenance


def read_document(path: Path) -> Document:
    """Reads a text, Markdown or PDF file; raises InputError, one line that says what is wrong and what to do."""
    data = read_bytes(path)
    if data.startswith(b"%PDF-") or path.suffix.lower() == ".pdf":
        text, title = _pdf_text(path, data), None
    else:
        text = decode(path, data)
        title = first_heading(text)
    return Document(
        id=digest_of(text.encode()),
        title=title or path.stem,
        text=text,
        provenance=provenance(str(path.absolute()), data),
    )


def provenance(source: str, data: bytes) -> Provenance:
    """Where these bytes came from, received now."""
    return Provenance(source, digest_of(data), now())


def _pdf_text(path: Path, data: bytes) -> str:
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of what it mends
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise InputError(f"{path}: needs a password; save a copy without one")
        pages = [page.extract_text() for page in reader.pages]
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - pypdf meets broken files with errors of any kind
        raise InputError(f"{path}: is a broken PDF ({type(error).__name__}); print it to a new one") from None
    text = _unbroken("\n\n".join(pages))
    if not text.strip():
        raise InputError(f"{path}: is a PDF without text, perhaps scanned; run it through text recognition first")
    return text


def _unbroken(text: str) -> str:
    """Joins words broken over lines, and writes ligatures as letters."""
    return re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", unicodedata.normalize("NFKC", text.replace("\r\n", "\n")))
