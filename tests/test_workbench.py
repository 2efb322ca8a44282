"""What a step has at hand: the asker, trained once for a base, kept in the workspace, shipped for the bundled one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from gradatim import workbench
from gradatim.charter import DEFAULT_PATH, Charter
from gradatim.errors import IntegrityError
from gradatim.learn.asking import TAUGHT_BY, lessons, taught_by
from gradatim.ledger.verify import verify_workspace
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base, weights_digest
from gradatim.progress import SILENT
from gradatim.recall import Studied
from gradatim.release.answering import load_minds
from gradatim.watch.cost import Meter
from gradatim.workbench import SHIPPED_ASKERS, Workbench, prepare
from gradatim.workspace import Workspace
from tests.tiny import tiny_llama, tiny_tokenizer


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_llama(max_position_embeddings=4096).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def bench(folder: Path, model: Path) -> Workbench:
    base = {"source": str(model), "digest": weights_digest(model)}
    workspace = Workspace.create(folder, base, DEFAULT_PATH.read_text("utf-8"))
    return Workbench(workspace, Charter.default(), Meter(), SILENT, workspace.registry.live())


def test_a_base_learns_to_ask_once(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADATIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(workbench, "lessons", lambda asker: lessons(asker)[::200])
    first = bench(tmp_path / "one", tiny_folder)
    name = first.asker.adapter
    assert name in first.bank.adapters
    assert [*first.workspace.adapters.names()] == [name]
    assert len(first.bank.adapters) == 1  # nothing of the training is left
    (kept,) = (tmp_path / "cache" / "askers" / "adapters").iterdir()
    (kept / "adapter_config.json").write_text("{}")  # a damaged copy is made again
    assert bench(tmp_path / "two", tiny_folder).asker.adapter == name
    monkeypatch.setattr(workbench, "learn_to_ask", None)  # and a sound one not
    third = bench(tmp_path / "three", tiny_folder)
    assert third.asker.adapter == name
    assert torch.equal(first.bank.adapters[name].flat, third.bank.adapters[name].flat)


def test_other_lessons_make_another_asker(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADATIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(workbench, "lessons", lambda asker: lessons(asker)[::200])
    first = bench(tmp_path / "one", tiny_folder).asker.adapter
    monkeypatch.setattr(workbench, "lessons", lambda asker: lessons(asker)[1::200])
    assert bench(tmp_path / "two", tiny_folder).asker.adapter == first  # the key is what is in the package
    monkeypatch.setattr(workbench, "taught_by", lambda: "something else")
    assert bench(tmp_path / "three", tiny_folder).asker.adapter != first


def test_learning_to_ask_counts_against_no_step(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADATIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(workbench, "lessons", lambda asker: lessons(asker)[::200])
    made = bench(tmp_path / "one", tiny_folder)
    prepare(made.workspace, SILENT)
    assert not [*made.workspace.adapters.names()]
    monkeypatch.setattr(workbench, "learn_to_ask", None)
    assert made.asker.adapter


def test_a_lesson_is_answered_with_the_asker_it_was_judged_with(tmp_path: Path, tiny_folder: Path) -> None:
    made = bench(tmp_path / "workspace", tiny_folder)
    bank, adapters = AdapterBank(load_base(str(tiny_folder))), made.workspace.adapters
    Adapter(bank.shapes(), 2, 4.0, "cpu").initialise(0).save(tmp_path / "asker")
    asker = adapters.add(tmp_path / "asker")
    Adapter(bank.shapes(), 2, 4.0, "cpu").initialise(1).save(tmp_path / "lesson")
    Studied.of([("The mill opens.", "Mill")], bank.base.chat, asker).save(tmp_path / "lesson")
    lesson = adapters.add(tmp_path / "lesson")
    minds = load_minds(bank, adapters, [lesson])
    assert minds.studied[lesson].asker == asker
    assert {*bank.adapters} == {lesson, asker}
    assert adapters.companions(lesson) == (asker,)
    assert adapters.companions(asker) == ()
    (adapters.folder / asker / "adapter_config.json").write_text("{}")
    with pytest.raises(IntegrityError, match=asker):
        load_minds(AdapterBank(load_base(str(tiny_folder))), adapters, [lesson])


def test_a_release_whose_asker_is_gone_is_not_promoted_and_verify_says_so(tmp_path: Path, tiny_folder: Path) -> None:
    workspace = bench(tmp_path / "workspace", tiny_folder).workspace
    bank, adapters = AdapterBank(load_base(str(tiny_folder))), workspace.adapters
    Adapter(bank.shapes(), 2, 4.0, "cpu").initialise(0).save(tmp_path / "asker")
    asker = adapters.add(tmp_path / "asker")
    Adapter(bank.shapes(), 2, 4.0, "cpu").initialise(1).save(tmp_path / "lesson")
    Studied.of([("The mill opens.", "Mill")], bank.base.chat, asker).save(tmp_path / "lesson")
    made = workspace.registry.create(base=workspace.base["digest"], adapters=(adapters.add(tmp_path / "lesson"),))
    assert verify_workspace(workspace.folder).ok
    shutil.rmtree(adapters.folder / asker)
    with pytest.raises(IntegrityError, match=asker):
        workspace.registry.promote(made.id, "", by="test")
    found = verify_workspace(workspace.folder)
    assert not found.ok
    assert found.problem is not None
    assert asker in found.problem


@pytest.mark.slow
def test_the_bundled_model_comes_with_its_asker() -> None:
    bank = AdapterBank(load_base("bundled"))
    folder = SHIPPED_ASKERS / bank.base.digest[:16]
    assert [path.name for path in SHIPPED_ASKERS.iterdir()] == [folder.name]
    Adapter.load(folder, bank.module_shapes(), "cpu")
    assert (folder / TAUGHT_BY).read_text().strip() == taught_by()  # else: python -m gradatim.learn.asking bundled DIR
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "bundled"
