"""Takes secrets out of what providers say."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MARK = "[redacted]"

# Keys by their issuers' prefixes, bearer tokens, JSON web tokens, AWS key ids, keys in query strings, long random words.
_SECRET = re.compile(
    r"""\b(?:sk|pk|rk|gsk|xai|hf|r8|pplx|fw|tgp|nvapi|key|csk|aa|glpat|ghp)[-_][A-Za-z0-9*_-]{6,}[A-Za-z0-9*]"""
    r"""|\bAIza[0-9A-Za-z_-]{20,}"""
    r"""|\b(?:AKIA|ASIA)[0-9A-Z]{12,}"""
    r"""|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"""
    r"""|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"""
    r"""|(?<=[?&]key=)[^&\s"']+|(?<=[?&]api_key=)[^&\s"']+|(?<=[?&]token=)[^&\s"']+"""
    r"""|\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{40,}\b"""
)


class Redactor:
    """Removes what looks like a key, and the given secrets wherever they stand."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        parts = {part for secret in secrets for part in (secret, *secret.split(":")) if len(part) >= 6}
        self._secrets = sorted(parts, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _MARK)
        return _SECRET.sub(_MARK, text)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, marked where something is missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
