"""What a model makes, told from its name, as resellers of many models need it."""

from __future__ import annotations

from polyroute.sandbox.control import SandboxOperation

_PARTS: tuple[tuple[SandboxOperation, tuple[str, ...]], ...] = (
    ("transcription", ("whisper", "wizper", "transcribe", "speech-to-text", "parakeet", "scribe", "stt")),
    ("clone", ("voice-clone", "clone-voice", "zero-shot")),
    ("effects", ("sound-effect", "sound_effect", "mmaudio", "sfx", "mirelo")),
    ("music", ("music", "ace-step", "stable-audio", "lyria", "suno", "diffrhythm", "audio2audio", "txt2audio")),
    (
        "image",
        ("text-to-image", "image-to-image", "kling-image", "imagine-image", "upscale/image", "image-upscale", "t2i"),
    ),
    (
        "video",
        (
            *("video", "veo", "kling", "ray-2", "ray-3", "ray-flash", "ray-720", "luma:ray", "hailuo", "minimax/h3"),
            *("seedance", "wan-", "wan2", "wan/", "wan:", "sora", "i2v", "t2v", "runway", "ltx", "pixverse", "vidu"),
            *(
                "aleph",
                "gen4.5",
                "google:3@",
                "avatar",
                "infinitalk",
                "infinitetalk",
                "animate",
                "happyhorse",
                "lipsync",
            ),
        ),
    ),
    ("speech", ("tts", "speech", "bark", "chatterbox", "kokoro", "orpheus", "voice", "sonic", "elevenlabs", "eleven_")),
)


def kind_of(model: str) -> SandboxOperation:
    """The operation of a model; `image` when the name says nothing."""
    name = model.lower()
    return next((kind for kind, parts in _PARTS if any(part in name for part in parts)), "image")
