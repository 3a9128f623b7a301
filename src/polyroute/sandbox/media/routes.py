"""The endpoints that each provider of media has for itself."""

from __future__ import annotations

from collections.abc import Mapping

from polyroute.sandbox.media import (
    aimlapi,
    automatic1111,
    bfl,
    comfyui,
    docker,
    elevenlabs,
    fal,
    gateways,
    google,
    google_interactions,
    kie,
    local_speech,
    luma,
    luma_dreams,
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
    "automatic1111": automatic1111.ROUTES,
    "bfl": bfl.ROUTES,
    "chatterbox": local_speech.CHATTERBOX,
    "comfyui": comfyui.ROUTES,
    "docker": docker.ROUTES,
    "elevenlabs": elevenlabs.ROUTES,
    "fal": fal.ROUTES,
    "google": (*google.ROUTES, *google_interactions.ROUTES),
    "kie": kie.ROUTES,
    "luma": luma.ROUTES,
    "luma_dream_machine": luma_dreams.DREAMS,
    "openrouter": gateways.OPENROUTER,
    "piapi": piapi.ROUTES,
    "replicate": replicate.ROUTES,
    "runpod": gateways.RUNPOD,
    "runware": runware.ROUTES,
    "runway": runway.ROUTES,
    "speaches": local_speech.SPEACHES,
    "stability": stability.ROUTES,
    "together": together.ROUTES,
    "whisper": local_speech.WHISPER,
    "xai": xai.ROUTES,
}
