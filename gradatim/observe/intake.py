"""How a person's word on an answer comes in, whoever carries it: checked against the charter, then ledger, then table.

The ledger keeps ids only. A kill between the two is mended by giving the same feedback again, which otherwise changes
nothing; the ledger then names it twice. What is believed of it is decided later, by the step (`screening.py`), unless
whoever carries it has a doubt of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradatim.errors import CharterError, InputError

if TYPE_CHECKING:
    from gradatim.charter import Charter
    from gradatim.ledger.log import Ledger
    from gradatim.store.records import Records
    from gradatim.types import Feedback


def refuse_forbidden(charter: Charter, source: str) -> None:
    """Raises CharterError, which cites the rules, when nothing may be learnt from this source."""
    if not charter.allows_source(source):
        rules = f"{charter.line('sources.allow')}; {charter.line('sources.deny')}"
        raise CharterError(f"{source}: is no source that may be learnt from ({rules}); a person may change the charter")


def with_question(records: Records, feedback: Feedback) -> Feedback:
    """The feedback with the question of the answer it names; InputError when that was never served."""
    if feedback.answer is None:
        return feedback
    served = records.answer(feedback.answer)
    if served is None:
        raise InputError(f"No answer {feedback.answer} was served here: name one that was, or only a question")
    return replace(feedback, question=feedback.question or served.question)


def take_in(ledger: Ledger, records: Records, feedback: Feedback, doubt: str | None = None) -> bool:
    """Store feedback, in quarantine where there is a doubt; False when it was here before."""
    if records.has_feedback(feedback.id):
        return False
    ledger.append("feedback", {"feedback": feedback.id, "digest": feedback.provenance.digest})
    return records.add_feedback(feedback, "quarantined" if doubt else "new", doubt)
