"""The endpoints that each provider of media has for itself."""

from __future__ import annotations

from collections.abc import Mapping

from polyroute.sandbox.media import (
    aimlapi,
    bfl,
    elevenlabs,
    fal,
    gateways,
    google,
    kie,
    luma,
    piapi,
    replicate,
    runware,
    runway,
    stability,
    together,
    xai,
)
from polyroute.sandbox.route import Route

MEDIA_ROUTES: Mapping[str, tuple[Route, ...]] = {
    "aihubmix": gateways.AIHUBMIX,
    "aimlapi": aimlapi.ROUTES,
    "bfl": bfl.ROUTES,
    "elevenlabs": elevenlabs.ROUTES,
    "fal": fal.ROUTES,
    "google": google.ROUTES,
    "kie": kie.ROUTES,
    "luma": luma.ROUTES,
    "openrouter": gateways.OPENROUTER,
    "piapi": piapi.ROUTES,
    "replicate": replicate.ROUTES,
    "runpod": gateways.RUNPOD,
    "runware": runware.ROUTES,
    "runway": runway.ROUTES,
    "stability": stability.ROUTES,
    "together": together.ROUTES,
    "xai": xai.ROUTES,
}
