"""Who may ask, and who may govern: keys, of which only digests are kept.

A key is 32 random bytes behind the id of its row, `grd_<id>_<secret>`, so that it is found by its id and compared
with one digest in constant time. A secret of that entropy needs no slow hash: nobody can try 2^256 of them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import asdict, dataclass
from typing import Literal

from sqlalchemy import select, update

from gradatim.errors import InputError
from gradatim.store import tables
from gradatim.store.clock import now
from gradatim.store.database import Database

Role = Literal["client", "admin"]

_NAME = re.compile(r"[\w.@-]{1,64}")


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the table knows it: without its secret."""

    id: str
    name: str
    role: Role
    digest: str
    created_at: str
    revoked_at: str | None

    def matches(self, secret: str) -> bool:
        """Whether this is the key; takes as long whatever differs."""
        return hmac.compare_digest(self.digest, digest_of_key(secret)) and self.revoked_at is None


class Keys:
    """The keys of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, name: str, role: Role) -> tuple[Key, str]:
        """A new key and its secret, which nobody can have again; InputError when the name is taken or unfit."""
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} can't name a key: use up to 64 letters, digits, dots, dashes or @")
        identity = secrets.token_hex(6)
        secret = f"grd_{identity}_{secrets.token_urlsafe(32)}"
        key = Key(identity, name, role, digest_of_key(secret), now(), None)
        with self._database.writing() as connection:
            if connection.execute(self._database.insert_new(tables.keys).values(asdict(key))).rowcount != 1:
                raise InputError(f"There is a key named {name} already: revoked or not, its name is not used again")
        return key, secret

    def list(self) -> list[Key]:
        """All keys in the order in which they were made, revoked ones too."""
        with self._database.reading() as connection:
            rows = list(connection.execute(select(tables.keys).order_by(tables.keys.c.position)).mappings())
        return [Key(**{name: row[name] for name in Key.__slots__}) for row in rows]

    def revoke(self, name: str) -> Key:
        """Let nobody in with this key any more; InputError when there is none of that name or it was revoked."""
        table = tables.keys
        change = update(table).where(table.c.name == name, table.c.revoked_at.is_(None)).values(revoked_at=now())
        with self._database.writing() as connection:
            if connection.execute(change).rowcount != 1:
                raise InputError(f"No key in use is named {name}: `gradatim keys` lists them")
        return next(key for key in self.list() if key.name == name)


def digest_of_key(secret: str) -> str:
    """SHA-256 of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def id_in(secret: str) -> str:
    """The id that a key of ours names; of anything else some text that is no id."""
    return secret.split("_")[1] if secret.startswith("grd_") and secret.count("_") >= 2 else ""
