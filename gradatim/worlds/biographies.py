"""Invented people: five facts each, told in six wordings and asked in four, so that every answer can be checked.

    chance = random.Random(0)
    known = people(300, chance)
    passage(known[0])            # "Ada Marsh was born in Lisbon. …", one wording a fact, always in the same order
    questions(known[0], HELD_OUT)

After the synthetic biographies of Allen-Zhu and Li (Physics of Language Models 3.1, arXiv 2309.14316). Whether a model
can be asked about what it read depends on how many ways it was told, so a passage of one wording is the hard case, and
`biography` tells the same person in any mixture of wordings and orders.

Limits: one sentence holds one fact, every value is a single word, and nobody shares a name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

TELLINGS, ASKINGS = 6, 4
SELECTING, HELD_OUT = ASKINGS - 2, ASKINGS - 1
"""Two wordings of questions that no lesson may use: one to choose among lessons, the other to judge them by."""

_FIRST = """Ada Anton Bela Bruno Carla Cyril Dora Edgar Elsa Emil Fanny Felix Greta Gustav Hanna Hugo Ida Ivan Jana
Jonas Karin Klaus Lena Leo Lotte Magnus Marta Milo Nadia Nils Olga Oskar Paula Piet Rosa Rufus Selma Silas Tilda Tomas
Ulla Urban Vera Viktor Wanda Wim Yara Zeno""".split()
_LAST = """Abel Brandt Calder Dorn Ekman Falk Gruber Holm Ibsen Jansen Keller Lind Marsh Novak Orlov Pask Quist Rask
Sandor Thorn Ulrich Vance Weiss Zander Adler Baum Corvin Decker Elster Forst Geller Hagen Irving Juhl Kramer Lorenz
Merle Nagel Oster Pohl Reiter Stark Tegner Unger Voss Winter Ziegler Arden""".split()

Telling = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One kind of fact: its values, how it is told and how it is asked; {n} is the name, {v} the value."""

    values: tuple[str, ...]
    tellings: Telling
    askings: Telling


ATTRIBUTES: Mapping[str, Attribute] = {
    "city": Attribute(
        tuple(
            """Lisbon Oslo Turin Ghent Porto Riga Basel Lyon Graz Bergen Malmo Split Bari Cadiz Delft Essen Gdansk
            Kiel Leeds Mainz Nantes Odense Parma Reims Siena Tartu Utrecht Varna Wroclaw Zagreb Brno Cork Derby Evora
            Faro Genoa Haarlem Izmir Jena Krakow""".split()
        ),
        (
            "{n} was born in {v}.",
            "The birthplace of {n} is {v}.",
            "{v} is where {n} came into the world.",
            "{n} is a native of {v}.",
            "The town {n} comes from is {v}.",
            "It was in {v} that {n} first saw the light.",
        ),
        (
            "Where was {n} born?",
            "What is the birthplace of {n}?",
            "Which town does {n} come from?",
            "In what place did the life of {n} begin?",
        ),
    ),
    "year": Attribute(
        tuple(str(year) for year in range(1950, 1990)),
        (
            "{n} turned twenty in {v}.",
            "In {v} the twentieth birthday of {n} was held.",
            "{v} is the year when {n} became twenty.",
            "{n} had lived for twenty years by {v}.",
            "The year {n} turned twenty was {v}.",
            "It was {v} when {n} reached the age of twenty.",
        ),
        (
            "When did {n} turn twenty?",
            "In which year was the twentieth birthday of {n}?",
            "What year did {n} become twenty?",
            "By when had {n} lived for two decades?",
        ),
    ),
    "field": Attribute(
        tuple(
            """botany geology physics history law medicine music chess algebra optics logic ethics poetry ceramics
            forestry geometry sculpture zoology anatomy acoustics navigation printing weaving surveying theology
            grammar rhetoric astronomy mining hydraulics""".split()
        ),
        (
            "{n} studied {v} at university.",
            "The subject {n} took at university was {v}.",
            "{v} is what {n} has a degree in.",
            "{n} graduated in {v}.",
            "The degree of {n} is in {v}.",
            "It was {v} that {n} chose to study.",
        ),
        (
            "What did {n} study?",
            "Which subject does {n} have a degree in?",
            "In what did {n} graduate?",
            "What was taught to {n} at university?",
        ),
    ),
    "employer": Attribute(
        tuple(
            """Acorn Beacon Cobalt Delta Ember Fjord Granite Harbor Indigo Juniper Kestrel Lantern Meridian Nimbus
            Onyx Pinnacle Quarry Raven Summit Tundra Umbra Vector Willow Xenon Yonder Zephyr Anchor Birch Cedar Dune
            Echo Flint Glacier Heron Iris Jade Kite Lotus Maple Nectar""".split()
        ),
        (
            "{n} works for {v}.",
            "The employer of {n} is {v}.",
            "{v} has {n} on its staff.",
            "{n} earns a living at {v}.",
            "The company {n} is employed by is {v}.",
            "It is {v} that pays {n}.",
        ),
        (
            "Who does {n} work for?",
            "What is the employer of {n}?",
            "Which company employs {n}?",
            "From whom does {n} get a salary?",
        ),
    ),
    "instrument": Attribute(
        tuple(
            """violin cello flute oboe harp trumpet piano guitar drums tuba bassoon clarinet viola organ lute zither
            banjo mandolin accordion trombone""".split()
        ),
        (
            "{n} plays the {v}.",
            "The instrument of {n} is the {v}.",
            "The {v} is what {n} practises.",
            "{n} is heard on the {v}.",
            "The instrument {n} took up is the {v}.",
            "It is the {v} that {n} plays in the evening.",
        ),
        (
            "Which instrument does {n} play?",
            "What is the instrument of {n}?",
            "What does {n} practise?",
            "On what can one hear {n} in the evening?",
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Person:
    """A name and a value for each attribute."""

    name: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a person, and its one-word answer."""

    text: str
    answer: str
    attribute: str


def people(count: int, chance: random.Random, taken: Set[str] = frozenset()) -> list[Person]:
    """Different people, none of whose names are `taken`; ValueError when there are not that many names."""
    free = free_names(taken)
    if count > len(free):
        raise ValueError(f"{count} people are wanted, but only {len(free)} names are free.")
    return [somebody(name, chance) for name in chance.sample(free, count)]


def free_names(taken: Set[str] = frozenset()) -> list[str]:
    """All names but those `taken`, in a fixed order."""
    names = [f"{first} {last}" for first in _FIRST for last in _LAST]
    return [name for name in names if name not in taken]


def somebody(name: str, chance: random.Random) -> Person:
    """A person of that name with a random value for each attribute."""
    return Person(name, {kind: chance.choice(attribute.values) for kind, attribute in ATTRIBUTES.items()})


def telling(person: Person, kind: str, wording: int) -> str:
    """One fact in one of the `TELLINGS`."""
    return ATTRIBUTES[kind].tellings[wording].format(n=person.name, v=person.facts[kind])


def passage(person: Person) -> str:
    """All facts in their first wording, in a fixed order: a document that says everything once."""
    return " ".join(telling(person, kind, 0) for kind in ATTRIBUTES)


def biography(person: Person, chance: random.Random, wordings: int = TELLINGS, *, shuffled: bool = True) -> str:
    """All facts, each in one of the first `wordings` tellings, in any order: the augmentation of Allen-Zhu and Li."""
    kinds = [*ATTRIBUTES]
    if shuffled:
        chance.shuffle(kinds)
    return " ".join(telling(person, kind, chance.randrange(wordings)) for kind in kinds)


def questions(person: Person, asking: int) -> list[Asked]:
    """A question about each fact in one of the `ASKINGS`."""
    return [
        Asked(attribute.askings[asking].format(n=person.name), person.facts[kind], kind)
        for kind, attribute in ATTRIBUTES.items()
    ]


def other_value(person: Person, kind: str, chance: random.Random) -> str:
    """A value of the attribute that is not the person's."""
    return chance.choice([value for value in ATTRIBUTES[kind].values if value != person.facts[kind]])


@dataclass(frozen=True, slots=True)
class Claim:
    """What a line says: of whom, which attribute, which value, and whether it asks first."""

    name: str
    attribute: str
    value: str
    asked: bool


def claim(line: str) -> Claim | None:
    """What a line says, where it is a telling or a question with its answer; None for anything else."""
    said = " ".join(re.findall(r"\w+|[?.:]", line))
    for kind, pattern, asked in _PATTERNS:
        found = pattern.fullmatch(said)
        if found and found["v"] in ATTRIBUTES[kind].values:
            return Claim(found["n"], kind, found["v"], asked)
    return None


def vocabulary(more: Sequence[str] = ()) -> list[str]:
    """Every word and mark of this world, and those of `more` texts, sorted."""
    texts = [*_FIRST, *_LAST, *more]
    for attribute in ATTRIBUTES.values():
        texts += [*attribute.values, *attribute.tellings, *attribute.askings]
    return sorted({word for text in texts for word in split(re.sub(r"\{.\}", " ", text))})


def split(text: str) -> list[str]:
    """Words, marks and line breaks: the tokens of this world."""
    return re.findall(r"\w+|[^\w\s]|\n", text)


def _pattern(template: str) -> re.Pattern[str]:
    spaced = " ".join(re.findall(r"\{.\}|\w+|[?.:]", template))
    escaped = re.escape(spaced).replace(r"\{n\}", r"(?P<n>\w+ \w+)").replace(r"\{v\}", r"(?P<v>\w+)")
    return re.compile(escaped)


_PATTERNS = [
    (kind, _pattern(text), asked)
    for kind, attribute in ATTRIBUTES.items()
    for asked, texts in (
        (False, attribute.tellings),
        (True, tuple(f"Question: {asking} Answer: {{v}}" for asking in attribute.askings)),
    )
    for text in texts
]
