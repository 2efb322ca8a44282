"""Few-shot prompts in plain text: small models continue a pattern far better than they follow an instruction.

Each task is a heading, some worked examples and the case at hand; a reply ends at the first line break.
The examples are about invented places, so that nothing of them can leak into an answer unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradatim.model.bank import AdapterBank
from gradatim.model.sampling import Decoding, sample

QUESTIONS = """Title: Northgate Pool. Text: The pool is heated to 28 degrees from May to September.
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

# Two examples are enough to weigh a question that is there already, and half as long to read.
POINTING = "\n\n".join(QUESTIONS.split("\n\n")[:2]) + "\n\n"

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
    adapter: str | None = None,
    advance: Callable[[int], None] | None = None,
) -> list[str]:
    """One line after each prompt, written by an adapter of the bank or the bare base."""
    chat = bank.base.chat
    breaks = {ids[0] for text in ("\n", "\n\n", "?\n", ".\n") if len(ids := chat.raw(text)) == 1}
    decoding = Decoding(max_tokens, temperature, top_p, seed, tuple(sorted(breaks)), batch=96)
    replies = sample(bank, [chat.raw(prompt) for prompt in prompts], adapter, decoding, advance)
    return [(chat.text(reply).splitlines() or [""])[0].strip() for reply in replies]
