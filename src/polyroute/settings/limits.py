"""The sections that say how much may be used, and of credentials more than their secret."""

from __future__ import annotations

from pydantic import Field, SecretStr

from polyroute.settings.sections import Number, Seconds, Section, Whole


class LimitSettings(Section):
    """What may be used."""

    requests_per_minute: Whole | None = Field(default=None, ge=1)
    """Requests a minute."""
    tokens_per_minute: Whole | None = Field(default=None, ge=1)
    """Tokens a minute, of prompts and answers together."""
    concurrency: Whole | None = Field(default=None, ge=1)
    """Requests at once."""


class ProviderLimitSettings(LimitSettings):
    """What a provider may be asked for. Where other targets are left a request goes on to them; else it waits its turn."""

    queue: Whole = Field(default=100, ge=0)
    """Requests that may wait for their turn; 0 refuses at once."""
    queue_seconds: Number = 10.0
    """Seconds that one waits at most."""


class CredentialSettings(Section):
    """A credential of which more is said than its secret."""

    key: SecretStr
    """The secret."""
    label: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,40}$")
    """What it is called in the ledger and in health, instead of its number."""
    weight: Number = Field(default=1.0, le=1000)
    """Its share of the requests; 0 is a last resort."""
    limits: LimitSettings | None = None


class BenchSettings(Section):
    """For how long a refused credential is not used, in seconds; doubled each time in a row, up to `longest`. What the
    provider itself says of it comes before."""

    rejected: Seconds = 300.0
    """The provider does not accept it."""
    quota: Seconds = 900.0
    """Its account has nothing left."""
    rate_limited: Seconds = 15.0
    """Its rate limit is reached; only where a provider has several credentials."""
    longest: Seconds = 3600.0
    """The longest that doubling leads to."""
