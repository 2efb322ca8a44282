"""Text that no person should be believed for: orders to the model, abuse, gibberish, and nothing at all.

Limits: phrases and letter statistics, English first. A new wording of an order gets through; a text about prompt
injection that quotes one is caught. Both are why quarantine is a place where a person looks, not a bin.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_ORDERS = re.compile(
    r"""
    \b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instruction|prompt|rule|guideline|direction)s?\b
  | \b(?:ignore|disregard|forget)\s+(?:all\s+|everything\s+|anything\s+)?(?:of\s+)?(?:the\s+|your\s+|you\s+)?
      (?:previous|prior|above|earlier|preceding|told|were\s+told|know)\b
  | \byou\s+are\s+now\s+(?:an?|the|in|called|named|free|no\s+longer|dan)\b
  | \b(?:system|developer)\s+(?:prompt|message)\b
  | \b(?:developer|god|dan|jailbreak)\s+mode\b | \bjailbreak
  | \bfrom\s+now\s+on\b.{0,30}\b(?:answer|respond|reply|say|pretend|act)\b
  | \b(?:pretend|act|behave|respond|answer)\s+as\s+(?:if\s+you|though\s+you|an?\s+(?:ai|unrestricted|evil))\b
  | \bnew\s+instructions?\s*: | \bdo\s+not\s+(?:tell|inform|reveal\s+to)\s+the\s+user\b
  | \b(?:reveal|print|show|repeat|output)\b.{0,20}\b(?:your|the)\s+(?:instructions|prompt)\b
  | <\|?(?:im_start|im_end|system|endoftext|begin_of_text|user|assistant)\|?> | \[/?inst\] | <</?sys>>
    """,
    re.IGNORECASE | re.VERBOSE,
)

_INSULTS = (
    "idiot moron imbecile stupid dumb useless worthless pathetic brainless garbage rubbish trash scrap junk".split()
)
_ABUSE = re.compile(
    rf"\byou(?:['’]re|\s+are|\s+is)?(?:\s+\w+){{0,2}}\s+(?:{'|'.join(_INSULTS)})\b|\bf+u+c+k\w*|\bbull?shit\b|\bshit(?:ty|s)?\b"
    r"|\bass(?:hole|hat)s?\b|\bbitch(?:es)?\b|\bcunts?\b|\bwankers?\b|\bbastards?\b|\bdickheads?\b|\bscrew\s+you\b"
    r"|\bshut\s+up\b|\bgo\s+to\s+hell\b|\bkill\s+yourself\b",
    re.IGNORECASE,
)

_LETTERS = re.compile(r"[^\W\d_]+")
_VOWELS = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýÿœ]", re.IGNORECASE)
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{7,}", re.IGNORECASE)


def order_in(text: str) -> str | None:
    """The words that try to give the model an order, if any do."""
    found = _ORDERS.search(_plain(text))
    return found.group().strip() if found else None


def noise_in(text: str) -> str | None:
    """Why this text is no honest answer, if it is none: "is empty", "is abuse" or "is gibberish"."""
    plain = _plain(text)
    if not re.search(r"\w", plain):
        return "is empty"
    if _ABUSE.search(plain):
        return "is abuse"
    return "is gibberish" if _is_gibberish(plain) else None


def _is_gibberish(text: str) -> bool:
    words = _LETTERS.findall(text)
    if any(first == second == third for (first, second), third in zip(pairwise(words), words[2:], strict=False)):
        return True
    if re.search(r"([^\W\d_])\1{4,}", text) or any(_CONSONANTS.search(word) for word in words):
        return True
    # Only words of the Latin alphabet can be missed their vowels; capitals are an abbreviation.
    voiceless = [
        word for word in words if len(word) >= 4 and word.isascii() and not word.isupper() and not _VOWELS.search(word)
    ]
    return len(voiceless) >= 2 or (len(voiceless) == 1 and len(words) <= 3)


def _plain(text: str) -> str:
    """Without the invisible letters and look-alike forms that hide words from a search."""
    visible = (letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) != "Cf")
    return " ".join("".join(visible).split())
