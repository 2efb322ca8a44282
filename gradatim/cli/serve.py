"""`gradatim serve`: answer applications over HTTP until told to stop."""

from __future__ import annotations

import os
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result
from gradatim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


def serve(
    host: Annotated[str, typer.Option(metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", help="The port to listen on.", min=1, max=65535)] = 8000,
    login: Annotated[
        bool, typer.Option("--login/--no-login", help="Ask for keys. Without, on this machine only.")
    ] = True,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Answer applications that speak OpenAI's API with the live release, and take their users' feedback.

    Keys are made with `gradatim keys`, or taken from GRADATIM_CLIENT_KEY and GRADATIM_ADMIN_KEY. Promotions and
    rollbacks count from the next request on. The dashboard is at /ui, for admin keys. Logs are lines of JSON on
    stderr. Ctrl-C or SIGTERM ends it, after the replies under way.

    JSON: {"host", "port", "interactions"}
    """
    if not login and not _is_local(host):
        raise InputError(f"--no-login would let everybody in from {host}: listen on 127.0.0.1, or ask for keys")
    with opened(workspace) as here:
        from gradatim.dashboard import add_dashboard
        from gradatim.serve.run import build, listen, run
        from gradatim.serve.telemetry import log_to_stderr

        app, doorkeeper = build(here, os.environ, login=login, pages=add_dashboard)
        if not doorkeeper.anyone_can_ask:
            raise InputError(
                f"No client key yet: make one with `gradatim keys make NAME -w {workspace}`, or set GRADATIM_CLIENT_KEY"
            )
        before = here.records.traffic.count()
        log_to_stderr()
        run(app, listen(host, port))
        data = {"host": host, "port": port, "interactions": here.records.traffic.count() - before}
    return Result(data, partial(_show, data))


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _show(data: dict[str, Any], to: Console) -> None:
    to.print(f"{data['interactions']} requests were answered")
