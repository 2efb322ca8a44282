"""`gradatim export`: the adapters of a release, for vLLM, PEFT and llama.cpp."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradatim.cli.display import progress
from gradatim.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, opened
from gradatim.cli.reported import Result
from gradatim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from gradatim.types import Release
    from gradatim.workspace import Workspace


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the files.")],
    release: Annotated[str, typer.Option(metavar="ID", help="Another release than the live one.")] = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> Result:
    """Write a release's adapters as others read them: a PEFT folder (vLLM, PEFT) and a GGUF file (llama.cpp) each.

    A lesson's gate and its list of what was studied, by which it answers only what it knows, are not part of these
    formats.

    JSON: {"release", "base", "adapters": [{"adapter", "peft", "gguf"}]}
    """
    if folder.exists():
        raise InputError(f"{folder} exists already: name a new folder")
    with opened(workspace) as here:
        wanted = here.registry.get(release) if release else here.registry.live()
        if not wanted.adapters:
            raise InputError(f"release {wanted.id[:12]} is the base alone: there is no adapter to export")
        written = _write(here, wanted, folder)
    data = {"release": wanted.id, "base": here.base["source"], "adapters": written}
    return Result(data, partial(_show, data))


def _write(workspace: Workspace, release: Release, folder: Path) -> list[dict[str, str]]:
    with progress() as shown:
        shown.phase("loading the model")
        from gradatim.model.adapter import Adapter
        from gradatim.model.bank import AdapterBank
        from gradatim.model.base import load_base
        from gradatim.model.export import save_gguf
        from gradatim.release.answering import check_base
        from gradatim.store.durable import temporary_folder

        base = load_base(workspace.base["source"])
        check_base(base, release.base)
        shapes = AdapterBank(base).module_shapes()
        written = []
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder.parent) as temporary:  # all of it or nothing
            for digest in release.adapters:
                shown.phase(f"adapter {digest[:12]}")
                adapter = Adapter.load(workspace.adapters.path(digest), shapes, "cpu")
                peft, gguf = f"{digest[:12]}", f"{digest[:12]}.gguf"
                adapter.save(temporary / "made" / peft, base=str(workspace.base["source"]))
                save_gguf(adapter, base.model.config, temporary / "made" / gguf)
                written.append({"adapter": digest, "peft": str(folder / peft), "gguf": str(folder / gguf)})
            (temporary / "made").rename(folder)
    return written


def _show(data: dict[str, Any], to: Console) -> None:
    for each in data["adapters"]:
        to.print(f"{each['adapter'][:12]}  {each['peft']}  {each['gguf']}", soft_wrap=True)
    to.print(f"They belong to {data['base']}. Their gates stay here: served elsewhere, they answer everything.")
