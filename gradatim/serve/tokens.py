"""Feedback tokens: whoever holds one was given the reply that it names, until it expires.

    <response id>.<expiry, seconds since 1970>.<HMAC-SHA256 over both and the key's id, base64url>

A token is bound to the key that asked, so another client can't use it, and needs no row: what it says is what it
proves. The secret is a file of the workspace, `serve.secret`, made on first use and readable by its owner only.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import time
from pathlib import Path

from gradatim.errors import WorkspaceError
from gradatim.store import durable

SECRET_FILE = "serve.secret"
_BYTES = 32
_TOKEN = re.compile(r"([\w-]{1,100})\.(\d{1,12})\.([\w-]{43})", re.ASCII)


def read_secret(folder: Path) -> bytes:
    """The secret of a workspace, made when it has none. Raises WorkspaceError when what is there is none."""
    path = folder / SECRET_FILE
    if not path.exists():
        try:
            durable.write_new(path, secrets.token_bytes(_BYTES), mode=0o600)
            durable.fsync_folder(folder)
        except FileExistsError:
            pass  # another server was faster
    secret = path.read_bytes()
    if len(secret) != _BYTES:
        raise WorkspaceError(f"{path} is not a secret of {_BYTES} bytes: remove it, and tokens given out are void")
    return secret


class Tokens:
    """Makes and reads tokens with one secret. `hours`: for how long each is good."""

    def __init__(self, secret: bytes, hours: float) -> None:
        self._secret, self._seconds = secret, hours * 3600

    def make(self, response: str, key: str, at: float | None = None) -> str:
        """A token for the reply `response`, which the key `key` asked for, at a time in seconds since 1970."""
        expiry = int((time.time() if at is None else at) + self._seconds)
        return f"{response}.{expiry}.{self._mark(response, expiry, key)}"

    def response(self, token: str, key: str, at: float | None = None) -> str | None:
        """The reply that a token was given out for; None when it was forged, has expired, or is another key's."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        response, expiry = found[1], int(found[2])
        genuine = hmac.compare_digest(self._mark(response, expiry, key), found[3])
        return response if genuine and expiry >= (time.time() if at is None else at) else None

    def _mark(self, response: str, expiry: int, key: str) -> str:
        said = "\0".join(["gradatim feedback v1", response, str(expiry), key]).encode()
        return base64.urlsafe_b64encode(hmac.digest(self._secret, said, "sha256")).rstrip(b"=").decode()
