"""Incidents in the ledger, their clock, and bundles that hold up elsewhere and show every byte that was changed."""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gradatim.charter import DEFAULT_PATH
from gradatim.errors import InputError, IntegrityError
from gradatim.ledger.bundle import check
from gradatim.ledger.verify import verify_workspace
from gradatim.watch.incidents import Incident, Incidents
from gradatim.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "here", {"source": "nowhere", "digest": "b" * 64}, DEFAULT_PATH.read_text())


@pytest.fixture
def incidents(workspace: Workspace) -> Incidents:
    return workspace.incidents


def opened(incidents: Incidents, about: str = "seconds") -> Incident:
    made = incidents.open("drift", about, "twice as slow", {"p_value": 1e-9, "now": 2.0}, [0, 2])
    assert made is not None
    return made


def test_the_clock_of_an_incident(workspace: Workspace, incidents: Incidents) -> None:
    made = opened(incidents)
    assert (made.state, made.entries) == ("open", (0, 2, workspace.ledger.size - 1))
    assert incidents.open("drift", "seconds", "again", {}) is None  # while it is open
    assert incidents.open("drift", "prompt tokens", "another", {}) is not None
    seen = incidents.acknowledge(made.id, "ada")
    assert seen.state == "acknowledged"
    closed = incidents.close(made.id, "ben", "the disk was slow")
    data = incidents.data(closed)
    assert (data["state"], data["closed"]["by"], data["closed"]["reason"]) == ("closed", "ben", "the disk was slow")
    assert 0 <= data["acknowledged"]["seconds"] <= data["closed"]["seconds"] < 60
    again = Workspace.open(workspace.folder).incidents.all()  # everything is in the ledger
    assert [one.state for one in again] == ["closed", "open"]
    assert again[0] == closed
    assert incidents.last_closed("drift", "seconds") == closed.closed.at  # type: ignore[union-attr]
    assert incidents.last_closed("drift", "prompt tokens") is None
    assert incidents.open("drift", "seconds", "it came back", {}) is not None
    assert verify_workspace(workspace.folder).ok


def test_evidence_that_is_gone_is_missed(workspace: Workspace, incidents: Incidents) -> None:
    made = opened(incidents)
    assert verify_workspace(workspace.folder).ok
    (workspace.folder / "blobs" / made.evidence).unlink()
    assert f"blobs/{made.evidence} is missing" in (verify_workspace(workspace.folder).problem or "")


def test_words_that_can_not_be(incidents: Incidents) -> None:
    made = opened(incidents)
    with pytest.raises(InputError, match="say what came of it"):
        incidents.close(made.id, "ada", " ")
    incidents.acknowledge(made.id.removeprefix("incident-"), "ada")
    with pytest.raises(InputError, match="was acknowledged by ada already"):
        incidents.acknowledge(made.id, "ben")
    incidents.close(made.id, "ben", "done")
    with pytest.raises(InputError, match="was closed by ben already"):
        incidents.close(made.id, "cyd", "done")
    with pytest.raises(InputError, match="No incident is called 77"):
        incidents.get("77")


def test_a_bundle_holds_what_it_was_opened_on(workspace: Workspace, incidents: Incidents, tmp_path: Path) -> None:
    made = opened(incidents)
    incidents.close(made.id, "ada", "seen")
    path = incidents.export(made.id, tmp_path / "bundle.zip")
    with pytest.raises(InputError, match="is there already"):
        incidents.export(made.id, path)
    found = check(path, workspace.folder / "ledger" / "checkpoint")
    assert [entry.index for entry in found.entries] == [0, 2, made.entries[-1], made.entries[-1] + 1]
    assert found.entries[-1].body == {"event": "closed", "incident": made.entries[-1], "by": "ada", "reason": "seen"}
    with zipfile.ZipFile(path) as archive:
        evidence = json.loads(archive.read(f"blobs/{made.evidence}"))
        settings = json.loads(archive.read(f"blobs/{made.settings}"))
        public = archive.read("key.pub")
    assert evidence == {"p_value": 1e-9, "now": 2.0}
    assert settings["charter.toml"] == workspace.charter_path.read_text()
    assert public == (workspace.folder / "ledger" / "key.pub").read_bytes()


def test_a_bundle_by_hand(workspace: Workspace, incidents: Incidents, tmp_path: Path) -> None:
    """With nothing of the package: SHA-256 and Ed25519, as the README in it says."""
    import base64
    import hashlib

    path = incidents.export(opened(incidents).id, tmp_path / "bundle.zip")
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("entries.jsonl").splitlines()
        proofs = json.loads(archive.read("proofs.json"))
        note = archive.read("checkpoint").decode()
        key = base64.b64decode(archive.read("key.pub").decode().split("+", 2)[2])[1:]
    text, _, signature = note.partition("\n\n")
    size, root = int(text.split("\n")[1]), base64.b64decode(text.split("\n")[2])
    signed = base64.b64decode(signature.split(" ")[2])[4:]
    Ed25519PublicKey.from_public_bytes(key).verify(signed, f"{text}\n".encode())
    for line, proof in zip(lines, proofs, strict=True):
        node, index, last = hashlib.sha256(b"\0" + line).digest(), proof["index"], size - 1
        for other in map(bytes.fromhex, proof["path"]):
            if index & 1 or index == last:
                node = hashlib.sha256(b"\1" + other + node).digest()
                while not index & 1 and index:
                    index, last = index >> 1, last >> 1
            else:
                node = hashlib.sha256(b"\1" + node + other).digest()
            index, last = index >> 1, last >> 1
        assert node == root


def test_every_changed_byte_of_a_bundle_is_found(incidents: Incidents, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(incidents.bundle(opened(incidents)))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist() if name != "README.txt"}
    chance = random.Random(0)
    path = tmp_path / "changed.zip"
    for name in parts:
        for _ in range(25):
            data = bytearray(parts[name])
            data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
            changed = parts | {name: bytes(data)}
            if name == "proofs.json" and _same(parts[name], changed[name]):
                continue  # white space
            with zipfile.ZipFile(path, "w") as archive:
                for part, content in changed.items():
                    archive.writestr(part, content)
            with pytest.raises(IntegrityError, match=r"changed\.zip|checkpoint"):
                check(path)
    for missing in parts:
        if missing.startswith("blobs/"):
            continue
        with zipfile.ZipFile(path, "w") as archive:
            for part in parts.keys() - {missing}:
                archive.writestr(part, parts[part])
        with pytest.raises(IntegrityError, match="is missing"):
            check(path)


def _same(left: bytes, right: bytes) -> bool:
    try:
        return bool(json.loads(left) == json.loads(right))
    except ValueError:
        return False


def test_what_is_no_bundle(tmp_path: Path, workspace: Workspace, incidents: Incidents) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(IntegrityError, match="can't be read as a zip file"):
        check(tmp_path / "text.zip")
    other = Workspace.create(tmp_path / "other", workspace.base, DEFAULT_PATH.read_text())
    path = incidents.export(opened(incidents).id, tmp_path / "bundle.zip")
    with pytest.raises(IntegrityError, match="which did not sign"):
        check(path, other.folder / "ledger" / "checkpoint")
