"""The sections that say what may be spent, and who is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from polyroute.settings.sections import Number, Section


class BudgetSettings(Section):
    """What a scope may spend in a window; docs/operations.md says what happens at its limits."""

    amount: str
    """Amount with its currency, or credits: `30 USD`, `500000 VND`, `1000 credits`."""
    scope: Literal["installation", "team", "user", "key", "route"] = "installation"
    """Whose requests count."""
    subject: str | None = None
    """Which team, user, key (id or name) or route."""
    window: Literal["day", "week", "month", "total"] = "month"
    """How long the amount has to last; `total` never begins anew."""
    time_zone: str = "UTC"
    """Where days begin, by its IANA name: `Asia/Ho_Chi_Minh`."""
    soft_limit: Number | None = None
    """Share of the amount from which on `soft_action` holds: 0.8 for 80 %."""
    soft_action: Literal["warn", "cheapest", "downgrade"] = "warn"
    """What happens from there: a notification; every route takes its cheapest target; requests go to `downgrade_to`."""
    downgrade_to: str | None = None
    """The route of `soft_action: downgrade`."""
    hard: bool = True
    """Whether requests are refused when the amount is used up; `false` only counts and notifies."""
    unpriced: Literal["refuse", "allow"] = "refuse"
    """What becomes of targets whose price is unknown under a hard limit: passed over, or used and not counted."""
    alerts: list[Number] = [0.8, 1.0]
    """Shares of the amount at which operators are notified, once in each window."""


class WebhookSettings(Section):
    """Where notifications are sent, signed as standard-webhooks has it."""

    url: str
    """Address that takes a POST."""
    secret: SecretStr | None = None
    """What they are signed with: `whsec_` and base64, or any text of at least 16 characters; unsigned without one."""
    events: list[str] = []
    """Kinds of notification, or their beginnings (`budget.`); all unless said otherwise."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("a URL that begins with http:// or https://")
        return value

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("at least 16 characters")
        return value


class NotificationSettings(Section):
    """Who is told what happens."""

    webhooks: list[WebhookSettings] = Field(default=[], max_length=32)
    """Receivers; each is `{url, secret, events}`."""
