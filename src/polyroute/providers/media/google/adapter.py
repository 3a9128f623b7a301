"""Which of Google's models makes what, and its lists of models and voices."""

from __future__ import annotations

from typing import Any

from polyroute.catalog.model import Provider
from polyroute.ports import Immediate, MediaWire, Queued, Streamed
from polyroute.providers.media.google.audio import PREBUILT, Cloning, Listening, Music, Speech
from polyroute.providers.media.google.images import Imagen, Painting
from polyroute.providers.media.google.omni import Omni
from polyroute.providers.media.google.transcribing import Transcribing
from polyroute.providers.media.google.videos import Veo
from polyroute.types.media import Task, Voice

_PAGES = 10


class GoogleMedia:
    """Gemini, Gemini Omni, Imagen, Veo and Lyria under one address."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name
        self._default_voice: str | None = row.options.get("default_voice")
        self._pace = (0.02, 0.1) if row.simulated else None

    def maker(self, task: Task, model: str) -> Immediate | Streamed | Queued | None:
        """By task, and by the family that a model's name tells."""
        match task:
            case Task.TEXT_TO_IMAGE if model.startswith("imagen"):
                return Imagen(self._provider)
            case Task.TEXT_TO_IMAGE | Task.IMAGE_TO_IMAGE | Task.EDIT_IMAGE:
                return Painting(self._provider)
            case Task.TEXT_TO_VIDEO | Task.IMAGE_TO_VIDEO | Task.VIDEO_TO_VIDEO | Task.UPSCALE_VIDEO if "omni" in model:
                return Omni(self._provider, self._pace)
            case Task.TEXT_TO_VIDEO | Task.IMAGE_TO_VIDEO | Task.VIDEO_TO_VIDEO:
                return Veo(self._provider, self._pace)
            case Task.SPEECH:
                return Speech(self._provider, self._default_voice)
            case Task.MUSIC:
                return Music(self._provider)
            case Task.TRANSCRIBE if "transcribe" in model:
                return Transcribing(self._provider)
            case Task.TRANSCRIBE | Task.TRANSLATE:
                return Listening(self._provider)
            case Task.CLONE_VOICE:
                return Cloning(self._provider)
            case _:
                return None

    async def voices(self, wire: MediaWire) -> tuple[Voice, ...]:
        """Those that everybody has, and those of the account."""
        listed = (await wire.call("GET", "/voices")).json().get("voices") or ()
        own = tuple(
            Voice(id=str(one["id"]), name=str(one.get("display_name") or one["id"]), provider=self._provider, cloned=True)
            for one in listed
        )  # fmt: skip
        return (*own, *(Voice(id=name, name=name, provider=self._provider) for name in PREBUILT))

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """All models, with the media tasks that their names and methods tell."""
        found: list[tuple[str, tuple[Task, ...]]] = []
        token = ""
        for _ in range(_PAGES):
            query = {"pageSize": "1000", **({"pageToken": token} if token else {})}
            page = (await wire.call("GET", "/models", query=query)).json()
            found += [_described(one) for one in page.get("models") or ()]
            token = page.get("nextPageToken") or ""
            if not token:
                break
        return tuple(found)


def _described(one: dict[str, Any]) -> tuple[str, tuple[Task, ...]]:
    name = str(one["name"]).removeprefix("models/")
    methods = one.get("supportedGenerationMethods") or ()
    if "predictLongRunning" in methods or name.startswith("veo"):
        return name, (Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO, Task.VIDEO_TO_VIDEO)
    if "predict" in methods or name.startswith("imagen"):
        return name, (Task.TEXT_TO_IMAGE,)
    for part, tasks in (
        ("omni", (Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO, Task.VIDEO_TO_VIDEO, Task.UPSCALE_VIDEO)),
        ("tts", (Task.SPEECH,)), ("lyria", (Task.MUSIC,)), ("transcribe", (Task.TRANSCRIBE, Task.TRANSLATE)),
        ("image", (Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE)), ("banana", (Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE)),
    ):  # fmt: skip
        if part in name:
            return name, tasks
    return name, ()
