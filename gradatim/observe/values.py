"""The values in a sentence: numbers with their units, money, times of day, days, months, years, and names.

A name is a run of capitalised words; a sentence's first word begins one only when the next word goes on with it, since
any word may stand there.

Limits: English words and formats. "Half past three" is not read as a time nor "a fortnight" as a number, any number
from 1000 to 2099 may be a year, and a name of one word that opens a sentence is taken for a common word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gradatim.observe import vocabulary as v

Value = tuple[str, object]
"""Sort and value: ("time", 200), ("money", (80.0, "euro")), ("name", frozenset({"hasselby", "mill"}))."""

Found = tuple[int, Value | None, str]
"""How many tokens a value takes, the value, and the words that wrote it; the value is None when there is none."""

_NOTHING: Found = (1, None, "")

_TOKEN = re.compile(
    r"(?P<number>[€$£¥]?\d+(?:[.,:]\d+)*)|(?P<word>[^\W\d_]+(?:['’-][^\W\d_]+)*)|(?P<sign>%)|(?P<stop>[.!?;:()])|(?P<comma>,)"
)
_HALF_OF_DAY = re.compile(r"\s*(?:([ap])\.?m\b\.?|o['’]?clock\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Token:
    """A number, a word or a mark, and where it stands."""

    kind: str
    text: str
    half: str = ""  # of the day: "a" and "p" for a.m. and p.m., "o" for o'clock
    opens: bool = False  # whether it is the first of its sentence

    @property
    def small(self) -> str:
        """In small letters, without a possessive ending."""
        return self.text.lower().removesuffix("'s").removesuffix("’s")


def tokens(text: str) -> list[Token]:
    """The tokens of a text, "9 a.m." as one; a text in capitals is read as if in small letters."""
    text = (text.lower() if text.isupper() else text).replace("per cent", "percent")
    text = re.sub(rf"\b({'|'.join(v.TITLES)})\.", r"\1", text, flags=re.IGNORECASE)
    parts: list[Token] = []
    position, opens = 0, True
    while found := _TOKEN.search(text, position):
        position, kind, half = found.end(), found.lastgroup or "", ""
        counts = kind == "number" or found.group().lower() in v.NUMBER_WORDS
        if counts and (clock := _HALF_OF_DAY.match(text, position)):
            position, half = clock.end(), (clock[1] or "o").lower()
        parts.append(Token(kind, found.group(), half, opens))
        opens = kind == "stop"
    return parts


def value_at(found: list[Token], position: int) -> Found:
    """The value that begins at this token."""
    token = found[position]
    if _counts(found, position):
        return _time(token) if token.half or ":" in token.text else _number(found, position)
    if token.kind != "word":
        return _NOTHING
    single = token.small.removesuffix("s")
    if single in v.DAYS:
        return 1, ("day", single), token.text
    if single in v.MONTHS and token.text[0].isupper() and not token.opens:
        return 1, ("month", single), token.text
    return _name(found[position:])


def _counts(found: list[Token], position: int) -> bool:
    """Whether a number begins here; not so with the "one" of "no one", "this one" and "one of them"."""
    token = found[position]
    if token.kind == "number" or token.small not in v.NUMBER_WORDS:
        return token.kind == "number"
    before = found[position - 1].small if position else ""
    after = found[position + 1].small if position + 1 < len(found) else "of"
    pronoun = before in ("no", "each", "every", "any", "this", "that", "the", "which") or after in ("of", "another")
    return token.small != "one" or not pronoun


def _amount(token: Token) -> float:
    if token.kind == "word":
        return float(v.NUMBER_WORDS[token.small])
    digits = token.text.lstrip("".join(v.CURRENCY_SIGNS)).split(":")[0]
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", digits):
        digits = digits.replace(",", "")
    digits = digits.replace(",", ".")
    return float(digits if digits.count(".") <= 1 else digits.replace(".", ""))


def _time(token: Token) -> Found:
    """A time of day, as minutes since midnight."""
    hour = int(_amount(token))
    parts = token.text.split(":")
    minute = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
    if token.half == "p" and hour < 12:
        hour += 12
    elif token.half == "a" and hour == 12:
        hour = 0
    return 1, ("time", hour * 60 + minute), token.text


def _number(found: list[Token], position: int) -> Found:
    """A number with the unit behind it, in the base unit of its dimension."""
    amount, end = _amount(found[position]), position + 1
    while end < len(found) and found[end].small in v.MULTIPLIERS:
        amount *= v.MULTIPLIERS[found[end].small]
        end += 1
    said = " ".join(token.text for token in found[position:end])
    sign = v.CURRENCY_SIGNS.get(said[0])
    unit = sign or (_unit(found[end]) if end < len(found) else "")
    if unit and not sign:
        said = f"{said} {found[end].text}"
    if unit in v.CURRENCIES:
        return end - position, ("money", (amount, unit)), said
    if unit not in v.MEASURES and re.fullmatch(r"1\d{3}|20\d{2}", found[position].text) and end == position + 1:
        return 1, ("year", int(amount)), found[position].text
    dimension, factor = v.MEASURES.get(unit, (unit, 1))
    # The unit's own token is not taken: it stays a word of the sentence, since it says what is spoken of.
    return end - position, (f"number {dimension}".strip(), round(amount * factor, 6)), said


def _unit(token: Token) -> str:
    if token.kind not in ("word", "sign") or token.small in v.STOP_WORDS:
        return ""
    return v.singular(token.small)


def _name(following: list[Token]) -> Found:
    run: list[Token] = []
    for token in following:
        if token.kind != "word" or not token.text[0].isupper() or token.small in v.DAYS or (run and token.opens):
            break
        run.append(token)
    if not run or run[0].small in v.STOP_WORDS or (len(run) == 1 and run[0].opens):
        return _NOTHING
    words = frozenset(token.small for token in run if token.small not in v.TITLES)
    return (len(run), ("name", words), " ".join(token.text for token in run)) if words else _NOTHING
