"""Blobs: what was put comes back, or an error says why not."""

from __future__ import annotations

import errno
import hashlib
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradatim.errors import IntegrityError
from gradatim.store.blobs import Blobs
from gradatim.store.canonical import canonical, is_digest
from gradatim.types import Candidate, Check, Document, Evidence, Provenance, Release, TrainingPlan, Verdict

PROVENANCE = Provenance("cli", "d" * 64, "2026-01-01T00:00:00Z")
VALUES = [
    Release("a" * 64, None, "b" * 64, ("c" * 64,), "step-0001", None, "2026-01-01T00:00:00Z"),
    Evidence((Document("e" * 64, "Title", "Grüße\n", PROVENANCE),), (), ()),
    Candidate("raw", "raw", TrainingPlan(), "s" * 64, "a" * 64, (2.5, 0.1), 1200),
    Verdict("raw", "pass", (Check("gain", 0.5, 0.1, 0.9, 0.0, "pass", "better"),), {"none": 0.1}),
]


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(st.binary(max_size=100))
def test_what_was_put_comes_back(blobs: Blobs, data: bytes) -> None:
    digest = blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest() == blobs.put(data)
    assert blobs.get(digest) == data
    assert is_digest(digest)
    assert blobs.verify(digest) is None
    assert digest in blobs.names()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_the_glossary_comes_back_equal(blobs: Blobs, value: object) -> None:
    assert blobs.get_json(blobs.put_json(value), type(value)) == value


def test_collections_of_the_glossary_come_back_equal(blobs: Blobs) -> None:
    assert blobs.get_json(blobs.put_json(VALUES[:1]), tuple[Release, ...]) == tuple(VALUES[:1])
    assert blobs.get_json(blobs.put_json({"a": [1, None]}), dict) == {"a": [1, None]}


def test_losses_that_diverged_come_back(blobs: Blobs) -> None:
    candidate = Candidate("raw", "raw", TrainingPlan(), "s", "a", (math.nan, math.inf, -math.inf), 1)
    losses = blobs.get_json(blobs.put_json(candidate), Candidate).losses
    assert math.isnan(losses[0])
    assert losses[1:] == (math.inf, -math.inf)


def test_json_is_canonical() -> None:
    assert canonical({"b": (1, 2.5), "a": "é", "c": None}) == '{"a":"é","b":[1,2.5],"c":null}'.encode()
    with pytest.raises(TypeError):
        canonical({"a": {1, 2}})


def test_a_blob_of_another_type_is_refused(blobs: Blobs) -> None:
    digest = blobs.put_json({"title": "no release"})
    with pytest.raises(IntegrityError, match=f"blobs/{digest} does not hold a Release"):
        blobs.get_json(digest, Release)


def test_a_missing_blob_is_named(blobs: Blobs) -> None:
    with pytest.raises(IntegrityError, match="blobs/abc is missing: restore it"):
        blobs.get("abc")


def test_a_damaged_blob_is_named_and_healed_by_putting_it_again(blobs: Blobs) -> None:
    digest = blobs.put(b"hello")
    (blobs.folder / digest).write_bytes(b"hallo")
    with pytest.raises(IntegrityError, match=f"blobs/{digest} does not match its digest: restore it"):
        blobs.get(digest)
    assert blobs.put(b"hello") == digest
    assert blobs.get(digest) == b"hello"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_nothing(blobs: Blobs, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            blobs.put(b"hello")
    assert list(blobs.folder.iterdir()) == []
    assert blobs.get(blobs.put(b"hello")) == b"hello"


def test_short_writes_are_completed(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    assert blobs.get(blobs.put(b"hello, world")) == b"hello, world"
