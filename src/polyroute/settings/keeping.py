"""The sections that say what the ledger keeps, and for how long."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from polyroute.settings.sections import Section, Whole, refuse_bool

Days = Annotated[float, BeforeValidator(refuse_bool), Field(gt=0, le=36_500, allow_inf_nan=False)]


class RetentionSettings(Section):
    """For how many days the ledger keeps what; what is older is deleted while the gateway runs. Sums of it stay."""

    rows_days: Days | None = None
    """Requests and their attempts; for ever unless said otherwise."""
    content_days: Days | None = 30.0
    """Content of requests (see `content`); null keeps it for as long as the request."""
    decisions_days: Days | None = None
    """Decisions behind requests, which `explain` needs; null keeps them for as long as the request."""
    minute_rollups_days: Days = 2.0
    """Sums by the minute."""
    quarter_rollups_days: Days = 60.0
    """Sums by the quarter of an hour, of which hours and days are made in time zones that are no whole hour from UTC."""
    rollups_days: Days = 400.0
    """Sums by the hour, of which the days of other time zones are made; those by day (UTC) stay."""


class ContentSettings(Section):
    """Whether the ledger keeps what was said: the columns `input_text` and `output_text`. Content is never in a log."""

    log: bool = False
    """For all routes that do not say otherwise."""
    max_kb: Whole = Field(default=64, ge=1, le=4096)
    """Most that is kept of one text, in kilobytes."""
    redact: list[str] = []
    """Regular expressions; what they match is replaced by `[redacted]`."""
    redact_known: list[Literal["api_keys", "emails", "credit_cards"]] = ["api_keys"]
    """Built-in patterns that are replaced too."""

    @field_validator("redact")
    @classmethod
    def _compile(cls, value: list[str]) -> list[str]:
        for pattern in value:
            try:
                compiled = re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
            if compiled.match(""):
                raise ValueError(f"{pattern!r} matches the empty text")
        return value
