"""Words as the screening compares them: without endings, and with everyday synonyms taken as one.

Limits: English, a short list of synonyms, and endings cut by rule rather than by grammar. Nothing here knows what a
sentence means; see `screening` for what follows from that.
"""

from __future__ import annotations

STOP_WORDS = frozenset(
    "a about all also an and any anyone anything are as at be been before being but by can cannot could did do does"
    " doing done each either every everybody everyone for from get gets getting give gives given go goes got had has"
    " have having he her here hers him his how however i if in into is it its itself just like made make makes many"
    " may me mine more most much must my no nobody not now of off on only onto or other our ours out over own per"
    " please s shall she should so some somebody someone such t than that the their theirs them then there these they"
    " this those to too under until up upon us very was we were what when whenever where which while who whoever whom"
    " whose why will with within would yes you your yours".split()
)

# Each line is one idea; questions and documents rarely choose the same word for it.
_SYNONYMS = """
owner owners owned owns proprietor belong belongs belonged belonging
open opens opened opening close closes closed closing shut shuts
start starts started starting begin begins began beginning commence commences
founder founded founds founding establish established
cost costs price prices fee fees charge charges charged charging pay pays paid payment
supply supplies supplied supplier deliver delivers delivered delivery provide provides provided
leader leads led head heads headed chief chair chairs director directs manager manages managed boss runs
call calls called name names named nickname
light lights lit lighting
keep keeps kept keeping
buy buys bought purchase purchased sell sells sold
big bigger biggest large larger largest
need needs needed require requires required
phone telephone ring rings
"""

_CANON = {word: line.split()[0] for line in _SYNONYMS.strip().splitlines() for word in line.split()}

_ENDINGS = ("ings", "ing", "ies", "ied", "ed", "es", "s", "ly", "e", "y")

UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
UNITS += "seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()

NUMBER_WORDS: dict[str, int] = {word: value for value, word in enumerate(UNITS)}
NUMBER_WORDS |= {word: 20 + 10 * index for index, word in enumerate(TENS)}
NUMBER_WORDS |= {f"{tens}-{UNITS[unit]}": NUMBER_WORDS[tens] + unit for tens in TENS for unit in range(1, 10)}
NUMBER_WORDS |= {"dozen": 12}

MULTIPLIERS = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}

DAYS = frozenset("monday tuesday wednesday thursday friday saturday sunday".split())
MONTHS = frozenset("january february march april may june july august september october november december".split())

# Units of one dimension, in the first of them: so "two weeks" is "fourteen days", and neither is "two days".
_DIMENSIONS: dict[str, dict[str, float]] = {
    "second": {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
    | {"month": 2_629_800.0, "year": 31_557_600},
    "metre": {"metre": 1, "meter": 1, "kilometre": 1_000, "kilometer": 1_000, "km": 1_000, "mile": 1_609.344},
    "gram": {"gram": 1, "kilogram": 1_000, "kg": 1_000, "kilo": 1_000, "tonne": 1_000_000},
    "percent": {"percent": 1, "%": 1},
}

MEASURES = {unit: (dimension, factor) for dimension, units in _DIMENSIONS.items() for unit, factor in units.items()}

CURRENCY_SIGNS = {"€": "euro", "$": "dollar", "£": "pound", "¥": "yen"}
CURRENCIES = frozenset("euro dollar pound yen cent penny crown krone florin shilling franc rupee rouble zloty".split())

TITLES = frozenset("mr mrs ms mx dr prof sir dame madam".split())


def stem(word: str) -> str:
    """The part of a small-letter word that its forms share, and its synonyms too."""
    if word in _CANON:
        return _CANON[word]
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    # "stopped" and "stop": a doubled last letter is part of the ending.
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls" else word


def singular(word: str) -> str:
    """A unit as it stands beside the number one: "days" is "day"."""
    if word in ("pence", "pennies"):
        return "penny"
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
