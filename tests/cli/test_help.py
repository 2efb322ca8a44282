"""The command line before anything runs: light, complete, documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import gradatim
from gradatim.cli.main import COMMANDS, app
from gradatim.cli.reference import reference

ROOT = Path(gradatim.__file__).parents[1]
NAMES = [command.__name__ for command in COMMANDS]
HEAVY = "torch transformers sqlalchemy alembic pydantic scipy numpy codecarbon cryptography matplotlib jinja2 peft"
SERVING = "fastapi starlette uvicorn httpx2 prometheus_client"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_every_command_of_the_plan_is_there() -> None:
    wanted = (
        "demo init add feedback quarantine ask step seal status releases show approve reject rollback promote keys "
        "serve run incidents export backup restore verify doctor"
    )
    assert wanted.split() == NAMES


def test_the_app_loads_nothing_heavy() -> None:
    done = python(
        f"import sys, gradatim.cli.main; print(sorted(set({[*HEAVY.split(), *SERVING.split()]!r}) & set(sys.modules)))"
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [(["--help"], set()), (["--version"], set()), (["step", "--help"], {"pydantic"})],  # that one is Typer's doing
)
def test_help_loads_nothing_heavy(arguments: list[str], allowed: set[str]) -> None:
    heavy = sorted(set(HEAVY.split()) - allowed)
    code = (
        f"import sys; sys.argv = ['gradatim', *{arguments!r}]\nfrom gradatim.cli.main import main\n"
        f"try: main()\nfinally: print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = python(code)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "gradatim" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_json_and_a_workspace(name: str) -> None:
    options = {option for parameter in get_command(app).commands[name].params for option in parameter.opts}  # type: ignore[attr-defined]
    assert "--json" in options
    assert name in ("init", "restore") or {"-w", "--workspace"} <= options


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_documented(name: str) -> None:
    text = (ROOT / "docs/commands.md").read_text("utf-8")
    assert f"## {name}\n" in text
    assert f"gradatim {name}" in text


def test_the_documentation_is_current() -> None:
    assert (ROOT / "docs/commands.md").read_text("utf-8") == reference()


@pytest.mark.parametrize("arguments", [["step", "--nonsense"], ["nonsense"], ["add"], ["approve", "abcdef"], ["show"]])
def test_a_usage_error_is_short_and_exits_with_2(arguments: list[str]) -> None:
    done = python(f"import sys; sys.argv = ['gradatim', *{arguments!r}]\nfrom gradatim.cli.main import main\nmain()")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 5
