"""The charter: what it holds, which line it cites, and what it says when it is broken."""

from __future__ import annotations

import hashlib
import string
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradatim.charter import DEFAULT_PATH, Approval, Charter, Gate, Sources
from gradatim.errors import CharterError


def written(folder: Path, text: str) -> Path:
    path = folder / "charter.toml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(CharterError) as caught:
        Charter.load(written(folder, text))
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder), "")


# ------------------------------------------------------------------ reading


def test_the_default_file_says_what_the_types_default_to() -> None:
    loaded, bare = Charter.default(), Charter()
    for section in ("sources", "gate", "budget", "approval", "rollout", "trust", "schedule"):
        assert asdict(getattr(loaded, section)) == asdict(getattr(bare, section))


def test_the_default_file_sets_every_key_and_explains_it() -> None:
    lines = DEFAULT_PATH.read_text(encoding="utf-8").splitlines()
    keys = [index for index, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    assert len(keys) == 50
    assert all(lines[index - 1].startswith("#") for index in keys)


def test_values_of_the_file_win_and_the_rest_is_default(tmp_path: Path) -> None:
    charter = Charter.load(written(tmp_path, "[gate]\nmost_kl = 0.3\n\n[budget]\nseconds = 60\n"))
    assert charter.gate == Gate(most_kl=0.3)
    assert charter.budget.seconds == 60.0
    assert charter.sources == Sources()


def test_an_empty_charter_is_the_default_one(tmp_path: Path) -> None:
    assert Charter.load(written(tmp_path, "")).gate == Gate()


def test_the_digest_names_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "charter.toml"
    path.write_bytes(b"[gate]\r\nleast_gain = 0.5\r\n")
    assert Charter.load(path).digest == hashlib.sha256(b"[gate]\r\nleast_gain = 0.5\r\n").hexdigest()


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "charter.toml"
    path.write_bytes(b"\xef\xbb\xbf[gate]\nleast_gain = 0.5\n")
    assert Charter.load(path).gate.least_gain == 0.5


# ------------------------------------------------------------------ citing


def test_a_key_is_cited_with_its_line(tmp_path: Path) -> None:
    charter = Charter.load(written(tmp_path, "# mine\n\n[gate]\n# less\nmost_forgetting = 0.02\n"))
    assert charter.line("gate.most_forgetting") == "charter.toml line 5: most_forgetting = 0.02"


def test_a_key_that_is_not_set_is_cited_as_a_default(tmp_path: Path) -> None:
    charter = Charter.load(written(tmp_path, "[gate]\n"))
    assert charter.line("budget.joules") == "charter.toml, by default: joules = 60000"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("gate.least_gain = 0.5", 1),
        ("\n\n[ gate ]\n  least_gain=0.5", 4),
        ("[budget]\nseconds = 1\n[gate]\n'least_gain' = 0.5", 4),
        ("\ngate = { least_gain = 0.5 }", 0),
    ],
)
def test_lines_are_found_however_the_key_is_written(tmp_path: Path, text: str, line: int) -> None:
    charter = Charter.load(written(tmp_path, text))
    assert charter.gate.least_gain == 0.5
    assert charter.lines.get("gate.least_gain", 0) == line


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("[approval]\nrequired = true", "required = true"),
        ("[approval]\nrequired = false", "required = false"),
    ],
)
def test_values_are_cited_as_toml(tmp_path: Path, text: str, cited: str) -> None:
    assert Charter.load(written(tmp_path, text)).line("approval.required").endswith(cited)


def test_a_list_is_cited_as_toml(tmp_path: Path) -> None:
    charter = Charter.load(written(tmp_path, '[sources]\nallow = ["/srv/*", "cli"]'))
    assert charter.line("sources.allow") == 'charter.toml line 2: allow = ["/srv/*", "cli"]'


# ------------------------------------------------------------------ broken charters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[gate]\nmost_kl = ", "/charter.toml:2: is not TOML"),
        ("[gate]\nmost_kl = [1,", "/charter.toml:2: is not TOML"),
        ("[gate", "/charter.toml:1: is not TOML"),
        ("[gate]\nmost_kl = 1\nmost_kl = 2", "/charter.toml:3: is not TOML"),
        ("[gates]\nmost_kl = 1", "/charter.toml:1: gates is unknown; a charter has the sections sources, gate"),
        ("[gate]\n\nmost_k1 = 1", "/charter.toml:3: most_k1 is unknown; [gate] knows the keys least_gain"),
        ("seconds = 4", "/charter.toml:1: seconds is unknown"),
        ("gate = 3", "/charter.toml:1: gate is a section; write [gate]"),
        ("\n[[gate]]\nmost_kl = 1", "/charter.toml:2: gate is a section"),
        ("[gate]\nleast_gain = 20", "/charter.toml:2: least_gain = 20 must be a share between 0 and 1"),
        ('[gate]\nleast_gain = "20 %"', '/charter.toml:2: least_gain = "20 %" must be a share'),
        ("[gate]\nleast_gain = true", "/charter.toml:2: least_gain = true must be a share"),
        ("[gate]\nmost_kl = nan", "/charter.toml:2: most_kl = nan must be a number of nats"),
        ("[gate]\nmost_kl = inf", "/charter.toml:2: most_kl = inf must be a number of nats"),
        ("[gate]\nconfidence = 1", "/charter.toml:2: confidence = 1 must be between 0.5 and 1"),
        ("[budget]\nseconds = 0", "/charter.toml:2: seconds = 0 must be a number of seconds above 0"),
        ("[budget]\n\njoules = -5", "/charter.toml:3: joules = -5 must be a number of joules above 0"),
        ("[approval]\nrequired = 1", "/charter.toml:2: required = 1 must be true or false"),
        ('[approval]\nby = "ada"', '/charter.toml:2: by = "ada" must be a list of names'),
        ('[approval]\nby = ["ada", " "]', "must be a list of names"),
        ("[rollout]\nsteps = 0.05", "/charter.toml:2: steps = 0.05 must be a list of growing shares"),
        ("[rollout]\nsteps = []", "/charter.toml:2: steps = [] must be a list of growing shares"),
        ("[rollout]\nsteps = [0.1, 0.1]", "must be a list of growing shares"),
        ("[rollout]\nsteps = [0.1, 0.6]", "at most 0.5"),
        ("[rollout]\nmargins = [0.1, 0.2]", "must be a list of shares above 0 that never grow"),
        ("[rollout]\nshadow_subjects = 1.5", "must be a whole number, 0 or more"),
        ("[rollout]\nholdback = 0", "/charter.toml:2: holdback = 0 must be between 0 and 0.5"),
        ("[rollout]\nmost_latency_ratio = 0.5", "must be a ratio of 1 or more"),
        ("[rollout]\nwatch_hours = -1", "must be a number of hours, 0 or more"),
        ("[schedule]\ndocuments = -1", "/charter.toml:2: documents = -1 must be a whole number, 0 or more"),
        ("[schedule]\nsteps_a_day = 0", "/charter.toml:2: steps_a_day = 0 must be a whole number, 1 or more"),
        ("[schedule]\nmost_failures = true", "most_failures = true must be a whole number, 1 or more"),
        ("[schedule]\nquiet_minutes = inf", "must be a number of minutes, 0 or more"),
        ("[schedule]\nday_joules = 0", "must be a number of joules above 0"),
        ('[schedule]\nhours = "22:00-06:00"', '/charter.toml:2: hours = "22:00-06:00" must be a list of spans'),
        ('[schedule]\nhours = ["22-06"]', "must be a list of spans of the day"),
        ('[schedule]\nhours = ["24:00-06:00"]', "must be a list of spans of the day"),
        ('[schedule]\nhours = ["06:00-06:00"]', "must be a list of spans of the day"),
        ('[schedule]\nrelease = "wait"', 'release = "wait" must be one of "promote", "rollout"'),
        ('[sources]\nallow = "*"', '/charter.toml:2: allow = "*" must be a list of patterns'),
        ('[sources]\ndeny = ["docs/*"]', '"docs/*" would match nothing: write an absolute path'),
    ],
)
def test_a_broken_charter_is_one_line_with_place_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_a_missing_charter(tmp_path: Path) -> None:
    with pytest.raises(CharterError, match=r"none\.toml: there is no such charter"):
        Charter.load(tmp_path / "none.toml")


def test_a_folder_is_no_charter(tmp_path: Path) -> None:
    with pytest.raises(CharterError, match="can't be read"):
        Charter.load(tmp_path)


def test_other_encodings_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "charter.toml"
    path.write_bytes("[gate]\n# für uns\n".encode("latin-1"))
    with pytest.raises(CharterError, match=r"charter\.toml:2: is not UTF-8"):
        Charter.load(path)


# ------------------------------------------------------------------ properties

SHARES = ("least_gain", "most_forgetting", "most_lesson_loss")


def outcome(folder: Path, text: str) -> Charter | str:
    """The charter, or the complaint."""
    try:
        return Charter.load(written(folder, text))
    except CharterError as error:
        return str(error)


def loads(folder: Path, key: str, value: float | int) -> bool:
    section, _, name = key.partition(".")
    charter = outcome(folder, f"[{section}]\n{name} = {value!r}\n")
    if isinstance(charter, str):
        assert f"charter.toml:2: {name} = " in charter
        return False
    assert getattr(getattr(charter, section), name) == float(value)
    return True


NUMBERS = st.one_of(st.floats(), st.integers(), st.integers(10**300, 10**400), st.floats(-0.5, 1.5))


@given(name=st.sampled_from(SHARES), value=NUMBERS)
def test_a_share_loads_exactly_when_it_is_one(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: float
) -> None:
    assert loads(tmp_path_factory.getbasetemp(), f"gate.{name}", value) == (0 <= value <= 1)


@given(value=NUMBERS)
def test_confidence_is_strictly_between_a_half_and_one(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    assert loads(tmp_path_factory.getbasetemp(), "gate.confidence", value) == (0.5 < value < 1)


@given(name=st.sampled_from(("seconds", "joules")), value=NUMBERS)
def test_a_budget_is_a_finite_number_above_zero(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: float
) -> None:
    possible = 0 < value <= sys.float_info.max
    assert loads(tmp_path_factory.getbasetemp(), f"budget.{name}", value) == possible


@given(text=st.text(alphabet=string.printable, max_size=60))
def test_any_text_loads_or_is_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    charter = outcome(tmp_path_factory.getbasetemp(), text)
    if isinstance(charter, str):
        assert charter.startswith(str(tmp_path_factory.getbasetemp() / "charter.toml:"))
        assert "\n" not in charter
    else:
        assert 0 <= charter.gate.least_gain <= 1


# ------------------------------------------------------------------ sources and approvers


@pytest.mark.parametrize(
    ("allow", "deny", "source", "allowed"),
    [
        (("*",), (), "/anywhere/notes.md", True),
        (("*",), (), "cli", True),
        (("*",), (), "https://example.org/a", True),
        ((), (), "/anywhere/notes.md", False),
        (("/srv/books/*",), (), "/srv/books/2026/hand.md", True),
        (("/srv/books/*",), (), "/srv/books/../secret/hand.md", False),
        (("/srv/books/*",), (), "/srv/booksellers/hand.md", False),
        (("/srv/books/*",), (), "cli", False),
        (("*.md",), (), "/srv/hand.MD", False),
        (("https://wiki.example.org/*",), (), "https://wiki.example.org/a/b", True),
        (("https://wiki.example.org/*",), (), "https://wiki.example.org.evil.net/a", False),
        (("*",), ("/tmp/*",), "/tmp/notice.md", False),
        (("/tmp/notice.md",), ("/tmp/*",), "/tmp/notice.md", False),
        (("*",), ("cli",), "cli", False),
    ],
)
def test_sources(allow: tuple[str, ...], deny: tuple[str, ...], source: str, allowed: bool) -> None:
    assert Charter(sources=Sources(allow, deny)).allows_source(source) is allowed


def test_a_relative_path_is_matched_as_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    charter = Charter(sources=Sources((f"{tmp_path}/*",)))
    assert charter.allows_source("hand.md")
    assert not charter.allows_source("../hand.md")


def test_who_may_approve() -> None:
    assert Charter().allows_approver("anybody")
    assert not Charter().allows_approver(" ")
    named = Charter(approval=Approval(True, ("ada",)))
    assert named.allows_approver("ada")
    assert not named.allows_approver("Ada")
