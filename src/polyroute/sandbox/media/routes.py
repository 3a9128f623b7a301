"""The endpoints that each provider of media has for itself."""

from __future__ import annotations

from collections.abc import Mapping

from polyroute.sandbox.media import aimlapi, elevenlabs, fal, kie, piapi, replicate, runware, together, xai
from polyroute.sandbox.route import Route

MEDIA_ROUTES: Mapping[str, tuple[Route, ...]] = {
    "aimlapi": aimlapi.ROUTES,
    "elevenlabs": elevenlabs.ROUTES,
    "fal": fal.ROUTES,
    "kie": kie.ROUTES,
    "piapi": piapi.ROUTES,
    "replicate": replicate.ROUTES,
    "runware": runware.ROUTES,
    "together": together.ROUTES,
    "xai": xai.ROUTES,
}
