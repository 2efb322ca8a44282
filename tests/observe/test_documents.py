"""Files become documents, or one line that says why not."""

from __future__ import annotations

import codecs
import hashlib
import os
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from gradatim.errors import InputError
from gradatim.observe.documents import read_document
from gradatim.observe.files import MAX_BYTES


def complaint(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_document(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def pdf(text: str) -> bytes:
    """A PDF of one page, written by hand; an empty text gives a page without any."""
    lines = "".join(f"({line}) Tj T* " for line in text.split("\n")) if text else ""
    content = f"BT /F1 12 Tf 14 TL 50 700 Td {lines}ET".encode()
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj%sendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return data + b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(data),
    )


# ------------------------------------------------------------------ what can be read


def test_a_markdown_document(tmp_path: Path) -> None:
    path = saved(tmp_path, "hand.md", b"# The *Handbook*\n\nWe open at nine.\n")
    document = read_document(path)
    assert document.title == "The Handbook"
    assert document.text == "# The *Handbook*\n\nWe open at nine.\n"
    assert document.id == hashlib.sha256(document.text.encode()).hexdigest()


def test_provenance_is_the_absolute_path_and_the_bytes_as_received(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = codecs.BOM_UTF8 + b"We open at nine.\r\n"
    saved(tmp_path, "hand.txt", data)
    document = read_document(Path("hand.txt"))
    assert document.provenance.source == str(tmp_path / "hand.txt")
    assert document.provenance.digest == hashlib.sha256(data).hexdigest()
    assert document.provenance.added_at.startswith("20")
    assert document.text == "We open at nine.\n"


def test_without_a_heading_the_title_is_the_name_of_the_file(tmp_path: Path) -> None:
    assert read_document(saved(tmp_path, "opening_hours.txt", b"We open at nine.")).title == "opening_hours"


@pytest.mark.parametrize("name", ["notes.txt", "notes.md", "notes", "notes.rst"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_in_any_unicode_encoding_that_names_itself(tmp_path: Path, name: str, encoding: str) -> None:
    text = "Der Schlüssel hängt am Haken – 钥匙."
    assert read_document(saved(tmp_path, name, text.encode(encoding))).text == text


def test_the_same_text_is_the_same_document_whatever_the_line_ends_and_accents(tmp_path: Path) -> None:
    composed = saved(tmp_path, "a.txt", "Café.\nOpen.".encode())
    decomposed = saved(tmp_path, "b.txt", "Cafe\u0301.\r\nOpen.".encode())
    assert read_document(composed).id == read_document(decomposed).id


def test_a_pdf(tmp_path: Path) -> None:
    document = read_document(saved(tmp_path, "hand.pdf", pdf("We open at nine every morn-\ning of the week.")))
    assert document.title == "hand"
    assert document.text.split() == "We open at nine every morning of the week.".split()


def test_a_pdf_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    assert "open at nine" in read_document(saved(tmp_path, "hand.txt", pdf("We open at nine."))).text


def test_a_pdf_locked_with_an_empty_password_opens(tmp_path: Path) -> None:
    path = tmp_path / "hand.pdf"
    write_locked(path, "")
    assert "open at nine" in read_document(path).text


# ------------------------------------------------------------------ what can't


def write_locked(path: Path, password: str) -> None:
    plain = saved(path.parent, "plain.pdf", pdf("We open at nine."))
    writer = PdfWriter(clone_from=PdfReader(plain))
    writer.encrypt(password, owner_password="owner", algorithm="AES-256")
    writer.write(path)


def test_a_missing_file(tmp_path: Path) -> None:
    assert complaint(tmp_path / "none.md") == ": there is no such file; check the name"


def test_a_folder(tmp_path: Path) -> None:
    assert complaint(tmp_path) == ": is a folder; name a file in it"


def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in complaint(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.pdf"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    assert complaint(saved(tmp_path, name, b"")) == ": is empty; there is nothing to learn from"


def test_a_file_of_white_space(tmp_path: Path) -> None:
    assert "nothing but white space" in complaint(saved(tmp_path, "a.txt", b" \n\t\r\n"))


def test_a_binary_file(tmp_path: Path) -> None:
    assert complaint(saved(tmp_path, "a.docx", b"PK\x03\x04\x00\x00")) == (
        ": is binary; save it as .txt, .md or .pdf first"
    )


def test_another_encoding_with_its_line(tmp_path: Path) -> None:
    data = "Zeile eins.\nSchlüssel.".encode("latin-1")
    assert complaint(saved(tmp_path, "a.txt", data)) == ":2: is not UTF-8; re-save it as UTF-8, or as .pdf"


def test_a_broken_utf_16_file(tmp_path: Path) -> None:
    assert "is not UTF-16" in complaint(saved(tmp_path, "a.txt", codecs.BOM_UTF16_LE + b"a\x00b"))


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert complaint(path) == ": has 10,000,001 bytes, at most 10,000,000 are read; split it"


def test_a_file_at_the_limit_is_read(tmp_path: Path) -> None:
    assert len(read_document(saved(tmp_path, "a.txt", b"a " * (MAX_BYTES // 2))).text) == MAX_BYTES


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.txt", b"secret")
    path.chmod(0)
    assert "can't be read" in complaint(path)


def test_a_pdf_without_text(tmp_path: Path) -> None:
    assert "is a PDF without text" in complaint(saved(tmp_path, "scan.pdf", pdf("")))


def test_a_pdf_with_a_password(tmp_path: Path) -> None:
    write_locked(tmp_path / "hand.pdf", "secret")
    assert "needs a password" in complaint(tmp_path / "hand.pdf")


@pytest.mark.parametrize("data", [b"%PDF-1.4 and nothing more", b"no PDF at all", pdf("We open at nine.")[:300]])
def test_a_broken_pdf(tmp_path: Path, data: bytes) -> None:
    message = complaint(saved(tmp_path, "hand.pdf", data))
    assert "is a broken PDF" in message or "without text" in message
