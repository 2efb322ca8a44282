"""People's words on replies: a token proves who was given the reply, a metric says what a value means.

A rating goes to the table of ratings. A correction goes where `gradatim feedback` puts corrections, and is screened
with them at the next step: it speaks of the same answers and is believed, or not, for the same reasons. Giving the
same feedback again changes nothing and says so; a rating that is taken back, and then given once more, is new. What
comes too fast, too often or in copies is taken into quarantine (`doubts.py`), and whoever gave it is not told.

Limits: a session is what the application calls one (`metadata.session_id`); a token of any reply in it speaks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gradatim.charter import Charter
from gradatim.errors import CharterError
from gradatim.observe.documents import provenance
from gradatim.observe.intake import refuse_forbidden, take_in, with_question
from gradatim.serve.base import Refused
from gradatim.serve.doubts import Doubts, said_in
from gradatim.serve.settings import RATING, Metric, Settings
from gradatim.serve.tokens import Tokens
from gradatim.store.canonical import canonical, digest_of
from gradatim.store.clock import now
from gradatim.store.traffic import Interaction, Rating
from gradatim.types import Feedback
from gradatim.workspace import Workspace

SOURCE = "serve://feedback"
"""What the charter's allowed sources are matched against, of a correction that came over HTTP."""

Identity = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class FeedbackRequest(BaseModel):
    """`POST /v1/feedback`: on a response or on a session, a value, a correction (of a response), or both."""

    model_config = ConfigDict(extra="forbid")

    response_id: Identity | None = None
    session_id: Identity | None = None
    metric: Annotated[str, StringConstraints(min_length=1, max_length=100)] = RATING
    value: bool | int | Annotated[float, Field(allow_inf_nan=False)] | None = None
    comment: Annotated[str, StringConstraints(max_length=4000)] | None = None
    correction: Annotated[str, StringConstraints(max_length=4000)] | None = None
    token: Annotated[str, StringConstraints(max_length=400)]

    @model_validator(mode="after")
    def _says_something_of_one_thing(self) -> Self:
        if (self.response_id is None) == (self.session_id is None):
            raise ValueError("give response_id or session_id, one of the two")
        if self.value is None and not (self.correction or "").strip():
            raise ValueError("give a value, a correction, or both")
        if self.correction is not None and self.response_id is None:
            raise ValueError("a correction needs a response_id")
        if self.comment is not None and self.value is None:
            raise ValueError("a comment goes with a value")
        return self


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of feedback: ids of the rating and the correction, and whether all of it was known already."""

    rating: str | None
    correction: str | None
    known: bool
    held: str | None = None  # why one of them is in quarantine


class Listener:
    """Takes feedback into one workspace. Blocking: it returns when what it took is on disk."""

    def __init__(self, workspace: Workspace, settings: Settings, tokens: Tokens) -> None:
        self._workspace, self._settings, self._tokens = workspace, settings, tokens

    def take(self, given: FeedbackRequest, key: str) -> Taken:
        """Raises `Refused`; nothing was stored then."""
        served = self._served(given, key)
        metric = self._metric(given)
        value = None if given.value is None else metric.value(given.value)
        if given.value is not None and value is None:
            raise Refused(400, f"{given.metric} must be {metric.wanted}.", code="invalid_value", param="value")
        charter = Charter.load(self._workspace.charter_path)
        correction = self._correction(charter, given, served, value if metric.type == "thumbs" else None)
        rating, is_new = (None, False) if value is None else self._rating(given, served, value)
        records = self._workspace.records
        corrects = correction is not None and not records.has_feedback(correction.id)
        if not (corrects or is_new):
            return Taken(rating.id if rating else None, correction.id if correction else None, True)
        self._refuse_more(given, served, charter.trust.reply_words)
        doubts = Doubts(records.traffic, charter.trust, SOURCE)
        held = None
        if corrects and correction is not None:
            held = doubts.of_correction(served.key, correction.by)
            take_in(self._workspace.ledger, records, correction, held)
        if is_new and rating is not None:
            said = said_in(given.comment)
            rating = replace(rating, doubt=doubts.of_rating(served.key, said), said=said)
            records.traffic.add_rating(rating)
            held = held or rating.doubt
        return Taken(rating.id if rating else None, correction.id if correction else None, False, held)

    def _refuse_more(self, given: FeedbackRequest, served: Interaction, most: int) -> None:
        """`Refused` when enough was said of this reply or session."""
        traffic = self._workspace.records.traffic
        said = traffic.words_on(response=given.response_id, session=given.session_id, key=served.key)
        if said >= most:
            what = "reply" if given.response_id else "session"
            raise Refused(429, f"{said} words were taken on this {what}, as many as are.", code="enough_said")

    def _served(self, given: FeedbackRequest, key: str) -> Interaction:
        """The interaction that the token was given out for, where the feedback is about it."""
        response = self._tokens.response(given.token, key)
        if response is None:
            raise Refused(
                403, "The token is not genuine, has expired, or was given to another client.", code="invalid_token"
            )
        served = self._workspace.records.traffic.interaction(response)
        if served is None:
            raise Refused(404, "The reply of this token was never finished here.", code="unknown_response")
        if given.response_id not in (None, served.id) or given.session_id not in (None, served.session):
            raise Refused(403, "The token was given for another reply.", code="foreign_token")
        return served

    def _metric(self, given: FeedbackRequest) -> Metric:
        metric = self._settings.metrics.get(given.metric)
        if metric is None:
            known = ", ".join(sorted(self._settings.metrics))
            raise Refused(400, f"No metric is called so; there are: {known}.", code="unknown_metric", param="metric")
        level = "response" if given.response_id else "session"
        if given.value is not None and metric.level != level:
            raise Refused(
                400, f"{given.metric} is given to a {metric.level}: name its id.", code="wrong_level", param="metric"
            )
        return metric

    def _correction(
        self, charter: Charter, given: FeedbackRequest, served: Interaction, rating: float | None
    ) -> Feedback | None:
        text = " ".join((given.correction or "").split())
        if not text:
            return None
        try:
            refuse_forbidden(charter, SOURCE)
        except CharterError as error:
            raise Refused(403, str(error), code="forbidden_source", param="correction") from error
        by = f"{served.key}/{served.subject[:16]}"
        vote = None if rating is None else int(rating)
        said = canonical([served.id, vote, text, by])
        feedback = Feedback(digest_of(said), served.id, "", vote, text, by, provenance(SOURCE, said))
        return with_question(self._workspace.records, feedback)

    def _rating(self, given: FeedbackRequest, served: Interaction, value: float) -> tuple[Rating, bool]:
        """The rating, and whether it is new."""
        target: dict[str, Any] = {"response": given.response_id, "session": given.session_id}
        who: dict[str, Any] = {"key": served.key, "subject": served.subject, "metric": given.metric}
        last = self._workspace.records.traffic.last_rating(**target, **who)
        if last is not None and (last.value, last.comment) == (value, given.comment):
            return last, False
        # The last rating counts, so the same words after others are news: they are named by what they follow.
        said = canonical([target, who, value, given.comment, last.id if last else None])
        identity = digest_of(said)[:32]
        return Rating(id=identity, **target, **who, value=value, comment=given.comment, at=now()), True
