"""What answers say of rate limits, in the forms in which providers say it.

`x-ratelimit-remaining-requests` and `-reset-requests` (OpenAI, Groq, xAI, Together, Fireworks, Azure, Cerebras …),
`anthropic-ratelimit-requests-remaining` and `-reset` (Anthropic), `x-ratelimit-remaining` and `-reset` (OpenRouter).
"""

from __future__ import annotations

from collections.abc import Callable

from polyroute.ports import Headers
from polyroute.providers.retry_after import seconds_until
from polyroute.types.limits import Quota

_NAMES = {
    b"x-ratelimit-remaining-requests": "requests_left",
    b"x-ratelimit-reset-requests": "requests_reset",
    b"x-ratelimit-remaining-tokens": "tokens_left",
    b"x-ratelimit-reset-tokens": "tokens_reset",
    b"anthropic-ratelimit-requests-remaining": "requests_left",
    b"anthropic-ratelimit-requests-reset": "requests_reset",
    b"anthropic-ratelimit-tokens-remaining": "tokens_left",
    b"anthropic-ratelimit-tokens-reset": "tokens_reset",
    b"x-ratelimit-remaining": "requests_left",
    b"x-ratelimit-reset": "requests_reset",
}


def read_quota(headers: Headers, clock: Callable[[], float]) -> Quota | None:
    """What is left and for how long; None where nothing usable is said. What cannot be read is left out."""
    left: dict[str, int] = {}
    resets: dict[str, float] = {}
    for name, value in headers:
        field = _NAMES.get(name)
        if field is None:
            continue
        text = value.decode("latin-1").strip()
        if field.endswith("_left"):
            if text.isascii() and text.isdigit() and len(text) < 16:
                left[field] = int(text)
        elif (seconds := seconds_until(text, clock)) is not None:
            resets[field] = seconds
    if not left:
        return None
    return Quota(
        requests_left=left.get("requests_left"), requests_reset=resets.get("requests_reset"),
        tokens_left=left.get("tokens_left"), tokens_reset=resets.get("tokens_reset"),
    )  # fmt: skip
