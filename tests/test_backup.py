"""Backups: one moment of a workspace that others write in, verified, and nothing but what it was when it comes back."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gradatim.backup import MANIFEST, back_up, restore
from gradatim.errors import GradatimError, InputError, IntegrityError, WorkspaceError
from gradatim.ledger.verify import verify_workspace
from gradatim.store.traffic import Interaction, Rating
from gradatim.types import Answer
from gradatim.workspace import DATABASE, Workspace
from tests.postgres import Postgres

BASE = {"source": "bundled", "digest": "b" * 64, "kind": "bundled"}


@pytest.fixture(params=["sqlite", "postgresql"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """With a release, an adapter, blobs, and rows of text that PostgreSQL would not take as it is."""
    url = request.getfixturevalue("postgresql").new() if request.param == "postgresql" else None
    made = Workspace.create(tmp_path / "here", BASE, "name = 'test'\n", database=url)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(os.urandom(3000))
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    digest = made.adapters.add(tmp_path / "adapter")
    release = made.registry.create(base=BASE["digest"], adapters=(digest,), step="step-1")
    made.registry.promote(release.id, "better", "test")
    (made.folder / "serve.toml").write_text('model = "mill"\n')
    (made.folder / "serve.secret").write_bytes(b"s" * 32)
    serve(made, "one", "NUL \0 and \x1a and ß")
    made.records.set_setting("cursor", "7")
    yield made
    made.records.close()


def serve(workspace: Workspace, identity: str, text: str = "Vole.") -> None:
    answer = Answer(identity, "Who?", text, "r" * 64, "2026-01-01T00:00:00Z")
    workspace.records.traffic.add(
        [(answer, Interaction(identity, "k", "s", None, "live", "{}", "stop", 1, 1, None, 1))]
    )
    workspace.records.traffic.add_rating(
        Rating(f"of-{identity}", identity, None, "k", "s", "rating", 1.0, None, "2026-01-01T00:00:00Z")
    )


def stored(folder: Path) -> dict[str, bytes]:
    names = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("records.sqlite")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names if path.name not in (DATABASE, "lock")}


def test_it_comes_back_as_it_was(workspace: Workspace, tmp_path: Path) -> None:
    made = back_up(workspace, tmp_path / "backup.tar")
    back = restore(tmp_path / "backup.tar", tmp_path / "again")
    assert made == back
    assert stored(tmp_path / "again") == stored(workspace.folder)
    assert (tmp_path / "backup.tar").stat().st_mode & 0o077 == 0
    assert (tmp_path / "again/ledger/key.pem").stat().st_mode & 0o077 == 0
    again = Workspace.open(tmp_path / "again")
    with closing(again.records):
        assert again.records.traffic.interactions() == workspace.records.traffic.interactions()
        assert again.records.answer("one") == workspace.records.answer("one")
        assert again.records.traffic.ratings() == workspace.records.traffic.ratings()
        assert again.records.setting("cursor") == "7"
        serve(again, "two")  # and it goes on from there
        assert [one.id for one in again.records.traffic.interactions()] == ["one", "two"]
        again.registry.rollback(reason="test", by="test")
    assert verify_workspace(again.folder).ok
    assert made.entries == workspace.ledger.size
    assert made.head == workspace.ledger.head


def test_the_same_workspace_makes_the_same_files(workspace: Workspace, tmp_path: Path) -> None:
    names = []
    for name in ("a.tar", "b.tar"):
        back_up(workspace, tmp_path / name)
        with tarfile.open(tmp_path / name) as tar:
            names.append(tar.getnames())
    assert names[0] == names[1]
    assert names[0][0] == MANIFEST
    assert not [one for one in names[0] if "partial" in one or "lock" in one or DATABASE in one]


def test_it_goes_into_postgresql_too(workspace: Workspace, tmp_path: Path, postgresql: Postgres) -> None:
    back_up(workspace, tmp_path / "backup.tar")
    url = postgresql.new()
    restore(tmp_path / "backup.tar", tmp_path / "again", url)
    again = Workspace.open(tmp_path / "again")
    with closing(again.records):
        assert not (again.folder / "records.sqlite").exists()
        assert again.records.answer("one") == workspace.records.answer("one")
        serve(again, "two")  # positions count on
        assert [one.id for one in again.records.traffic.interactions()] == ["one", "two"]
    with pytest.raises(WorkspaceError, match="already"):
        restore(tmp_path / "backup.tar", tmp_path / "third", url)
    assert not (tmp_path / "third").exists()


def test_without_its_secrets(workspace: Workspace, tmp_path: Path) -> None:
    assert back_up(workspace, tmp_path / "backup.tar").secrets
    assert not back_up(workspace, tmp_path / "bare.tar", secrets=False).secrets
    key = (workspace.folder / "ledger/key.pem").read_bytes()
    assert key in (tmp_path / "backup.tar").read_bytes()
    assert key not in (tmp_path / "bare.tar").read_bytes()
    assert b"s" * 32 not in (tmp_path / "bare.tar").read_bytes()
    restore(tmp_path / "bare.tar", tmp_path / "again")
    assert verify_workspace(tmp_path / "again").ok
    with pytest.raises(IntegrityError, match=r"key\.pem is missing"):
        Workspace.open(tmp_path / "again").ledger.append("note", {})
    (tmp_path / "again/ledger/key.pem").write_bytes(key)
    Workspace.open(tmp_path / "again").ledger.append("note", {})
    assert verify_workspace(tmp_path / "again").ok


_WRITES = """
import sys
from pathlib import Path
from tests.test_backup import serve
from gradatim.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]))
for number in range(100_000):
    workspace.ledger.append("before", {"number": number})
    serve(workspace, f"{number:06d}")
    workspace.ledger.append("after", {"number": number, "blob": workspace.blobs.put(b"%d" % number)})
    print(number, flush=True)
"""


def test_while_others_write_it_is_one_moment(workspace: Workspace, tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITES, str(workspace.folder)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = -1
    lines = writer.stdout

    def follow() -> None:
        nonlocal acknowledged
        for line in lines:
            acknowledged = int(line)

    following = threading.Thread(target=follow)
    following.start()
    try:
        for number in range(3):
            while acknowledged < 5 * (number + 1) and writer.poll() is None:
                time.sleep(0.01)
            before = acknowledged
            back_up(workspace, tmp_path / f"{number}.tar")
            restore(tmp_path / f"{number}.tar", tmp_path / f"again-{number}")
            again = Workspace.open(tmp_path / f"again-{number}")
            rows = {int(one.id) for one in again.records.traffic.interactions() if one.id != "one"}
            rated = {int(one.id[3:]) for one in again.records.traffic.ratings() if one.id != "of-one"}
            told = {kind: {e.body["number"] for e in again.ledger.entries(kind)} for kind in ("before", "after")}
            again.records.close()
            assert set(range(before + 1)) <= told["after"]  # all that was acknowledged
            assert told["after"] <= rated <= rows <= told["before"]  # as if the writer had been killed at one moment
            assert len(told["before"]) <= len(told["after"]) + 1
            for entry in again.ledger.entries("after"):
                assert again.blobs.get(entry.body["blob"]) == b"%d" % entry.body["number"]
    finally:
        writer.kill()
        writer.wait()
        following.join()
        lines.close()


# ------------------------------------------------------------------ what is refused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    workspace = Workspace.create(tmp_path / "here", BASE, "name = 'test'\n")
    serve(workspace, "one")
    back_up(workspace, tmp_path / "backup.tar")
    workspace.records.close()
    return tmp_path / "backup.tar"


def rewritten(file: Path, change: Callable[[dict[str, bytes]], None], kind: bytes = tarfile.REGTYPE) -> Path:
    """The archive with other members, its manifest made to fit unless it was changed itself."""
    with tarfile.open(file) as tar:
        members = {one.name: (tar.extractfile(one) or io.BytesIO()).read() for one in tar}
    before = members[MANIFEST]
    change(members)
    if members.get(MANIFEST) == before:
        found = {name: [hashlib.sha256(data).hexdigest(), len(data)] for name, data in members.items()}
        del found[MANIFEST]
        members[MANIFEST] = json.dumps({"format": 1, "files": found}).encode()
    made = file.with_name("changed.tar")
    with tarfile.open(made, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if name.startswith("evil"):
                member.type, member.linkname, member.size = kind, "/etc/passwd", 0
            tar.addfile(member, io.BytesIO(data))
    return made


def put(name: str, data: bytes = b"x") -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.update({name: data})


def drop(name: str) -> Callable[[dict[str, bytes]], None]:
    def without(members: dict[str, bytes]) -> None:
        del members[name]

    return without


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("../outside"), "which no workspace has"),
        (put("/tmp/outside"), "which no workspace has"),
        (put("adapters/../../outside"), "which no workspace has"),
        (put(f"adapters/{'a' * 64}/.."), "which no workspace has"),
        (put("blobs/readme"), "which no workspace has"),
        (put("lock"), "which no workspace has"),
        (put("ledger/log.jsonl", b"{}\n"), "entry 0 differs|differs from|is missing"),
        (put(f"blobs/{'a' * 64}"), "does not match its digest"),
        (drop("workspace.json"), "No workspace"),
        (put(MANIFEST, b"{}"), "manifest can't be read"),
        (put(MANIFEST, b"\xff"), "manifest can't be read"),
        (put(MANIFEST, b'{"format": 2, "files": {}}'), "format 2"),
        (put(MANIFEST, b'{"format": 1, "files": {}}'), "no part of a backup"),
        (put(MANIFEST, b'{"format": 1, "files": {"charter.toml": ["aa", 14]}}'), "does not match|no part of"),
    ],
)
def test_what_is_no_backup_makes_no_folder(
    file: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], said: str
) -> None:
    changed = rewritten(file, change)
    before = set(tmp_path.iterdir())
    with pytest.raises(GradatimError, match=said):
        restore(changed, tmp_path / "again")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_refused(file: Path, tmp_path: Path, kind: bytes) -> None:
    evil = rewritten(file, lambda members: members.update({"evil": b"", MANIFEST: members[MANIFEST] + b" "}), kind)
    with pytest.raises(IntegrityError, match="no part of a backup"):
        restore(evil, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_is_refused(file: Path, tmp_path: Path, share: float) -> None:
    with tarfile.open(file) as tar:
        end = max(member.offset_data + member.size for member in tar)
    file.write_bytes(file.read_bytes()[: int(end * share)])
    before = set(tmp_path.iterdir())
    with pytest.raises(IntegrityError):
        restore(file, tmp_path / "again")
    assert set(tmp_path.iterdir()) == before


def test_every_changed_byte_is_seen(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    with tarfile.open(file) as tar:
        places = [member.offset_data + member.size // 2 for member in tar if member.size]
    for place in places:
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(GradatimError):
            restore(file, tmp_path / "again")
        assert not (tmp_path / "again").exists()


def test_nothing_is_overwritten(file: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "here")
    kept = file.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        back_up(workspace, file)
    assert file.read_bytes() == kept
    with pytest.raises(InputError, match="no folder"):
        back_up(workspace, tmp_path / "nowhere" / "backup.tar")
    with pytest.raises(InputError, match="nothing is overwritten"):
        restore(file, tmp_path / "here")
    with pytest.raises(InputError, match="No file"):
        restore(tmp_path / "nowhere", tmp_path / "again")


def test_what_does_not_verify_is_not_backed_up(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "here", BASE, "")
    blob = next((tmp_path / "here/blobs").iterdir())
    blob.write_bytes(b"another")
    before = set(tmp_path.iterdir())
    with closing(workspace.records), pytest.raises(IntegrityError, match="does not verify"):
        back_up(workspace, tmp_path / "backup.tar")
    assert set(tmp_path.iterdir()) == before


def test_a_killed_backup_leaves_no_file_of_that_name(file: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from gradatim import backup; from gradatim.workspace import *\n"
        "backup._check_archive = lambda archive: (print('made', flush=True), time.sleep(600))\n"
        "backup.back_up(Workspace.open(Path(sys.argv[1])), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "here"), str(tmp_path / "new.tar")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "made\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "new.tar").exists()
    workspace = Workspace.open(tmp_path / "here")
    with closing(workspace.records):
        back_up(workspace, tmp_path / "new.tar")
