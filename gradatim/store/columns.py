"""Types of columns that hold the same in SQLite and in PostgreSQL.

PostgreSQL's text knows no character NUL, which a model may well say; there it is written as two others, and read back
as itself. Comparisons go through the same door, so `=` and `IN` mean what they mean in SQLite; `LIKE` would not.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy
from sqlalchemy import BigInteger, Integer, TypeDecorator

_ESCAPE = "\x1a"  # SUBSTITUTE: text that holds neither it nor NUL is written as it is
_ESCAPED = str.maketrans({"\0": f"{_ESCAPE}0", _ESCAPE: f"{_ESCAPE}1"})
_WRITTEN = re.compile(f"{_ESCAPE}([01])")


class Text(TypeDecorator[str]):
    """Any text that UTF-8 can spell."""

    impl: Any = sqlalchemy.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        if value is None or dialect.name == "sqlite":
            return value
        return value.translate(_ESCAPED)

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        if value is None or dialect.name == "sqlite" or _ESCAPE not in value:
            return value
        return _WRITTEN.sub(lambda found: "\0" if found[1] == "0" else _ESCAPE, value)


class String(Text):
    """The same where there may be an index, so not longer than some hundred characters."""

    impl = sqlalchemy.String
    cache_ok = True


Long = BigInteger().with_variant(Integer, "sqlite")  # whose integers have 64 bits anyway
"""A whole number that a busy server may count beyond 2^31."""
