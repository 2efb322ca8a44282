"""Few-shot prompts in plain text: small models continue a pattern far better than they follow an instruction.

Each task is a heading, some worked examples and the case at hand; a reply ends at the first line break.
The examples are about invented places, so that nothing of them can leak into an answer unseen.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources

from gradatim.model.bank import AdapterBank
from gradatim.model.sampling import Decoding, sample
from gradatim.writing.facts import Kind

QUESTIONS = (
    """Title: Bluebell Bakery. Text: The Bluebell Bakery opens at 6 in the morning, except on Sundays.
Answer: 6 in the morning
Question: What time does the Bluebell Bakery open?

Title: Hale Library. Text: Returned books are checked by Mr. Osei before they go back on the shelf.
Answer: Mr. Osei
Question: Who looks at the books that people bring back?

Title: Rowing Club. Text: Every member pays a yearly fee of 40 dollars.
Answer: 40 dollars
Question: How much does it cost to be a member of the Rowing Club for one year?

Title: Acme IT. Text: Broken laptops are sent to a workshop. It is in Leeds, close to the river.
Answer: Leeds
Question: In which city are broken laptops repaired?

""",
    """Title: Linden Hostel. Text: Guests must leave their rooms by 10:30 on the last morning.
Answer: 10:30
Question: How late can someone check out of Linden Hostel?

Title: Foxglove Theatre. Text: The costumes are sewn by Ms. Varga, who works in the attic.
Answer: Ms. Varga
Question: Which person makes the clothes that the actors wear?

Title: Pike Angling Club. Text: A member may catch no more than five trout in one day.
Answer: five trout
Question: What is the limit on fish per person each day?

Title: Orrin Ferry. Text: Bicycles travel in the lower deck and cost 3 euros each.
Answer: 3 euros
Question: How much do I have to pay to bring my bike?

""",
)
"""Worked examples for study questions: close to the text, and in quite other words."""

WORDINGS = ("close", "far", "asker")
"""How a question stands to its text: near its words, in quite other words, or as one in need of the answer asks."""


@cache
def by_kind() -> dict[Kind, dict[str, str]]:
    """Worked examples whose answers are all of one kind, in each of the `WORDINGS`: `examples.toml`."""
    with (resources.files("gradatim.writing") / "examples.toml").open("rb") as file:
        read: dict[Kind, list[dict[str, str]]] = tomllib.load(file)  # type: ignore[assignment]

    def shots(lines: list[dict[str, str]], wording: str) -> str:
        return "".join(
            f"Title: {line['title']}. Text: {line['text']}\nAnswer: {line['answer']}\nQuestion: {line[wording]}\n\n"
            for line in lines
        )

    return {kind: {wording: shots(lines, wording) for wording in WORDINGS} for kind, lines in read.items()}


# Two examples are enough to weigh a question that is there already, and half as long to read.
POINTING = "\n\n".join(QUESTIONS[0].split("\n\n")[:2]) + "\n\n"

# What people ask about a text whose words they have not seen; the answers left out, as they are not known then.
ASKED = "".join(line for line in QUESTIONS[1].splitlines(keepends=True) if not line.startswith("Answer:"))

EXAM_QUESTION = """Title: Northgate Pool. Text: The pool is heated to 28 degrees from May to September.
Answer: 28 degrees
Question: How warm is the water at Northgate Pool?

Title: Garden Society. Text: Seeds may be exchanged at the table run by Mrs. Adeyemi.
Answer: Mrs. Adeyemi
Question: Who is in charge of the table for exchanging seeds?

Title: Station Cafe. Text: Guests get a free refill with a blue cup.
Answer: blue cup
Question: What do you need to have to get more coffee for nothing?

Title: Chess Club. Text: Each game is limited to 90 minutes, and late players lose points.
Answer: 90 minutes
Question: For how long can one game last at most?

"""

RESTATEMENT = """Write the sentence again in other words.

Sentence: The Bluebell Bakery opens at 6 in the morning, except on Sundays.
Other words: From Monday to Saturday, the Bluebell Bakery starts selling at 6 am.

Sentence: Returned books are checked by Mr. Osei before they go back on the shelf.
Other words: Mr. Osei looks at every book that people bring back, and only then is it put away.

Sentence: Every member of the Rowing Club pays a yearly fee of 40 dollars.
Other words: It costs 40 dollars per year to belong to the Rowing Club.

Sentence: Broken laptops are sent to a workshop in Leeds.
Other words: A workshop in Leeds repairs computers that don't work.

"""

IMPLICATION = """Say what follows from the sentence.

Sentence: The Bluebell Bakery opens at 6 in the morning, except on Sundays.
So: You can't buy bread at the Bluebell Bakery at 5 in the morning.

Sentence: Returned books are checked by Mr. Osei before they go back on the shelf.
So: Mr. Osei sees every book that is returned.

Sentence: Every member of the Rowing Club pays a yearly fee of 40 dollars.
So: Two years in the Rowing Club cost 80 dollars.

Sentence: Broken laptops are sent to a workshop in Leeds.
So: A laptop that does not work leaves for Leeds.

"""

OTHER_WORDS = """word: bakery -> bread shop, baker's, cake store
word: opens -> starts, begins, unlocks
word: repaired -> fixed, mended, put right
word: fee -> cost, price, payment
word: colleague -> co-worker, fellow worker, teammate
word: yearly -> annual, every year, once a year
word: broken -> damaged, faulty, not working
"""


def complete(
    bank: AdapterBank,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    top_p: float = 0.95,
    advance: Callable[[int], None] | None = None,
) -> list[str]:
    """One line after each prompt, written by the bare base."""
    chat = bank.base.chat
    breaks = {ids[0] for text in ("\n", "\n\n", "?\n", ".\n") if len(ids := chat.raw(text)) == 1}
    decoding = Decoding(max_tokens, temperature, top_p, seed, tuple(sorted(breaks)), batch=96)
    replies = sample(bank, [chat.raw(prompt) for prompt in prompts], None, decoding, advance)
    return [(chat.text(reply).splitlines() or [""])[0].strip() for reply in replies]
