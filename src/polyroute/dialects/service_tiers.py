"""The service tier that an answer names, where it changes what is charged."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.types.usage import Usage

_USUAL = frozenset({"", "auto", "default", "standard", "on_demand", "standard_only"})
_LONGEST = 40


def unusual_tier(named: Any) -> str | None:
    """`batch`, `flex`, `priority` …; None for the tier that prices are told of."""
    if not isinstance(named, str) or named.lower() in _USUAL or len(named) > _LONGEST:
        return None
    return named.lower()


def with_tier(usage: Usage, named: Any) -> Usage:
    """The usage, in the tier that the answer names."""
    tier = unusual_tier(named)
    return usage if tier is None else msgspec.structs.replace(usage, tier=tier)
