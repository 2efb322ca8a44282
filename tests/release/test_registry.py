"""Releases: immutable, promoted and taken back, never served damaged."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from gradatim.errors import InputError, IntegrityError, WorkspaceError
from gradatim.ledger import Ledger
from gradatim.release import Registry
from gradatim.store.adapters import Adapters
from gradatim.store.blobs import Blobs
from gradatim.types import Release

BASE = "b" * 64


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    Ledger.create(tmp_path / "ledger")
    return reopen(tmp_path)


@pytest.fixture
def adapter(tmp_path: Path) -> str:
    source = tmp_path / "trained"
    source.mkdir()
    (source / "adapter_model.safetensors").write_bytes(b"weights")
    return Adapters(tmp_path / "adapters").add(source)


def reopen(folder: Path) -> Registry:
    return Registry(folder, Ledger.open(folder / "ledger"), Blobs(folder / "blobs"), Adapters(folder / "adapters"))


def three(registry: Registry) -> list[Release]:
    """Three releases, each promoted in turn."""
    made = [registry.create(base=BASE, step=f"step-{number}") for number in range(3)]
    for release in made:
        registry.promote(release.id, f"{release.step} passed", "lena")
    return made


def test_a_release_is_named_by_its_blob(registry: Registry, tmp_path: Path) -> None:
    release = registry.create(base=BASE, parent="p" * 64, step="step-1", verdict="v" * 64)
    assert (release.base, release.parent, release.step, release.verdict) == (BASE, "p" * 64, "step-1", "v" * 64)
    assert b'"step":"step-1"' in Blobs(tmp_path / "blobs").get(release.id)
    assert registry.releases() == [release] == reopen(tmp_path).releases()


def test_creating_the_same_again_finds_it(registry: Registry) -> None:
    release = registry.create(base=BASE, step="step-1")
    assert registry.create(base=BASE, step="step-1") == release
    assert registry.create(base=BASE, step="step-2") != release
    assert len(registry.releases()) == 2


def test_a_release_of_an_adapter_that_is_not_there_is_refused(registry: Registry) -> None:
    with pytest.raises(IntegrityError, match="adapters/nowhere is missing"):
        registry.create(base=BASE, adapters=("nowhere",))
    assert registry.releases() == []


def test_promotion_makes_live_and_is_remembered(registry: Registry, tmp_path: Path) -> None:
    made = three(registry)
    assert registry.live() == made[2] == reopen(tmp_path).live()
    assert (tmp_path / "live").read_text() == f"{made[2].id}\n"
    assert [(move.kind, move.release) for move in registry.history()] == [("promote", r.id) for r in made]
    assert (registry.history()[1].reason, registry.history()[1].by) == ("step-1 passed", "lena")


def test_promoting_what_is_live_changes_nothing(registry: Registry) -> None:
    made = three(registry)
    assert registry.promote(made[2].id, "again", "lena") == made[2]
    assert len(registry.history()) == 3


def test_rolling_back_goes_back_one_release_at_a_time(registry: Registry) -> None:
    made = three(registry)
    assert registry.rollback(reason="worse", by="watch") == made[1] == registry.live()
    assert registry.rollback() == made[0] == registry.live()
    with pytest.raises(InputError, match="nothing to roll back to"):
        registry.rollback()
    assert registry.history()[3].reason == "worse"


def test_rolling_back_to_a_named_release(registry: Registry) -> None:
    made = three(registry)
    assert registry.rollback(made[0].id[:10]) == made[0] == registry.live()
    registry.promote(made[2].id, "mended", "lena")
    assert registry.rollback() == made[0]


def test_after_coming_back_to_a_release_its_earlier_turn_is_not_mistaken(registry: Registry) -> None:
    first, second, third = three(registry)
    registry.promote(first.id, "the first again", "lena")
    registry.promote(second.id, "and the second", "lena")
    assert [registry.rollback() for _ in range(4)] == [first, third, second, first]


def test_nothing_is_live_before_a_promotion(registry: Registry) -> None:
    registry.create(base=BASE)
    with pytest.raises(WorkspaceError, match="No release is live"):
        registry.live()


def test_a_prefix_names_a_release(registry: Registry) -> None:
    release = registry.create(base=BASE)
    assert registry.get(release.id[:6]) == registry.get(release.id) == release
    with pytest.raises(InputError, match="too short"):
        registry.get(release.id[:5])
    for unknown in ("123456abcdef", release.id + "0", "step-0001"):
        with pytest.raises(InputError, match=f"No release begins with {unknown}"):
            registry.get(unknown)


def test_an_ambiguous_prefix_is_refused(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradatim.release.registry.SHORTEST_PREFIX", 1)
    made = [registry.create(base=BASE, step=f"step-{number}") for number in range(17)]  # 16 first digits
    firsts = [release.id[0] for release in made]
    shared = next(first for first in firsts if firsts.count(first) > 1)
    with pytest.raises(InputError, match="could be any of"):
        registry.get(shared)


def test_a_damaged_adapter_is_neither_promoted_nor_served(registry: Registry, adapter: str, tmp_path: Path) -> None:
    base_only, adapted = registry.create(base=BASE), registry.create(base=BASE, adapters=(adapter,))
    weights = tmp_path / "adapters" / adapter / "adapter_model.safetensors"
    registry.promote(base_only.id, "first", "lena")
    registry.promote(adapted.id, "passed", "lena")
    weights.write_bytes(b"wreighs")
    with pytest.raises(IntegrityError, match=r"adapter_model\.safetensors does not match"):
        registry.live()
    assert registry.rollback() == base_only == registry.live()
    with pytest.raises(IntegrityError, match=r"adapter_model\.safetensors does not match"):
        registry.promote(adapted.id, "again", "lena")
    with pytest.raises(IntegrityError, match=r"adapter_model\.safetensors does not match"):
        registry.rollback(adapted.id)
    assert registry.live() == base_only


def test_a_damaged_release_is_neither_promoted_nor_served(registry: Registry, tmp_path: Path) -> None:
    made = three(registry)
    for release in made[1:]:
        path = tmp_path / "blobs" / release.id
        path.write_bytes(path.read_bytes().replace(b"step-", b"stop-"))
    for use in (registry.live, registry.rollback, lambda: registry.promote(made[1].id, "again", "lena")):
        with pytest.raises(IntegrityError, match=r"blobs/\w+ does not match its digest"):
            use()
    assert len(registry.history()) == 3
    assert registry.rollback(made[0].id) == made[0]


@pytest.mark.parametrize("pointer", [b"", b"somebody else\n", None])
def test_the_pointer_is_repaired_from_the_ledger(registry: Registry, tmp_path: Path, pointer: bytes | None) -> None:
    made = three(registry)
    (tmp_path / "live").unlink() if pointer is None else (tmp_path / "live").write_bytes(pointer)
    assert registry.live() == made[2]
    reopen(tmp_path)
    assert (tmp_path / "live").read_text() == f"{made[2].id}\n"


@pytest.mark.parametrize("after", range(8))
def test_a_full_disk_leaves_the_old_release_or_the_new(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    made, calls, real = three(registry), iter(range(1000)), os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with suppress(OSError):
            registry.rollback(made[0].id)
    live = reopen(tmp_path).live()
    assert live in (made[0], made[2])
    assert (tmp_path / "live").read_text() == f"{live.id}\n"
