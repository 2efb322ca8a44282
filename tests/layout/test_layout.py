"""The shape of the package: sizes, docstrings, names of folders, and who may import whom."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "gradatim"
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({module.parent for module in MODULES})

MOST_LINES = 600
BANNED = {"core", "utils", "util", "common", "services", "managers", "helpers"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_a_package_to_look_at() -> None:
    assert PACKAGE / "types.py" in MODULES
    assert len(MODULES) > 10


def test_no_file_is_too_long() -> None:
    long = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: lines for path, lines in long.items() if lines > MOST_LINES} == {}


def test_every_module_opens_with_a_docstring() -> None:
    texts = {name(path): path.read_text(encoding="utf-8") for path in MODULES}
    assert [path for path, text in texts.items() if text and not ast.get_docstring(ast.parse(text))] == []


def test_no_name_that_says_nothing() -> None:
    named = [path for path in [*MODULES, *FOLDERS] if path.stem in BANNED]
    assert [name(path) for path in named] == []


def test_every_folder_of_modules_is_a_package() -> None:
    # Alembic reads its revisions from the file system; they are no package.
    loose = [
        name(folder) for folder in FOLDERS if "migrations" not in folder.parts and folder / "__init__.py" not in MODULES
    ]
    assert loose == []


def test_no_package_is_empty() -> None:
    def is_empty(folder: Path) -> bool:
        others = [path for path in folder.iterdir() if path.name not in ("__init__.py", "__pycache__")]
        return not others

    assert [name(folder) for folder in FOLDERS if is_empty(folder)] == []


def test_imports_go_down_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


@pytest.mark.parametrize("module", ["gradatim.charter", "gradatim.observe.screening", "gradatim.watch.cost"])
def test_what_is_light_loads_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'transformers', 'codecarbon', 'pypdf', 'sqlalchemy', 'numpy'}"
    program = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


# ------------------------------------------------------------------ the newcomer's files


def test_every_dependency_has_a_pin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {requirement.partition(">")[0].lower() for requirement in wanted}
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert names - {pin.partition("==")[0] for pin in pins if "==" in pin} == set()


def test_the_version_is_said_once_and_the_same() -> None:
    import gradatim

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == gradatim.__version__


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )


def test_make_says_clearly_when_python_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo "Python 3.9.1"; exit; }\nexit 1\n')
    old.chmod(0o755)
    done = make("install", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "Gradatim needs Python 3.11 or newer; found: Python 3.9.1." in done.stderr
    assert not (tmp_path / "venv").exists()
