"""What a person may set of a server: the file `serve.toml` of the workspace, every part of which has a default.

    model = "gradatim"              # the name under which the live release is asked for
    tell_arms = false               # whether clients learn which arm of a rollout answered
    lessons = "single"              # lessons answer single questions; "last": the last question of any conversation

    [limits]
    queue = 128                     # requests under way or waiting; the next gets 429
    reply_tokens = 2048

    [metrics.helpful]               # besides `rating`, thumbs up or down, which is always there
    type = "number"                 # thumbs (-1 or 1), boolean, number
    level = "session"               # response or session
    direction = "higher"            # which way is better
    low = 1
    high = 5

    [upstream]                      # instead of the local bank; one url for each replica
    urls = ["http://10.0.0.5:8000"]
    model = "HuggingFaceTB/SmolLM2-135M-Instruct"

What the file says wrongly is one InputError that names the key.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gradatim.errors import InputError

FILE = "serve.toml"

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Name = Annotated[str, Field(pattern=r"^[\w.:/@-]{1,100}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Limits(_Table):
    """What one request, and all together, may take."""

    queue: Count = 128  # requests under way or waiting
    rows: Count = 32  # replies decoded together
    context_tokens: Annotated[int, Field(ge=0)] = 0  # prompt and reply; 0: what the model was made for
    reply_tokens: Count = 2048
    usual_reply_tokens: Count = 512  # when the request does not say
    cache_bytes: Annotated[int, Field(ge=0)] = 0  # keys and values of all replies; 0: half of the memory that is free
    known_prompts: bool = True  # whether a prompt that begins like an earlier one is run from there on
    body_bytes: Count = 1_000_000
    body_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0  # for a body to arrive whole
    depth: Count = 32  # of JSON
    warm_releases: Count = 4


class Metric(_Table):
    """What people may say of a response or a session."""

    type: Literal["thumbs", "boolean", "number"] = "thumbs"
    level: Literal["response", "session"] = "response"
    direction: Literal["higher", "lower"] = "higher"
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _only_numbers_have_bounds(self) -> Metric:
        if self.type != "number" and (self.low, self.high) != (None, None):
            raise ValueError("only a number has a low and a high")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("low must be below high")
        return self

    def value(self, given: object) -> float | None:
        """The value as a number; None when it is not one of this metric."""
        if self.type == "boolean":
            return float(given) if isinstance(given, bool) else None
        if isinstance(given, bool) or not isinstance(given, int | float):
            return None
        if self.type == "thumbs":
            return float(given) if given in (-1, 1) else None
        low, high = self.low, self.high
        inside = (low is None or given >= low) and (high is None or given <= high) and abs(given) < 1e15
        return float(given) if inside else None

    @property
    def wanted(self) -> str:
        """What a value must be, for whoever gave another."""
        if self.type == "thumbs":
            return "-1 or 1"
        if self.type == "boolean":
            return "true or false"
        bounds = [f"at least {self.low:g}"] * (self.low is not None) + [f"at most {self.high:g}"] * (
            self.high is not None
        )
        return " ".join(["a number", " and ".join(bounds)]).strip()


class Upstream(_Table):
    """A server that answers in the local bank's place; its key, if it wants one, is in GRADATIM_UPSTREAM_KEY."""

    urls: Annotated[list[Annotated[str, Field(pattern=r"^https?://[^\s]+$")]], Field(min_length=1, max_length=64)]
    model: Annotated[str, Field(min_length=1, max_length=200)]


RATING = "rating"


class Settings(_Table):
    """All of it."""

    model: Name = "gradatim"
    lessons: Literal["single", "last"] = "single"
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0  # when the request does not say: greedy, as `gradatim ask`
    token_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 24.0 * 7  # for how long feedback on a reply is taken
    limits: Limits = Limits()
    metrics: dict[Name, Metric] = Field(default_factory=dict)
    tell_arms: bool = False  # clients are told the release and the arm of a reply also while arms are compared
    upstream: Upstream | None = None

    @model_validator(mode="after")
    def _rating_is_always_there(self) -> Settings:
        self.metrics.setdefault(RATING, Metric())
        return self


def read_settings(folder: Path) -> Settings:
    """The settings of a workspace folder; raises InputError, one line that names the key."""
    path = folder / FILE
    if not path.is_file():
        return Settings()
    try:
        return Settings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not TOML ({error}); mend it") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "it"
        raise InputError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from None
