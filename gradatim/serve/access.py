"""Who is asking: client keys ask and rate, admin keys govern, and neither does what the other does.

Keys come from the workspace's table (`gradatim keys`) and from GRADATIM_CLIENT_KEY and GRADATIM_ADMIN_KEY. Every
comparison takes the same time whatever differs. Known keys are read again once a second, so a revoked one is let in
for that long.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from gradatim.errors import InputError
from gradatim.serve.base import Refused
from gradatim.store.keys import Key, Keys, Role, digest_of_key, id_in

CLIENT_VARIABLE, ADMIN_VARIABLE = "GRADATIM_CLIENT_KEY", "GRADATIM_ADMIN_KEY"
SHORTEST = 16
_REREAD_SECONDS = 1.0
_NOBODY = Key("", "", "client", digest_of_key(""), "", "never valid")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request: the id of the key, and what it may do."""

    key: str
    role: Role


ANYONE = Caller("anyone", "client")
"""Every caller of a server without login."""


class Doorkeeper:
    """Lets callers in by their keys; with `login` False everybody is let in, for everything."""

    def __init__(
        self, keys: Keys, environment: Mapping[str, str], *, login: bool = True, reread: float = _REREAD_SECONDS
    ) -> None:
        """Raises InputError when a key in the environment is too short to be one, or both are the same."""
        self._keys, self._login, self._reread = keys, login, reread
        given: dict[Role, str] = {}
        variables: tuple[tuple[Role, str], ...] = (("client", CLIENT_VARIABLE), ("admin", ADMIN_VARIABLE))
        for role, variable in variables:
            if secret := environment.get(variable, ""):
                if len(secret) < SHORTEST:
                    raise InputError(f"{variable} is too short: use {SHORTEST} characters or more")
                given[role] = digest_of_key(secret)
        if len(given) == 2 and len(set(given.values())) == 1:
            raise InputError(f"{CLIENT_VARIABLE} and {ADMIN_VARIABLE} are the same: use two keys")
        self._given = [(Caller(f"env-{role}", role), digest) for role, digest in given.items()]
        self._known: dict[str, Key] = {}
        self._read_at: float | None = None

    @property
    def login(self) -> bool:
        """Whether callers must show a key."""
        return self._login

    @property
    def anyone_can_ask(self) -> bool:
        """Whether there is any way in for clients."""
        if not self._login or any(caller.role == "client" for caller, _ in self._given):
            return True
        return any(key.role == "client" and key.revoked_at is None for key in self._keys.list())

    def caller(self, authorization: str | None, role: Role) -> Caller:
        """The caller behind an Authorization header; `Refused` with 401 or 403 when the key is none of that role."""
        if not self._login:
            return ANYONE
        secret = _secret(authorization)
        if not secret:
            raise Refused(401, "No key: send `Authorization: Bearer KEY`.", code="missing_api_key")
        found = self._found(secret)
        if found is None:
            raise Refused(401, "This key is not known here, or was revoked.", code="invalid_api_key")
        if found.role != role:
            raise Refused(
                403, f"This needs a key of role {role}, and yours is of role {found.role}.", code="wrong_role"
            )
        return found

    def knows(self, authorization: str | None) -> bool:
        """Whether `caller` will answer at once: the keys were read a moment ago, and this one's id is among them."""
        return not self._login or not self._to_be_read(id_in(_secret(authorization)))

    def still_good(self, caller: Caller) -> bool:
        """Whether the key of a caller that was let in before has not been revoked since."""
        if not self._login:
            return caller == ANYONE
        if any(caller == given for given, _ in self._given):
            return True
        key = self._table(caller.key).get(caller.key, _NOBODY)
        return key.role == caller.role and key.revoked_at is None

    def _found(self, secret: str) -> Caller | None:
        digest = digest_of_key(secret)
        found: Caller | None = None
        for caller, given in self._given:
            if hmac.compare_digest(given, digest):
                found = caller
        identity = id_in(secret)
        key = self._table(identity).get(identity, _NOBODY)
        return Caller(key.id, key.role) if key.matches(secret) else found

    def _table(self, wanted: str) -> dict[str, Key]:
        """The keys by their ids, read again for one that is not among them: it may have been made just now."""
        if self._to_be_read(wanted):
            at = time.monotonic()
            self._known = {key.id: key for key in self._keys.list()}
            self._read_at = at
        return self._known

    def _to_be_read(self, wanted: str) -> bool:
        unknown = bool(wanted) and wanted not in self._known
        return unknown or self._read_at is None or time.monotonic() - self._read_at >= self._reread


def _secret(authorization: str | None) -> str:
    """The key in an Authorization header; empty where there is none."""
    scheme, _, secret = (authorization or "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


async def only_clients(request: Request, authorization: Annotated[str | None, Header()] = None) -> Caller:
    """The caller of a route for client keys; `Refused` for anybody else."""
    return await _caller(request.app.state.doorkeeper, authorization, "client")


INSIDE = "gradatim.caller"
"""Where the scope of a request made inside this process names its caller. No server sets it from what comes in."""


async def only_admins(request: Request, authorization: Annotated[str | None, Header()] = None) -> Caller:
    """The caller of a route for admin keys; `Refused` for anybody else."""
    inside: Caller | None = request.scope.get(INSIDE)
    if inside is not None:
        return inside
    return await _caller(request.app.state.doorkeeper, authorization, "admin")


async def _caller(doorkeeper: Doorkeeper, authorization: str | None, role: Role) -> Caller:
    """Beside the event loop only where the database is asked: another thread costs more than a digest."""
    if doorkeeper.knows(authorization):
        return doorkeeper.caller(authorization, role)
    return await asyncio.to_thread(doorkeeper.caller, authorization, role)


ByClient = Annotated[Caller, Depends(only_clients)]
ByAdmin = Annotated[Caller, Depends(only_admins)]
