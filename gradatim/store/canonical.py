"""One JSON text for one value, so that equal values have equal digests.

Keys are sorted, there is no white space, the encoding is UTF-8. JSON has no word for a float that is not finite
(the loss of a training that diverged); it is written as the string "NaN", "Infinity" or "-Infinity", which pydantic
reads back as the float. Limit: numbers are written as Python writes them, which is not RFC 8785 for every float.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

from gradatim.types import Digest


def digest_of(data: bytes) -> Digest:
    return hashlib.sha256(data).hexdigest()


def is_digest(name: str) -> bool:
    return len(name) == 64 and all(character in "0123456789abcdef" for character in name)


def canonical(value: object) -> bytes:
    """The canonical JSON of dataclasses, dicts, lists, tuples and scalars; TypeError for anything else."""
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
