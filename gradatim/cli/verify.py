"""`gradatim verify`: is every stored byte still what was signed?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption
from gradatim.cli.reported import Result
from gradatim.errors import IntegrityError


def verify(
    trusted: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="A copy of ledger/checkpoint, kept elsewhere."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check an exported incident instead of a workspace.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Hold every byte of the workspace against its signed ledger, without changing anything; exit 2 if one differs.

    JSON: {"ok", "entries", "head", "problem"}; of a bundle "head" is the name of the ledger that signed it
    """
    if bundle is not None:
        return _bundle(bundle, trusted)
    from gradatim.ledger.verify import verify_workspace

    found = verify_workspace(workspace, trusted)
    line = f"ok: {found.entries} entries, head {found.head}" if found.ok else f"PROBLEM: {found.problem}"
    return Result(asdict(found), lambda to: to.print(line), 0 if found.ok else IntegrityError.exit_code)


def _bundle(path: Path, trusted: Path | None) -> Result:
    from gradatim.ledger.bundle import check

    try:
        found = check(path, trusted)
    except IntegrityError as error:
        said = str(error)
        data = {"ok": False, "entries": 0, "head": "", "problem": said}
        return Result(data, lambda to: to.print(f"PROBLEM: {said}"), IntegrityError.exit_code)
    line = f"ok: {len(found.entries)} entries of {found.size}, {len(found.blobs)} blobs, signed by {found.origin}"
    return Result(
        {"ok": True, "entries": len(found.entries), "head": found.origin, "problem": None}, lambda to: to.print(line)
    )
