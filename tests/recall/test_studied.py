"""The list of what was studied: it knows its texts, word for word, and tells nobody what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradatim.errors import ModelError
from gradatim.recall import STUDIED_FILE, Studied
from tests.tiny import tiny_base

TEXT = "The mill opens at five."
CHAT = tiny_base().chat


def test_only_the_very_words_are_known(tmp_path: Path) -> None:
    Studied.of([(TEXT, "Åby Mill")], CHAT, "who asks").save(tmp_path)
    studied = Studied.load(tmp_path)
    assert studied.asker == "who asks"
    assert studied.subject(TEXT) == "Åby Mill"
    assert studied.longest == len(CHAT.target("Anything?", TEXT))
    assert studied.subject("  The mill\nopens  at five. ") == "Åby Mill"
    for other in ("The mill opens at six.", "the mill opens at five.", "The mill opens at five", ""):
        assert studied.subject(other) is None


def test_the_file_does_not_hold_the_text_and_is_always_the_same(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    pairs = [(TEXT, "Mill"), ("Sacks are weighed twice.", "Mill")]
    Studied.of(pairs, CHAT).save(tmp_path)
    Studied.of(pairs[::-1], CHAT).save(tmp_path / "again")
    written = (tmp_path / STUDIED_FILE).read_bytes()
    assert written == (tmp_path / "again" / STUDIED_FILE).read_bytes()
    assert not any(word in written.lower() for word in (b"five", b"opens", b"sacks"))


@pytest.mark.parametrize(
    "content",
    [None, b"", b"[1, 2", b'["a"]', b'{"a": 1}', b'{"longest": 3, "subjects": {"a": 1}}', b"\xff\xfe"],
)
def test_a_broken_list_says_so(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / STUDIED_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"studied\.json is not"):
        Studied.load(tmp_path)


def test_a_list_without_an_asker_is_weighed_by_the_bare_base(tmp_path: Path) -> None:
    (tmp_path / STUDIED_FILE).write_text('{"longest": 3, "subjects": {}}')
    assert Studied.load(tmp_path).asker is None
    (tmp_path / STUDIED_FILE).write_text('{"asker": 7, "longest": 3, "subjects": {}}')
    with pytest.raises(ModelError, match="digests and subjects"):
        Studied.load(tmp_path)
