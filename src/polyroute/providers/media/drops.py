"""What a target that takes only some of our intents leaves out."""

from __future__ import annotations

from polyroute.types.media import Fitted, MediaRequest

_ALWAYS = frozenset({"task", "options", "idempotency_key", "n"})


def keeping(request: MediaRequest, *kept: str, notes: tuple[str, ...] = ()) -> Fitted:
    """The request with everything that was given and is not `kept` named as dropped; `n` counts only above 1."""
    known = _ALWAYS | set(kept)
    dropped = [
        name for name in request.__struct_fields__ if name not in known and getattr(request, name) not in (None, (), {})
    ]
    if "n" not in kept and request.n > 1:
        dropped.append("n")
    return Fitted(request=request, dropped=tuple(dropped), notes=notes)
