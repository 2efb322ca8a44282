"""Signed checkpoints, as C2SP's signed-note and tlog-checkpoint write them.

    gradatim/1f0c...                        origin: the log's name, also the key's
    42                                      number of entries
    qT3s...=                                base64 of the Merkle root

    — gradatim/1f0c... Yw8k...=             base64 of a 4-byte key id and an Ed25519 signature of the text above

The public key is one line, `<name>+<key id>+<base64 of 0x01 and the key>`, which Go's note package reads too.
Reading is strict: what does not encode back to the same bytes is refused, so that no byte can change unseen.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_ED25519 = b"\x01"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a signature vouches for: a log, its size and its root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


def origin_of(key: Ed25519PublicKey) -> str:
    """A name for the log of this key, the same everywhere."""
    return f"gradatim/{hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]}"


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> bytes:
    """The signed note."""
    return _note(checkpoint, key.public_key(), key.sign(checkpoint.text()))


def read_note(note: bytes, key: Ed25519PublicKey) -> Checkpoint:
    """The checkpoint in a note that this key signed; ValueError says what is wrong with it."""
    try:
        origin, size, root, _, signed = note.decode().removesuffix("\n").split("\n")
        checkpoint = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
        signature = base64.b64decode(signed.rpartition(" ")[2], validate=True)[4:]
    except ValueError as error:
        raise ValueError("is not a signed checkpoint") from error
    try:
        key.verify(signature, checkpoint.text())
    except InvalidSignature as error:
        raise ValueError("does not carry a signature of key.pub") from error
    if note != _note(checkpoint, key, signature) or checkpoint.origin != origin_of(key):
        raise ValueError("is not written as it was signed")
    return checkpoint


def public_line(key: Ed25519PublicKey) -> bytes:
    encoded = base64.b64encode(_ED25519 + key.public_bytes_raw()).decode()
    return f"{origin_of(key)}+{_key_id(key).hex()}+{encoded}\n".encode()


def read_public_line(line: bytes) -> Ed25519PublicKey:
    """The key in a `key.pub`; ValueError when a byte of it is wrong."""
    try:
        encoded = line.decode().removesuffix("\n").split("+", 2)[2]
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded, validate=True)[1:])
    except (ValueError, IndexError) as error:
        raise ValueError("is not a public key") from error
    if public_line(key) != line:
        raise ValueError("is not written as it was made")
    return key


def private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_private_pem(pem: bytes) -> Ed25519PrivateKey:
    """The key in a `key.pem`; ValueError when a byte of it is wrong."""
    try:
        body = base64.b64decode(pem.decode().split("\n")[1], validate=True)
        key = Ed25519PrivateKey.from_private_bytes(body[-32:])  # PKCS #8 ends with the key (RFC 8410)
    except (ValueError, IndexError) as error:
        raise ValueError("is not a private key") from error
    if private_pem(key) != pem:
        raise ValueError("is not written as it was made")
    return key


def _note(checkpoint: Checkpoint, key: Ed25519PublicKey, signature: bytes) -> bytes:
    encoded = base64.b64encode(_key_id(key) + signature).decode()
    return checkpoint.text() + f"\n— {checkpoint.origin} {encoded}\n".encode()


def _key_id(key: Ed25519PublicKey) -> bytes:
    name = origin_of(key).encode()
    return hashlib.sha256(name + b"\n" + _ED25519 + key.public_bytes_raw()).digest()[:4]
