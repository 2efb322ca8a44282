"""The ledger keeps what it acknowledged, drops what it did not, and says which entry was touched."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from gradatim.errors import IntegrityError, WorkspaceError
from gradatim.ledger import Entry, Ledger
from gradatim.ledger.merkle import leaf_hash, root_of


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger.create(tmp_path / "ledger")
    for number in range(5):
        made.append("even" if number % 2 == 0 else "odd", {"number": number, "text": "ü"})
    return made


def lines(ledger: Ledger) -> list[bytes]:
    return (ledger.folder / "log.jsonl").read_bytes().splitlines()


def test_what_was_appended_is_read_back(ledger: Ledger) -> None:
    for each in (ledger, Ledger.open(ledger.folder)):
        assert [entry.body["number"] for entry in each.entries()] == [0, 1, 2, 3, 4]
        assert [entry.index for entry in each.entries("odd")] == [1, 3]
        assert each.size == 5
        assert each.head == root_of(leaf_hash(line) for line in lines(ledger)).hex()


def test_append_returns_the_entry_as_it_will_be_read(ledger: Ledger) -> None:
    entry = ledger.append("kind", {"pair": (1, 2)})
    assert entry == list(ledger.entries())[-1]
    assert entry.body == {"pair": [1, 2]}
    assert isinstance(entry, Entry)
    assert entry.at.endswith("Z")


def test_a_new_ledger_is_empty_and_its_key_private(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger")
    assert (ledger.size, ledger.head) == (0, root_of([]).hex())
    assert stat.S_IMODE((ledger.folder / "key.pem").stat().st_mode) == 0o600
    with pytest.raises(WorkspaceError, match="not empty"):
        Ledger.create(tmp_path / "ledger")
    assert [path.name for path in tmp_path.iterdir()] == ["ledger"]


def test_lines_are_canonical(ledger: Ledger) -> None:
    for line in lines(ledger):
        text = json.dumps(json.loads(line), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert line == text.encode()


@pytest.mark.parametrize("tail", [b"{", b'{"at":"x"}', b'{"at":"x"}\n', b"\n", b"\0" * 50])
def test_one_unacknowledged_line_is_dropped(ledger: Ledger, tail: bytes) -> None:
    before = (ledger.folder / "log.jsonl").read_bytes()
    with (ledger.folder / "log.jsonl").open("ab") as log:
        log.write(tail)
    with (ledger.folder / "leaves").open("ab") as leaves:
        leaves.write(b"12ab")
    reopened = Ledger.open(ledger.folder)
    assert (ledger.folder / "log.jsonl").read_bytes() == before
    assert reopened.append("more", {}).index == 5
    assert Ledger.open(ledger.folder).size == 6


def test_more_than_one_line_beyond_the_checkpoint_is_refused(ledger: Ledger) -> None:
    with (ledger.folder / "log.jsonl").open("ab") as log:
        log.write(b"{}\n{}")
    with pytest.raises(IntegrityError, match="more than one entry from 5 on"):
        Ledger.open(ledger.folder)


@pytest.mark.parametrize("index", range(5))
def test_the_entry_that_was_changed_is_named(ledger: Ledger, index: int) -> None:
    changed = lines(ledger)
    changed[index] = changed[index].replace(b'"text"', b'"tExt"')
    (ledger.folder / "log.jsonl").write_bytes(b"\n".join(changed) + b"\n")
    with pytest.raises(IntegrityError, match=f"entry {index} differs"):
        Ledger.open(ledger.folder)


def test_the_entry_that_was_removed_is_named(ledger: Ledger) -> None:
    (ledger.folder / "log.jsonl").write_bytes(b"\n".join(lines(ledger)[:3]) + b"\n")
    with pytest.raises(IntegrityError, match="entry 3 of 5 is missing"):
        Ledger.open(ledger.folder)


def test_changed_leaves_are_named(ledger: Ledger) -> None:
    path = ledger.folder / "leaves"
    path.write_bytes(path.read_bytes()[:-65])
    with pytest.raises(IntegrityError, match="leaves is wrong at entry 4"):
        Ledger.open(ledger.folder)


def test_log_and_leaves_changed_together_are_refused(ledger: Ledger) -> None:
    changed = [line.replace(b'"text"', b'"tExt"') for line in lines(ledger)]
    (ledger.folder / "log.jsonl").write_bytes(b"\n".join(changed) + b"\n")
    (ledger.folder / "leaves").write_text("".join(f"{leaf_hash(line).hex()}\n" for line in changed))
    with pytest.raises(IntegrityError, match="changed together"):
        Ledger.open(ledger.folder)


@pytest.mark.parametrize("name", ["log.jsonl", "leaves", "checkpoint", "key.pub"])
def test_a_missing_file_is_named(ledger: Ledger, name: str) -> None:
    (ledger.folder / name).unlink()
    with pytest.raises(IntegrityError, match=f"ledger/{name} is missing"):
        Ledger.open(ledger.folder)


def test_without_the_private_key_it_can_be_read_but_not_extended(ledger: Ledger) -> None:
    (ledger.folder / "key.pem").unlink()
    reopened = Ledger.open(ledger.folder)
    assert reopened.size == 5
    with pytest.raises(IntegrityError, match=r"key\.pem is missing"):
        reopened.append("kind", {})


def test_the_key_of_another_ledger_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    other = Ledger.create(tmp_path / "other")
    (ledger.folder / "key.pem").write_bytes((other.folder / "key.pem").read_bytes())
    with pytest.raises(IntegrityError, match="not the key of this ledger"):
        ledger.append("kind", {})


def test_two_open_ledgers_see_each_other(ledger: Ledger) -> None:
    other = Ledger.open(ledger.folder)
    assert ledger.append("mine", {}).index == 5
    assert other.append("theirs", {}).index == 6
    assert [entry.kind for entry in ledger.entries()][5:] == ["mine", "theirs"]
    assert ledger.head == other.head == Ledger.open(ledger.folder).head


def test_threads_take_turns(ledger: Ledger) -> None:
    def add(each: Ledger) -> None:
        for _ in range(5):
            each.append("thread", {})

    threads = [threading.Thread(target=add, args=(each,)) for each in (ledger, ledger, Ledger.open(ledger.folder))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.index for entry in Ledger.open(ledger.folder).entries()] == list(range(20))


def test_rewriting_under_an_open_ledger_is_noticed(ledger: Ledger) -> None:
    path = ledger.folder / "log.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":7'))
    with pytest.raises(IntegrityError, match="entry 2 changed while"):
        list(ledger.entries())


def test_a_checkpoint_put_back_under_an_open_ledger_loses_nothing(ledger: Ledger) -> None:
    path = ledger.folder / "checkpoint"
    older = path.read_bytes()
    ledger.append("kind", {})
    newer = path.read_bytes()
    path.write_bytes(older)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="rewritten while it was open"):
            ledger.append("kind", {})
    path.write_bytes(newer)
    assert ledger.append("kind", {}).index == 6


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("after", range(5))
def test_a_full_disk_leaves_nothing_half_written(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    real, calls = getattr(os, call), iter(range(1000))

    def full(*arguments: object) -> object:
        if next(calls) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    before = ledger.size
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        failure = None
        try:
            ledger.append("kind", {})
        except OSError as error:
            failure = error.errno
    assert failure in (None, errno.ENOSPC)
    assert not [path for path in ledger.folder.iterdir() if path.name.startswith(".")]
    assert len(lines(ledger)) == ledger.size
    assert ledger.size in ((before, before + 1) if failure else (before + 1,))
    assert ledger.append("after", {}).index + 1 == ledger.size == Ledger.open(ledger.folder).size


def test_the_log_is_on_disk_before_the_checkpoint_and_the_checkpoint_before_the_answer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []

    def noted(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: Any) -> Any:
            first = arguments[0]
            path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else Path(first)
            calls.append((name, path.name))
            return real(*arguments)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "fsync", "replace"):
        noted(name)
    ledger.append("kind", {})
    following = ".tmp-checkpoint"
    assert calls == [
        *(("write", "log.jsonl"), ("fsync", "log.jsonl")),
        *(("write", "leaves"), ("fsync", "leaves")),
        *(("write", following), ("fsync", following), ("replace", following)),
        ("fsync", "ledger"),
    ]
