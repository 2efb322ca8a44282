"""What a document is about, by name: "Harrowfen Growers", where its title says "harrowfen" or "Terms of licence".

Questions name the subject, most sentences do not. Whoever writes or weighs a question with a sentence in view needs
the name beside it: with file names for titles the base found the sentence that a person's question was about in 47 to
53 % of cases, with the subject's name in 71 to 88 % (three handbooks).

Limits: a name is a run of capitalised words, so languages that capitalise otherwise, and subjects of one word, keep
the title.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

from gradatim.types import Passage

_WORD = r"[A-Z][\w'’&-]*"
_NAME = re.compile(rf"\b{_WORD}(?:[ \t]+(?:of[ \t]+(?:the[ \t]+)?)?{_WORD})+")
_OPENERS = re.compile(r"(?:The|An?|All|In|At|On|Every|Each|Any|No|Our|For|To|If|When|Most|Some)\s+")
_IN_TITLE = 2


def subject_of(title: str, text: str) -> str:
    """The name that stands most often in `text`, one sharing a word with the title before others; else the title."""
    counts = Counter(name for name in (_OPENERS.sub("", found) for found in _NAME.findall(text)) if " " in name)
    titled = frozenset(title.lower().split())
    weights = {name: count + _IN_TITLE * bool(titled & set(name.lower().split())) for name, count in counts.items()}
    best = max(weights, key=lambda name: weights[name], default=title)  # of equals, the first
    return best if weights.get(best, 0) >= _IN_TITLE else title


def name_subjects(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    """The passages, the subject's name in place of the document's title."""
    named: list[Passage] = []
    for _, group in groupby(passages, key=attrgetter("document")):
        own = list(group)
        title = own[0].context.split(" > ")[0]
        subject = subject_of(title, "\n".join(passage.text for passage in own))
        for passage in own:
            _, *places = passage.context.split(" > ")
            named.append(replace(passage, context=" > ".join([subject, *places])))
    return tuple(named)
