"""Media adapters by the name that a provider's row gives as `media_adapter`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from polyroute.catalog.model import Provider
from polyroute.ports import MediaAdapter

_CLASSES: dict[str, str] = {
    "aihubmix": "aihubmix:AiHubMixMedia",
    "aimlapi": "aimlapi:AimlMedia",
    "automatic1111": "automatic1111:Automatic1111Media",
    "bfl": "bfl:BlackForestLabsMedia",
    "chatterbox": "chatterbox:ChatterboxMedia",
    "comfyui": "comfyui:ComfyUIMedia",
    "elevenlabs": "elevenlabs.adapter:ElevenLabsMedia",
    "fal": "fal:FalMedia",
    "ffmpeg": "ffmpeg.adapter:FfmpegMedia",
    "google": "google.adapter:GoogleMedia",
    "kie": "kie:KieMedia",
    "luma": "luma:LumaMedia",
    "luma_dream_machine": "luma_dream_machine:DreamMachineMedia",
    "openai": "openai:OpenAIMedia",
    "openrouter": "openrouter:OpenRouterMedia",
    "piapi": "piapi:PiapiMedia",
    "replicate": "replicate:ReplicateMedia",
    "runpod": "runpod:RunpodMedia",
    "runway": "runway:RunwayMedia",
    "runware": "runware.adapter:RunwareMedia",
    "stability": "stability:StabilityMedia",
    "together": "together:TogetherMedia",
    "whisper": "whisper:WhisperMedia",
    "xai": "xai:XaiMedia",
}
"""`module:Class` under this package; the class is called with the provider's catalog entry."""


@cache
def _adapter_class(name: str) -> Callable[[Provider], MediaAdapter]:
    module, _, attribute = _CLASSES[name].partition(":")
    found: Callable[[Provider], MediaAdapter] = getattr(import_module(f"polyroute.providers.media.{module}"), attribute)
    return found


def build_media_adapter(provider: Provider) -> MediaAdapter | None:
    """The media adapter of a row, None when it has none. Raises ValueError for a name that none has."""
    name = provider.media_adapter
    if name is None:
        return None
    if name not in _CLASSES:
        raise ValueError(
            f"provider {provider.name}: no media adapter is named {name!r} (there are: {', '.join(_CLASSES)})"
        )
    return _adapter_class(name)(provider)
