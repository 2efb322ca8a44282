"""What an operator watches: Prometheus metrics, and one line of JSON for each request.

Each app has a registry of its own. Labels have few values: a route, not a path; the first twelve characters of a
release's id; never a key, a subject or a prompt. Logs hold no prompts and no replies either.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gradatim.store.clock import now

LOGGER = logging.getLogger("gradatim.serve")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gradatim_http_requests", "HTTP requests.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "gradatim_http_request_seconds",
            "Time to the end of the response.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.replies = Counter(
            "gradatim_replies", "Replies by release, arm and end.", ["release", "arm", "finish"], registry=self.registry
        )
        self.tokens = Counter("gradatim_tokens", "Tokens by kind.", ["release", "kind"], registry=self.registry)
        self.first_token = Histogram(
            "gradatim_first_token_seconds",
            "Time to the first text of a reply.",
            ["release"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.feedback = Counter("gradatim_feedback", "Feedback taken.", ["metric", "kind"], registry=self.registry)
        self.held = Counter("gradatim_feedback_held", "Feedback put in quarantine.", registry=self.registry)
        self.failures = Counter(
            "gradatim_background_failures", "Rounds of background work that failed.", ["work"], registry=self.registry
        )
        self.troubles: dict[str, str] = {}  # what fails at present, by work: one line each, for /readyz
        self.open = Gauge("gradatim_requests_open", "Replies under way or waiting.", registry=self.registry)
        self.live = Gauge(
            "gradatim_release_live", "1 for the release that new requests get.", ["release"], registry=self.registry
        )

    def went(self, work: str, error: BaseException | None = None) -> None:
        """How a round of background work went; a failure is logged once until it changes or is over."""
        if error is None:
            if self.troubles.pop(work, None) is not None:
                LOGGER.info("background work goes on", extra={"data": {"work": work}})
            return
        line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        self.failures.labels(work).inc()
        if self.troubles.get(work) != line:
            self.troubles[work] = line
            LOGGER.error("background work failed", exc_info=error, extra={"data": {"work": work}})

    def page(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)


class JsonLines(logging.Formatter):
    """A line of JSON for each record: time, level, logger, message, and what came in `extra["data"]`."""

    def format(self, record: logging.LogRecord) -> str:
        data: dict[str, Any] = {
            "time": now(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            data["traceback"] = self.formatException(record.exc_info)
        return json.dumps(data, ensure_ascii=False, default=str)


class _ToStderr(logging.Handler):
    """To what standard error is at the time, as who runs commands in one process puts another in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)


def log_to_stderr() -> None:
    """Send our lines, a scheduler's and uvicorn's to standard error, as JSON."""
    handler = _ToStderr()
    handler.setFormatter(JsonLines())
    for name in (LOGGER.name, "gradatim.schedule", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn").propagate = False
    logging.getLogger("uvicorn.error").handlers = []
    logging.getLogger("uvicorn.error").propagate = True
