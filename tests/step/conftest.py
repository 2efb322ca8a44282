"""A workspace on a tiny random model with something to learn, and the process that takes its steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gradatim
from gradatim.charter import DEFAULT_PATH
from gradatim.model.base import weights_digest
from gradatim.observe.documents import read_document
from gradatim.types import Feedback, Provenance
from gradatim.workspace import Workspace
from tests.tiny import tiny_llama, tiny_tokenizer

ROOT = Path(gradatim.__file__).parent.parent
TEXTS = (
    "The mill at Orrin opens at five. Sacks are weighed by Tamsin Vole.",
    "The ferry to Harrow costs 12 crowns. It is steered by Odd Lindqvist.",
    "Lanterns are lit in the Long Hall at dusk. The keeper is Brannoc Thule.",
    "The well at Quarrick is 40 metres deep. Ropes are kept by Sunniva Aas.",
)

Take = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama in Hugging Face layout."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_llama(max_position_embeddings=4096).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, tiny_folder: Path) -> Workspace:
    """A workspace with one document, a person's questions about it, and one correction."""
    base = {"source": str(tiny_folder), "digest": weights_digest(tiny_folder)}
    made = Workspace.create(tmp_path / "workspace", base, DEFAULT_PATH.read_text("utf-8"))
    add_document(made, 0)
    origin = Provenance("cli", "c" * 64, "2026-01-01T00:00:00Z")
    said = "The bakery in Orrin is run by Petra Holm."
    made.records.add_feedback(Feedback("f" * 64, None, "Who runs the bakery?", -1, said, "ada", origin))
    return made


def add_document(workspace: Workspace, number: int) -> None:
    file = workspace.folder.parent / f"text-{number}.md"
    file.write_text(f"# Place {number}\n\n{TEXTS[number % len(TEXTS)]}\n", "utf-8")
    document = read_document(file)
    workspace.records.add_document(document, workspace.blobs.put(document.text.encode()))
    asked = [{"question": f"What is said in text {number}?", "accepted": ["nothing at all"]}]
    workspace.ledger.append("questions", {"document": document.id, "blob": workspace.blobs.put_json(asked)})


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """The process of `tests.step.driver`, warmed up."""
    environment = os.environ | {"GRADATIM_CACHE": str(tmp_path_factory.mktemp("cache")), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "tests.step.driver"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"ready": True}
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def take(driver: subprocess.Popen[str], workspace: Workspace, tmp_path: Path) -> Take:
    """Takes a step in a child, killed where the caller wants; says how the child ended."""

    def request(kill: dict[str, Any] | None = None, verdict: str = "pass") -> dict[str, Any]:
        assert driver.stdin is not None
        assert driver.stdout is not None
        wanted = {"workspace": str(workspace.folder), "notes": str(tmp_path / "notes"), "kill": kill}
        driver.stdin.write(json.dumps(wanted | {"verdict": verdict}) + "\n")
        driver.stdin.flush()
        ended: dict[str, Any] = json.loads(driver.stdout.readline())
        assert ended["killed"] or ended["code"] == 0
        return ended

    return request
