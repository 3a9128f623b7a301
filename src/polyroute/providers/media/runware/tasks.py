"""From a `MediaRequest` to one of Runware's tasks, and from its items to an outcome."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from polyroute.ports import MediaWire
from polyroute.providers.media import geometry, intents, reach
from polyroute.types.errors import ErrorKind
from polyroute.types.media import Fitted, InputRole, MediaInput, MediaRequest, Outcome, Produced, Task
from polyroute.types.usage import Usage

_FORMATS = {
    "png": "PNG", "jpeg": "JPG", "webp": "WEBP", "mp4": "MP4", "webm": "WEBM", "mov": "MOV", "mp3": "MP3", "wav": "WAV",
    "flac": "FLAC", "opus": "OGG", "ogg": "OGG",
}  # fmt: skip
_OF_IMAGE, _OF_VIDEO, _OF_AUDIO = ("png", "jpeg", "webp"), ("mp4", "webm", "mov"), ("mp3", "wav", "flac", "opus", "ogg")
_OPEN = ("runware:", "civitai:", "rundiffusion:")
"""Models that Runware runs itself: they take steps, guidance, strength and a picture to start from. Those of other makers
take pictures as references."""
_SIDES = (128, 2048)
_MOST_RESULTS = 20
_SOUND = {"google": "generateAudio", "klingai": "sound", "bytedance": "generateAudio", "lightricks": "generateAudio"}
"""By maker, the setting that switches the sound of a film."""

Table = dict[Task, tuple[str, frozenset[str], tuple[InputRole, ...]]]
_ANY = {"n", "seed", "format"}
_IMAGE = {*_ANY, "negative_prompt", "aspect_ratio", "size", "resolution", "compression"}
_TUNED = {"steps", "guidance", "strength"}
_VIDEO = {*_ANY, "negative_prompt", "aspect_ratio", "size", "resolution", "duration", "fps", "guidance", "sound"}
_SPOKEN = {*_ANY, "voice", "language", "speed", "sample_rate"}
_MUSICAL = {*_ANY, "duration", "lyrics", "instrumental", "sample_rate"}
_TABLE: Table = {
    Task.TEXT_TO_IMAGE: ("imageInference", frozenset(_IMAGE), ("reference",)),
    Task.IMAGE_TO_IMAGE: ("imageInference", frozenset(_IMAGE), ("image", "reference")),
    Task.EDIT_IMAGE: ("imageInference", frozenset(_IMAGE), ("image", "mask", "reference")),
    Task.UPSCALE_IMAGE: ("upscale", frozenset({"scale", "format", "compression"}), ("image",)),
    Task.REMOVE_BACKGROUND: ("removeBackground", frozenset({"format", "compression"}), ("image",)),
    Task.TEXT_TO_VIDEO: ("videoInference", frozenset(_VIDEO), ("reference",)),
    Task.IMAGE_TO_VIDEO: ("videoInference", frozenset(_VIDEO), ("image", "first_frame", "last_frame", "reference")),
    Task.VIDEO_TO_VIDEO: ("videoInference", frozenset(_VIDEO), ("video", "reference")),
    Task.UPSCALE_VIDEO: ("upscale", frozenset({"scale", "format"}), ("video",)),
    Task.SPEECH: ("audioInference", frozenset(_SPOKEN), ("reference_audio",)),
    Task.MUSIC: ("audioInference", frozenset(_MUSICAL), ()),
    Task.SOUND_EFFECT: ("audioInference", frozenset(_MUSICAL - {"lyrics", "instrumental"}), ("video",)),
}
TASKS = frozenset(_TABLE)
_NEEDS: dict[Task, tuple[InputRole, ...]] = {
    Task.IMAGE_TO_IMAGE: ("image", "reference"), Task.EDIT_IMAGE: ("image", "reference"),
    Task.UPSCALE_IMAGE: ("image",), Task.REMOVE_BACKGROUND: ("image",), Task.UPSCALE_VIDEO: ("video",),
    Task.IMAGE_TO_VIDEO: ("first_frame", "image", "reference"), Task.VIDEO_TO_VIDEO: ("video",),
}  # fmt: skip


def fit(request: MediaRequest, model: str) -> Fitted:
    """What the task takes; see `ports.Maker.fit`."""
    _, kept, roles = _TABLE[request.task]
    if request.task in _NEEDS:
        intents.need_input(request, *_NEEDS[request.task])
    if request.task in (Task.TEXT_TO_IMAGE, Task.TEXT_TO_VIDEO, Task.SPEECH, Task.MUSIC):
        intents.need_prompt(request)
    if request.n > _MOST_RESULTS:
        raise intents.failed_field("n", request.n, f"at most {_MOST_RESULTS} are possible")
    notes = []
    if request.task in (Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE, Task.EDIT_IMAGE):
        kept = kept | _TUNED if model.startswith(_OPEN) else kept
    offered = _formats_of(request.task)
    if request.format is not None and request.format not in offered:
        reach.check_choice(request, "format", request.format, offered)
        notes.append(f"format {request.format} became {offered[0]}")
    wide, high = request.width, request.height
    if wide and high and (sides := _sides(request, model)) != (wide, high):
        reach.check_size(wide, high, sides, f"sides from {_SIDES[0]} to {_SIDES[1]}")
        notes.append(f"size {request.width}x{request.height} became {sides[0]}x{sides[1]}")
    if request.sound is not None and model.partition(":")[0] not in _SOUND:
        kept = kept - {"sound"}
    if request.speed is not None and not 0.5 <= request.speed <= 2:
        notes.append(f"speed {request.speed:g} became {min(max(request.speed, 0.5), 2):g}")
    if request.voice is not None and request.voice.lower() in intents.OPENAI_VOICES:
        notes.append(f"voice {request.voice} became the model's own")
    return intents.fitted(request, kept, roles, notes)


def _formats_of(task: Task) -> tuple[str, ...]:
    kind = _TABLE[task][0]
    if kind == "audioInference":
        return _OF_AUDIO
    return _OF_VIDEO if kind == "videoInference" or task is Task.UPSCALE_VIDEO else _OF_IMAGE


def _sides(request: MediaRequest, model: str) -> tuple[int, int]:
    """Pixels, a multiple of 64 for Runware's own models and within what it takes."""
    multiple = 64 if model.startswith(_OPEN) else 16
    width, height = request.width, request.height
    if not (width and height):
        ratio = geometry.ratio_of(request.aspect_ratio or "1:1") or 1.0
        area = geometry.megapixels_of(request.resolution)
        width, height = geometry.size_of_shape(ratio, min(area, 4.0), multiple)
    least, most = _SIDES
    bounded = [min(max(round(side / multiple) * multiple, least), most) for side in (width, height)]
    return bounded[0], bounded[1]


_CLASSES = {"360p": 360, "480p": 480, "540p": 540, "720p": 720, "1080p": 1080, "4k": 2160}


def _film_sides(request: MediaRequest) -> tuple[int, int] | None:
    """Pixels of a film, when more than its class of resolution was said."""
    if request.width and request.height:
        return request.width, request.height
    ratio = None if request.aspect_ratio is None else geometry.ratio_of(request.aspect_ratio)
    if ratio is None:
        return None
    side = _CLASSES.get((request.resolution or "720p").lower(), 720)
    longer = round(side * max(ratio, 1 / ratio) / 2) * 2
    return (longer, side) if ratio >= 1 else (side, longer)


async def build(request: MediaRequest, model: str, wire: MediaWire, provider: str) -> dict[str, Any]:
    """The task. Our `idempotency_key` is its `taskUUID`."""
    kind = _TABLE[request.task][0]
    task: dict[str, Any] = {
        "taskType": kind, "taskUUID": request.idempotency_key, "model": model, "deliveryMethod": "async",
        "outputType": "URL", "includeCost": True,
    }  # fmt: skip
    match kind:
        case "imageInference":
            task |= await _image(request, model, wire)
        case "videoInference":
            task |= await _video(request, model, wire)
        case "audioInference":
            task |= await _audio(request, wire)
        case _:
            item = intents.need_input(request, *_NEEDS[request.task])
            address = await _address(item, wire)
            task |= {"inputs": {"video": address}} if item.role == "video" else {"inputImage": address}
            if kind == "upscale":
                task["upscaleFactor"] = int(min(max(round(request.scale or 2), 2), 4))
    offered = _formats_of(request.task)
    if request.format is not None:
        task["outputFormat"] = _FORMATS[request.format if request.format in offered else offered[0]]
    if request.compression is not None and offered is _OF_IMAGE:
        task["outputQuality"] = min(max(request.compression, 20), 99)
    if kind.endswith("Inference"):
        task["numberResults"] = request.n
    if request.seed is not None:
        task["seed"] = request.seed
    return _merged(task, request.options.get(provider, {}))


def _merged(task: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    found = {**task, **extra}
    for name in ("inputs", "speech", "settings", "audioSettings", "providerSettings"):
        if isinstance(task.get(name), dict) and isinstance(extra.get(name), dict):
            found[name] = {**task[name], **extra[name]}
    return found


async def _address(item: MediaInput, wire: MediaWire) -> str:
    return await wire.input_url(item) or await wire.input_data_uri(item)


async def _image(request: MediaRequest, model: str, wire: MediaWire) -> dict[str, Any]:
    found: dict[str, Any] = {"positivePrompt": request.prompt}
    if request.negative_prompt:
        found["negativePrompt"] = request.negative_prompt
    images = [await _address(item, wire) for item in request.given("image")]
    references = [await _address(item, wire) for item in request.given("reference")]
    is_open = model.startswith(_OPEN)
    if images and (is_open or request.given("mask")):
        found["seedImage"] = images.pop(0)
    if images or references:
        found["referenceImages"] = [*images, *references]
    if masks := request.given("mask"):
        found["maskImage"] = await _address(masks[0], wire)
    if request.width or request.aspect_ratio or request.resolution or is_open:
        found["width"], found["height"] = _sides(request, model)
    if is_open:
        tuned = {"steps": request.steps, "CFGScale": request.guidance, "strength": request.strength}
        found |= {name: value for name, value in tuned.items() if value is not None}
    return found


async def _video(request: MediaRequest, model: str, wire: MediaWire) -> dict[str, Any]:
    given = {
        "positivePrompt": request.prompt, "negativePrompt": request.negative_prompt, "fps": request.fps,
        "CFGScale": request.guidance,
    }  # fmt: skip
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if request.duration is not None:
        found["duration"] = int(request.duration) if request.duration == int(request.duration) else request.duration
    sides = _film_sides(request)
    if sides is not None:
        found["width"], found["height"] = sides
    elif request.resolution is not None:
        found["resolution"] = request.resolution
    first = (*request.given("first_frame"), *request.given("image"))[:1]
    frames = [("first", item) for item in first] + [("last", item) for item in request.given("last_frame")[:1]]
    if frames:
        found["frameImages"] = [{"inputImage": await _address(item, wire), "frame": place} for place, item in frames]
    if references := request.given("reference"):
        found["referenceImages"] = [await _address(item, wire) for item in references]
    if videos := request.given("video"):
        found["inputs"] = {"video": await _address(videos[0], wire)}
    maker = model.partition(":")[0]
    if request.sound is not None and maker in _SOUND:
        found["providerSettings"] = {maker: {_SOUND[maker]: request.sound}}
    return found


async def _audio(request: MediaRequest, wire: MediaWire) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if request.task is Task.SPEECH:
        speech: dict[str, Any] = {"text": request.prompt}
        if request.voice is not None and request.voice.lower() not in intents.OPENAI_VOICES:
            speech["voice"] = request.voice
        if request.language is not None:
            speech["language"] = request.language
        if request.speed is not None:
            speech["speed"] = min(max(request.speed, 0.5), 2)
        found["speech"] = speech
        if recordings := request.given("reference_audio"):
            found["inputs"] = {"referenceVoices": [{"audio": await _address(item, wire)} for item in recordings]}
    else:
        found["positivePrompt"] = request.prompt or ""
        if request.duration is not None:
            found["duration"] = request.duration
        settings = {"lyrics": request.lyrics, "instrumental": request.instrumental}
        given = {name: value for name, value in settings.items() if value is not None}
        if given:
            found["settings"] = given
        if videos := request.given("video"):
            found["inputs"] = {"video": await _address(videos[0], wire)}
    if request.sample_rate is not None:
        found["audioSettings"] = {"sampleRate": request.sample_rate}
    return found


def outcome_of(items: list[dict[str, Any]], errors: list[dict[str, Any]], asked: dict[str, Any]) -> Outcome:
    """The results of a task. Raises AttemptFailed(bad_response) when there are none."""
    by_identifier: dict[str, dict[str, Any]] = {}
    for place, item in enumerate(items):
        name = next((item[key] for key in ("imageUUID", "videoUUID", "audioUUID") if item.get(key)), None)
        by_identifier[str(name or place)] = item
    ordered = sorted(by_identifier.values(), key=lambda item: int(item.get("resultIndex") or 0))
    produced = tuple(Produced(url=url) for item in ordered if (url := _result(item)) is not None)
    text = next((str(item["text"]) for item in ordered if item.get("text")), None)
    if not produced and text is None:
        raise intents.failed(ErrorKind.BAD_RESPONSE, "The provider's task is done and made nothing.")
    costs = [Decimal(str(item["cost"])) for item in ordered if isinstance(item.get("cost"), int | float)]
    kind, wanted, seconds = asked.get("kind"), int(asked.get("n") or 1), asked.get("seconds")
    usage = Usage(
        images=len(produced) if kind == "image" else None,
        seconds=None if seconds is None else float(seconds) * len(produced),
        characters=asked.get("characters"),
        reported_cost_usd=sum(costs, Decimal(0)) if len(costs) == len(ordered) else None,
    )
    notes = () if len(produced) >= wanted else (f"{len(produced)} of {wanted} results were made",)
    if errors and notes:
        notes = (f"{notes[0]}: {errors[0].get('message')}",)
    return Outcome(produced=produced, text=text, usage=usage, notes=notes)


def _result(item: dict[str, Any]) -> str | None:
    for kind in ("image", "video", "audio"):
        for form in ("URL", "DataURI"):
            if item.get(f"{kind}{form}"):
                return str(item[f"{kind}{form}"])
        if item.get(f"{kind}Base64Data"):
            return f"data:application/octet-stream;base64,{item[f'{kind}Base64Data']}"
    return None


def asked_of(task: dict[str, Any], request: MediaRequest) -> dict[str, Any]:
    """What has to be remembered of a task until its results come."""
    kind = "image" if request.task.value.endswith(("image", "background")) else "other"
    spoken = len(request.prompt or "") if request.task is Task.SPEECH else None
    found = {"n": task.get("numberResults", 1), "kind": kind, "seconds": task.get("duration"), "characters": spoken}
    return {name: value for name, value in found.items() if value is not None}
