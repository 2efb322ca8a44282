"""Checkpoints are C2SP signed notes, and no byte of one can change."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gradatim.ledger.note import (
    Checkpoint,
    origin_of,
    private_pem,
    public_line,
    read_note,
    read_private_pem,
    read_public_line,
    sign,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
CHECKPOINT = Checkpoint(origin_of(PUBLIC), 42, bytes(range(32)))


def flips(data: bytes) -> list[bytes]:
    """`data` with each bit of it flipped in turn."""
    return [data[:i] + bytes([data[i] ^ (1 << bit)]) + data[i + 1 :] for i in range(len(data)) for bit in range(8)]


def test_a_note_is_text_a_blank_line_and_a_signature_line() -> None:
    origin, size, root, blank, signature, end = sign(CHECKPOINT, KEY).decode().split("\n")
    assert (origin, size, blank, end) == (CHECKPOINT.origin, "42", "", "")
    assert base64.b64decode(root) == CHECKPOINT.root
    dash, name, encoded = signature.split(" ")
    assert (dash, name) == ("—", origin)
    name_in_key, key_id, _ = public_line(PUBLIC).decode().split("+", 2)
    assert name_in_key == origin
    assert base64.b64decode(encoded)[:4].hex() == key_id
    PUBLIC.verify(base64.b64decode(encoded)[4:], f"{origin}\n{size}\n{root}\n".encode())


def test_notes_and_keys_read_back() -> None:
    assert read_note(sign(CHECKPOINT, KEY), PUBLIC) == CHECKPOINT
    assert read_public_line(public_line(PUBLIC)) == PUBLIC
    assert read_private_pem(private_pem(KEY)).public_key() == PUBLIC


def test_every_flipped_bit_of_a_note_is_refused() -> None:
    for damaged in flips(sign(CHECKPOINT, KEY)):
        with pytest.raises(ValueError, match=r"is not|does not"):
            read_note(damaged, PUBLIC)


def test_every_flipped_bit_of_a_public_key_is_refused() -> None:
    for damaged in flips(public_line(PUBLIC)):
        with pytest.raises(ValueError, match="is not"):
            read_public_line(damaged)


def test_a_damaged_private_key_is_refused_or_is_another_key() -> None:
    for damaged in flips(private_pem(KEY)):
        with suppress(ValueError):
            assert read_private_pem(damaged).public_key() != PUBLIC


@pytest.mark.parametrize("note", [b"", b"\n", b"\xff", b"a\nb\nc\n\nd\n", b"a\n1\n" + b"\n" * 3])
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not a signed checkpoint|does not carry"):
        read_note(note, PUBLIC)


def test_the_note_of_another_key_is_refused() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(ValueError, match="does not carry a signature"):
        read_note(sign(CHECKPOINT, other), PUBLIC)
