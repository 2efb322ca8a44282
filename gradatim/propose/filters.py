"""What may be studied: not twice, not outside its source, and nothing that is sealed for the judge.

The judge hands out fingerprints of its sealed questions, never the questions: a hash for each set of meaning-bearing
stems. An example whose prompt has the same set, order and wording aside, is dropped as a leak.

Limits: a leak in quite other words is not seen; that is what a held-out question is meant to test.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from gradatim.types import StudyExample
from gradatim.writing.words import normalised, stems


def fingerprint(question: str) -> str:
    """A hash of the question's meaning-bearing stems, the same for any order and any function words."""
    return hashlib.sha256(" ".join(sorted(stems(question))).encode()).hexdigest()


def admit(examples: Iterable[StudyExample], sealed: frozenset[str]) -> tuple[tuple[StudyExample, ...], dict[str, int]]:
    """The examples that pass, in order, and how many were dropped for each reason."""
    dropped: Counter[str] = Counter()
    kept = []
    copies: Counter[str] = Counter()
    for example in examples:
        key = normalised(example.prompt)
        if fingerprint(example.prompt) in sealed:
            dropped["leaks a sealed question"] += 1
        elif not key or copies[key] >= 2:
            dropped["near-duplicate"] += 1
        else:
            copies[key] += 1
            kept.append(example)
    return tuple(kept), dict(dropped)
