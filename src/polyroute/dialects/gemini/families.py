"""What Gemini's model families take, by model id (Google's model pages and the AI SDK, November 2026)."""

from __future__ import annotations

import re

import msgspec

_VERSION = re.compile(r"gemini-(\d+)(?:[.-](\d+))?")


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """`thinking`: "none", "budget" (2.5) or "level" (3 and later). `least_budget` in tokens is
    the closest to off (0: off), `smallest_budget` and `most_budget` bound what else may be asked.
    `signatures`: replayed calls need one. `json_schema`: the fields `parametersJsonSchema` and `responseJsonSchema`.
    `results_with_media`: pictures may be inside a function response."""

    thinking: str = "level"
    least_budget: int = 0
    smallest_budget: int = 1
    most_budget: int = 24_576
    levels: tuple[str, ...] = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
    signatures: bool = True
    json_schema: bool = True
    results_with_media: bool = True


def family_of(model: str) -> Family:
    """The family of a model id; names without a version (`gemini-flash-latest`) count as the newest."""
    name = model.lower()
    found = _VERSION.search(name)
    if found is None:
        return Family(signatures="gemini" in name) if "gemma" not in name else Family(thinking="none", signatures=False)
    version = (int(found.group(1)), int(found.group(2) or 0))
    if version < (2, 5):
        return Family(thinking="none", signatures=False, json_schema=version >= (2, 0), results_with_media=False)
    if version < (3, 0):
        least = 128 if "pro" in name else 0
        most = 32_768 if "pro" in name else 24_576
        return Family(
            thinking="budget", least_budget=least, smallest_budget=512 if "lite" in name else max(least, 1),
            most_budget=most, signatures=False, results_with_media=False,
        )  # fmt: skip
    if version == (3, 0):
        return Family(levels=("LOW", "HIGH") if "pro" in name else ("MINIMAL", "LOW", "MEDIUM", "HIGH"))
    levels = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
    return Family(levels=levels[1:] if "pro" in name else levels)
