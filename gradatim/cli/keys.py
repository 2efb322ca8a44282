"""`gradatim keys`: who may ask a server, and who may govern it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result
from gradatim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from gradatim.store.keys import Key

ACTIONS = ("list", "make", "revoke")


def keys(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="list, make or revoke.")] = "list",
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key: an application or a person.")] = "",
    admin: Annotated[
        bool, typer.Option("--admin", help="With make: a key that governs, and can't ask, instead of one that asks.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """List the keys of `gradatim serve`, make one, or revoke one.

    A new key is shown once; only its digest is kept. A running server heeds changes within a second.

    JSON: {"keys": [{"id", "name", "role", "created_at", "revoked_at"}], "key": the new key, or null}
    """
    if action not in ACTIONS:
        raise InputError(f"{action} is no action: there are {', '.join(ACTIONS)}")
    if bool(name) == (action == "list"):
        raise InputError("list takes no NAME" if name else f"Whose key? Give a NAME after {action}")
    if admin and action != "make":
        raise InputError("--admin goes with make")
    secret: str | None = None
    with opened(workspace) as here:
        known = here.records.keys
        if action == "make":
            _, secret = known.make(name, "admin" if admin else "client")
        elif action == "revoke":
            known.revoke(name)
        data = {"keys": [_plain(key) for key in known.list()], "key": secret}
    return Result(data, partial(_show, data))


def _plain(key: Key) -> dict[str, Any]:
    return {field: getattr(key, field) for field in ("id", "name", "role", "created_at", "revoked_at")}


def _show(data: dict[str, Any], to: Console) -> None:
    from gradatim.cli.tables import table

    if data["key"]:
        to.print(data["key"], soft_wrap=True)
        to.print("Keep it: it is not shown again.", style="dim")
        return
    rows = [
        (key["name"], key["role"], key["id"], key["created_at"], key["revoked_at"] or "in use") for key in data["keys"]
    ]
    to.print(table("", ("name", "role", "id", "made", "revoked"), rows))
