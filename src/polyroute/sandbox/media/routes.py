"""The endpoints that each provider of media has for itself."""

from __future__ import annotations

from collections.abc import Mapping

from polyroute.sandbox.media import elevenlabs, fal, replicate, runware
from polyroute.sandbox.route import Route

MEDIA_ROUTES: Mapping[str, tuple[Route, ...]] = {
    "elevenlabs": elevenlabs.ROUTES,
    "fal": fal.ROUTES,
    "replicate": replicate.ROUTES,
    "runware": runware.ROUTES,
}
