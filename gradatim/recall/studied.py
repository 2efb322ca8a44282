"""Which texts an adapter learnt by heart, as digests: what it tells can be checked, but not read out of the list.

A recitation whose digest is listed is word for word what was studied; one that isn't has been garbled on the way or
made up. With the adapter travel only the SHA-256 of each text and what it is about (the subject its document is called
by); the texts themselves are in its weights and in the workspace where it was made.

Limits: a digest confirms a guess, so whoever already suspects a sentence can check that it was studied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from gradatim.errors import ModelError
from gradatim.model.chat import ChatFormat
from gradatim.store.adapters import STUDIED_FILE


class Studied:
    """The digest of each text and the subject of it; spacing makes no difference.

    `longest` is in tokens. `asker` names the adapter that weighs what is told, as the judge heard it weighed; None is
    the bare base.
    """

    def __init__(self, subjects: Mapping[str, str], longest: int, asker: str | None = None) -> None:
        self._subjects, self.longest, self.asker = dict(subjects), longest, asker

    @classmethod
    def of(cls, texts: Iterable[tuple[str, str]], chat: ChatFormat, asker: str | None = None) -> Studied:
        """From pairs of a text and its subject."""
        pairs = list(texts)
        longest = max((len(chat.target("", text)) for text, _ in pairs), default=0)
        return cls({_digest(text): subject for text, subject in pairs}, longest, asker)

    def subject(self, text: str) -> str | None:
        """What a studied text is about; None for a text that was not studied word for word."""
        return self._subjects.get(_digest(text))

    def save(self, folder: Path) -> None:
        (folder / STUDIED_FILE).write_text(
            json.dumps(
                {"asker": self.asker, "longest": self.longest, "subjects": self._subjects},
                ensure_ascii=False,
                sort_keys=True,
                indent=0,
            )
            + "\n",
            encoding="utf-8",
        )

    @classmethod
    def load(cls, folder: Path) -> Studied:
        """Raises ModelError when the folder's list can't be read."""
        try:
            read = json.loads((folder / STUDIED_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder / STUDIED_FILE} is not a readable list of digests ({error}).") from error
        match read:
            case {"longest": int(longest), "subjects": dict(subjects)}:
                asker = read.get("asker")
                if all(isinstance(one, str) for one in subjects.values()) and isinstance(asker, str | None):
                    return cls(subjects, longest, asker)
        raise ModelError(f"{folder / STUDIED_FILE} is not a list of digests and subjects.")


def _digest(text: str) -> str:
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
