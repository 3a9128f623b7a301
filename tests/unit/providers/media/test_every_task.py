"""Every task of every provider with every model that its row names, made on the sandbox through the whole engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from polyroute.catalog.rows import load_rows
from polyroute.types.errors import PolyrouteError
from polyroute.types.media import OPERATION_OF_TASK, InputRole, MediaInput, Task
from polyroute.types.operations import Operation
from support.media_files import mp4, png, wav
from support.media_gateway import media_gateway
from support.media_making import MadeFor, data_uri, make

ROWS = {name: row for name, row in load_rows().items() if row.media and row.program is None}
_BYTES = {
    "image": data_uri(png(512, 512), "image/png"), "video": data_uri(mp4(3.0, 1280, 720), "video/mp4"),
    "audio": data_uri(wav(3.0), "audio/wav"),
}  # fmt: skip


def given(role: InputRole, family: str) -> MediaInput:
    return MediaInput(role=role, url=_BYTES[family])


PICTURE, FRAME, FILM = given("image", "image"), given("first_frame", "image"), given("video", "video")
SOUND, VOICE, MASK = given("audio", "audio"), given("reference_audio", "audio"), given("mask", "image")
ORDERS: dict[Task, dict[str, Any]] = {
    Task.TEXT_TO_IMAGE: {"prompt": "a red fox"},
    Task.IMAGE_TO_IMAGE: {"prompt": "in blue", "inputs": (PICTURE,)},
    Task.EDIT_IMAGE: {"prompt": "a blue door", "inputs": (PICTURE, MASK)},
    Task.UPSCALE_IMAGE: {"inputs": (PICTURE,)},
    Task.REMOVE_BACKGROUND: {"inputs": (PICTURE,)},
    Task.TEXT_TO_VIDEO: {"prompt": "a red fox runs"},
    Task.IMAGE_TO_VIDEO: {"prompt": "it runs", "inputs": (FRAME,)},
    Task.VIDEO_TO_VIDEO: {"prompt": "at night", "inputs": (FILM,)},
    Task.ANIMATE: {"inputs": (PICTURE, SOUND)},
    Task.UPSCALE_VIDEO: {"inputs": (FILM,)},
    Task.SPEECH: {"prompt": "Good morning."},
    Task.CLONE_VOICE: {"prompt": "Good morning.", "voice_name": "Ada", "inputs": (VOICE,)},
    Task.TRANSCRIBE: {"inputs": (SOUND,)},
    Task.TRANSLATE: {"inputs": (SOUND,)},
    Task.MUSIC: {"prompt": "a slow waltz"},
    Task.SOUND_EFFECT: {"prompt": "a door"},
}
WITHOUT_MASK = {"prompt": "a blue door", "inputs": (PICTURE,)}
OTHERWISE: dict[tuple[str, Task], dict[str, Any]] = {
    ("google", Task.EDIT_IMAGE): WITHOUT_MASK,
    ("replicate", Task.EDIT_IMAGE): WITHOUT_MASK,
    ("google", Task.CLONE_VOICE): {"voice_name": "Ada", "inputs": (VOICE, VOICE)},
    ("piapi", Task.SPEECH): {"prompt": "Good morning.", "inputs": (VOICE,)},
    ("piapi", Task.SOUND_EFFECT): {"prompt": "a door", "inputs": (FILM,)},
    ("runware", Task.SOUND_EFFECT): {"prompt": "a door", "inputs": (FILM,)},
}  # fmt: skip
"""What else a provider needs for a task."""
MOVED = {"inputs": (FILM, SOUND)}
"""What models need that move the lips of a film, rather than a picture."""
LIPS = ("lipsync", "lip_sync", "animate-move")
_FAMILY = {Operation.IMAGE: "image", Operation.VIDEO: "video"}


ASKING: dict[str, dict[str, Any]] = {
    "bfl/flux-pro-1.0-expand": {"inputs": (PICTURE,), "verbatim": {"bfl": {"top": 64}}},
    "elevenlabs/*_sts_*": {"inputs": (SOUND,)},
    "elevenlabs/isolation": {"prompt": None, "inputs": (SOUND,)},
    "elevenlabs/dubbing": {"prompt": None, "language": "de", "inputs": (SOUND,)},
    "luma*/reframe": {"aspect_ratio": "16:9"},
    "runway/act_two": {"inputs": (PICTURE, FILM)},
    "runway/eleven_voice_dubbing": {"language": "de", "inputs": (SOUND,)},
    "runway/eleven_voice_isolation": {"inputs": (SOUND,)},
    "runway/eleven_multilingual_sts_v2": {"inputs": (SOUND,)},
    "stability/edit/outpaint": {"inputs": (PICTURE,), "verbatim": {"stability": {"left": 64}}},
    "stability/edit/search-and-replace": {
        "inputs": (PICTURE,),
        "verbatim": {"stability": {"search_prompt": "the dog"}},
    },
    "stability/edit/search-and-recolor": {
        "inputs": (PICTURE,),
        "verbatim": {"stability": {"select_prompt": "the dog"}},
    },
    "stability/edit/replace-background-and-relight": {"inputs": (PICTURE,)},
    "stability/control/style-transfer": {"inputs": (PICTURE, given("reference", "image"))},
    "stability/upscale/*": {"prompt": "a red fox"},
}
"""What single models need beside the usual."""


def order_of(provider: str, task: Task, model: str) -> dict[str, Any]:
    usual = OTHERWISE.get((provider, task), ORDERS[task])
    if task is Task.ANIMATE and any(part in model for part in LIPS):
        usual = {"inputs": (FILM, PICTURE)} if "animate-move" in model else MOVED
    more = [found for pattern, found in ASKING.items() if fnmatchcase(f"{provider}/{model}", pattern)]
    return {**usual, **(more[0] if more else {})}


def wrong_with(task: Task, told: MadeFor, provider: str) -> str | None:
    """What is not as it should be; None when all is well."""
    made = told.made
    if told.provider != provider:
        return f"made by {told.provider}"
    if task is Task.CLONE_VOICE:
        return None if made.voice is not None and made.voice.id else "no voice"
    if task in (Task.TRANSCRIBE, Task.TRANSLATE):
        return None if made.transcript is not None and made.transcript.text else "no text"
    family = _FAMILY.get(OPERATION_OF_TASK[task], "audio")
    families = {artifact.family for artifact in made.artifacts}
    return None if families == {family} else f"gave {families or 'nothing'}"


ELSEWHERE = {
    ("aihubmix", Task.VIDEO_TO_VIDEO): "*", ("comfyui", None): "*", ("luma_dream_machine", Task.UPSCALE_VIDEO): "*",
    ("luma_dream_machine", Task.VIDEO_TO_VIDEO): "*/audio",
}  # fmt: skip
"""What needs more than a request (a film that the provider made before, a workflow): see the providers' own tests."""


def everything() -> Iterator[tuple[str, Task, str]]:
    for provider, row in ROWS.items():
        for task, models in row.media.items():
            left_out = [ELSEWHERE.get((provider, one), "") for one in (task, None)]
            for model in models:
                if not any(fnmatchcase(model, pattern) for pattern in left_out):
                    yield provider, task, model


async def test_every_provider_task_and_model_is_made_on_the_sandbox(tmp_path: Path) -> None:
    problems: list[str] = []
    limit = asyncio.Semaphore(24)
    async with media_gateway(tmp_path) as gateway:
        await gateway.control("*", job_seconds=0)

        async def ask(provider: str, task: Task, model: str) -> None:
            async with limit:
                try:
                    told = await make(gateway, task, f"{provider}/{model}", **order_of(provider, task, model))
                except PolyrouteError as error:
                    problems.append(f"{provider} {task} {model}: {error.kind}: {error.message[:200]}")
                else:
                    problem = wrong_with(task, told, provider)
                    problems.extend([f"{provider} {task} {model}: {problem}"] if problem else [])

        await asyncio.gather(*(ask(*one) for one in everything()))
    assert not problems, "\n".join(problems)
