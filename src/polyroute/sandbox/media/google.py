"""Google's media: pictures and speech by generateContent, Imagen's predict, Veo's long-running operations, files, voices."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import (
    Direct,
    Exchange,
    Frame,
    Json,
    Reply,
    Stream,
    Whole,
    data_frame,
    hexadecimal,
    identifier,
    json_reply,
)
from polyroute.sandbox.media.artifacts import Artifact, audio, image, speech_seconds, video
from polyroute.sandbox.media.call import count, film_sides, is_blocked, number, polled, seed_of, sides
from polyroute.sandbox.media.files import send_artifact
from polyroute.sandbox.media.jobs import Job, Upload
from polyroute.sandbox.prompt import tokens_of
from polyroute.sandbox.route import Route, route

_CLASSES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
_ASPECTS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "1:4", "4:1", "1:8", "8:1")
VOICES = ("Zephyr", "Puck", "Charon", "Kore", "Fenrir", "Leda", "Orus", "Aoede", "Callirrhoe", "Autonoe")
_SECOND = {"veo-3.1-generate": 0.40, "veo-3.1-fast": 0.10, "veo-3.1-lite": 0.05}


def _texts(exchange: Exchange) -> str:
    contents = exchange.body.get("contents")
    turns = contents if isinstance(contents, list) else [contents] if isinstance(contents, dict) else []
    parts = [part for turn in turns for part in turn.get("parts", [])]
    if not parts:
        raise invalid("* GenerateContentRequest.contents: contents is not specified\n")
    return " ".join(str(part.get("text", "")) for part in parts)


def _config(exchange: Exchange) -> Json:
    config = exchange.body.get("generationConfig") or exchange.body.get("generation_config")
    return config if isinstance(config, dict) else {}


def _model(exchange: Exchange) -> str:
    model = exchange.groups["model"]
    if "no-such-model" in model:
        raise Refused("model_not_found", values={"model": model})
    return model


def _artifact(exchange: Exchange, model: str, text: str) -> Artifact:
    config = _config(exchange)
    if "lyria" in model:
        return audio(30.0)
    if "tts" in model:
        speech = config.get("speechConfig") or {}
        single = ((speech.get("voiceConfig") or {}).get("prebuiltVoiceConfig") or {}).get("voiceName")
        several = (speech.get("multiSpeakerVoiceConfig") or {}).get("speakerVoiceConfigs")
        if several is not None and len(several) != 2:
            raise invalid("The number of enabled_voices must equal 2.")
        if exchange.strict and single is not None and single.title() not in VOICES and not single.startswith("voice_"):
            raise invalid(f"Voice name {single} is not supported. Allowed voice names are: {', '.join(VOICES)}")
        if "AUDIO" not in (config.get("responseModalities") or []):
            raise invalid("The requested combination of response modalities (TEXT) is not supported by the model.")
        return audio(speech_seconds(text), "pcm", 24_000)
    shape = config.get("imageConfig") or {}
    aspect, size = shape.get("aspectRatio", "1:1"), shape.get("imageSize", "1K")
    if aspect not in _ASPECTS:
        raise invalid(f"aspect_ratio must be one of {', '.join(_ASPECTS)}")
    if size not in _CLASSES:
        raise invalid(f"image_size must be one of {', '.join(_CLASSES)}")
    wide, high = sides(aspect, _CLASSES[size] ** 2) or (1024, 1024)
    return image(seed_of(exchange), wide, high, "png")


def answer_generate(exchange: Exchange) -> Reply:
    """`POST …:generateContent` and `:streamGenerateContent` of the models that paint, speak and sing."""
    model, text = _model(exchange), _texts(exchange)
    made = _artifact(exchange, model, text)
    kind: SandboxOperation = "image" if made.kind == "image" else "music" if "lyria" in model else "speech"
    job = exchange.desk.submit(
        exchange, kind, model, [made], name=lambda digest: identifier(digest, "response", 22), whole=True
    )
    frames = list(_chunks(job, text, model))
    if "stream" not in exchange.path.rpartition(":")[2]:
        value = frames[-1]
        parts = [part for frame in frames for part in frame["candidates"][0].get("content", {}).get("parts", [])]
        if parts:
            value["candidates"][0]["content"] = {"role": "model", "parts": parts}
        return json_reply(value)
    if exchange.query.get("alt") == "sse":
        return Stream(frames=_sse(frames))
    return json_reply(frames)


def _sse(values: list[Json]) -> Iterator[Frame]:
    for place, value in enumerate(values):
        yield data_frame(value, 1, last=place == len(values) - 1)


def _chunks(job: Job, text: str, model: str) -> Iterator[Json]:
    artifact = job.artifacts[0]
    modality = "IMAGE" if artifact.kind == "image" else "AUDIO"
    tokens = 1120 if artifact.kind == "image" else max(1, round(artifact.seconds * 25))
    usage: Json = {"promptTokenCount": tokens_of(text), "candidatesTokenCount": tokens}
    usage |= {
        "totalTokenCount": tokens_of(text) + tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}],
    }
    usage["candidatesTokensDetails"] = [{"modality": modality, "tokenCount": tokens}]
    around: Json = {"modelVersion": model, "responseId": job.name}
    if job.moderated or is_blocked(text):
        reason = "IMAGE_SAFETY" if artifact.kind == "image" else "PROHIBITED_CONTENT"
        candidate: Json = {"finishReason": reason, "finishMessage": "Unable to show the result.", "index": 0}
        yield {"candidates": [candidate], "usageMetadata": {**usage, "candidatesTokenCount": 0}, **around}
        return
    if model.startswith("gemini-3") and artifact.kind == "image":
        parts: list[Json] = [{"text": "**Simulated thought**", "thought": True}]
        yield {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}], **around}
    mime = "audio/L16;codec=pcm;rate=24000" if artifact.form == "pcm" else artifact.content_type
    data = artifact.content() if not job.has("wrong_media_type") else b"<!doctype html><html></html>"
    parts = [{"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}}]
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    yield {"candidates": [candidate], "usageMetadata": usage, **around}


def answer_predict(exchange: Exchange) -> Reply:
    """`POST …:predict` of Imagen."""
    model, (prompt, _), parameters = _model(exchange), _instance(exchange), exchange.body.get("parameters") or {}
    wide, high = sides(parameters.get("aspectRatio", "1:1")) or (1024, 1024)
    form = str((parameters.get("outputOptions") or {}).get("mimeType", "image/png")).partition("/")[2]
    wanted = count(parameters.get("sampleCount"), most=4)
    made = [image(seed_of(exchange, place), wide, high, form) for place in range(wanted)]
    job = exchange.desk.submit(
        exchange, "image", model, made, name=lambda digest: digest[:24], whole=True, cost=0.04 * wanted
    )
    if job.moderated or is_blocked(prompt):
        return json_reply(
            {"predictions": [{"raiFilteredReason": "Unable to show generated images. Support codes: 39322892"}]}
        )
    rows = [
        {"bytesBase64Encoded": base64.b64encode(item.content()).decode(), "mimeType": item.content_type}
        for item in made
    ]
    return json_reply({"predictions": rows})


def _instance(exchange: Exchange) -> tuple[str, Json]:
    instances = exchange.body.get("instances")
    if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
        raise invalid("Instances is required but not specified.")
    first: Json = instances[0]
    prompt = str(first.get("prompt") or "")
    if not prompt and not (first.get("image") or first.get("video")):
        raise invalid("Text prompt, image or video is required.")
    return prompt, first


def answer_long(exchange: Exchange) -> Reply:
    """`POST …:predictLongRunning` of Veo: a film, or seven more seconds of one."""
    model, (prompt, first), parameters = _model(exchange), _instance(exchange), exchange.body.get("parameters") or {}
    source = first.get("video")
    if source is not None and not (isinstance(source, dict) and source.get("uri")):
        raise invalid("video.uri is required.")
    if source is not None and (set(parameters) & {"durationSeconds", "aspectRatio"} or first.get("image")):
        raise invalid("A video is made longer by 7 seconds, in its own shape.")
    seconds = 7 if source is not None else parameters.get("durationSeconds", 8)
    if source is None and seconds not in (4, 6, 8):
        message = "The number value for `durationSeconds` is out of bound. Please provide a value between 4 and 8"
        raise invalid(f"{message}, inclusive; found {seconds}.")
    resolution = parameters.get("resolution", "720p")
    if resolution not in ("720p", "1080p", "4k") or (resolution != "720p" and seconds != 8):
        raise invalid(f"resolution {resolution} is not supported for {seconds} seconds.")
    if parameters.get("aspectRatio", "16:9") not in ("16:9", "9:16"):
        raise invalid("aspectRatio must be 16:9 or 9:16.")
    pair = film_sides(resolution, parameters.get("aspectRatio", "16:9"))
    wanted = count(parameters.get("sampleCount"), most=4)
    made = [video(seed_of(exchange, place), *pair, number(seconds, 8)) for place in range(wanted)]
    price = next((value for part, value in _SECOND.items() if part in model), 0.40) * seconds * wanted
    job = exchange.desk.submit(
        exchange,
        "video",
        model,
        made,
        name=lambda digest: f"models/{model}/operations/{identifier(digest, 'operation', 12).lower()}",
        cost=round(price, 4),
        extra={"blocked": is_blocked(prompt), "base": exchange.path.partition("/models/")[0]},
    )
    return json_reply({"name": job.name})


def answer_operation(exchange: Exchange) -> Reply:
    """`GET /v1beta/models/{model}/operations/{id}`, and Vertex' `:fetchPredictOperation`."""
    name = exchange.groups.get("job") or str(exchange.body.get("operationName") or "")
    job = polled(exchange, name[name.find("models/") :])
    if not job.ended:
        return json_reply({"name": job.name})
    value: Json = {"name": job.name, "done": True}
    if job.phase == "canceled" or (job.phase == "failed" and not job.moderated):
        code, message = (1, "The operation was cancelled.") if job.phase == "canceled" else (13, job.failure)
        return json_reply(value | {"error": {"code": code, "message": message}})
    found: Json = {"generatedSamples": []}
    if job.moderated or job.extra["blocked"]:
        reason = "We encountered an issue with your prompt: it was refused by the safety filters."
        found = {"raiMediaFilteredCount": len(job.artifacts), "raiMediaFilteredReasons": [reason]}
    else:
        base = f"{job.origin}/google{job.extra['base']}/files"
        if job.has("foreign_url"):
            base = "https://generativelanguage.example.invalid/v1beta/files"
        for place in range(len(job.artifacts)):
            found["generatedSamples"].append({"video": {"uri": f"{base}/{job.token}{place}:download?alt=media"}})
    kind = "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse"
    return json_reply(value | {"response": {"@type": kind, "generateVideoResponse": found}})


def answer_cancel(exchange: Exchange) -> Reply:
    """`POST …/operations/{id}:cancel`."""
    job = exchange.desk.find("google", exchange.groups["job"])
    if job is None:
        raise Refused("not_found", status=404)
    job.cancel()
    return json_reply({})


def answer_download(exchange: Exchange) -> Reply:
    """`GET /v1beta/files/{id}:download`: with the key, then a redirect to where the bytes lie."""
    name = exchange.groups["file"]
    job = exchange.desk.by_token(name[:20])
    if job is None or job.phase != "succeeded":
        kept = exchange.desk.upload(name)
        if kept is None:
            raise Refused(
                "forbidden", f"You do not have permission to access the File {name} or it may not exist.", status=403
            )
        return Whole(body=kept.data or b"", content_type=kept.content_type)
    url = f"{exchange.origin}/google/download/{name}"
    return Whole(body=b"", status=302, headers={"location": url}, content_type="text/html")


def answer_bytes(exchange: Exchange) -> Reply:
    """Where the redirect leads."""
    name = exchange.groups["file"]
    job, place = exchange.desk.by_token(name[:20]), name[20:]
    if job is None or not place.isdecimal() or int(place) >= len(job.artifacts):
        raise Refused("not_found", status=404)

    async def send(request: web.Request) -> web.StreamResponse:
        return await send_artifact(request, job, job.artifacts[int(place)])

    return Direct(send)


def answer_upload(exchange: Exchange) -> Reply:
    """`POST /upload/v1beta/files`: resumable (start, then upload and finalize), or all at once."""
    if "start" in exchange.headers.get("x-goog-upload-command", ""):
        name = hexadecimal(exchange.digest, "upload", 12)
        kind = exchange.headers.get("x-goog-upload-header-content-type", "application/octet-stream")
        url = f"{exchange.origin}/google/upload/v1beta/files?upload_id={name}&kind={kind}"
        return Whole(body=b"{}", headers={"x-goog-upload-url": url, "x-goog-upload-status": "active"})
    name = exchange.query.get("upload_id") or hexadecimal(exchange.digest, "upload", 12)
    kind = exchange.query.get("kind") or exchange.headers.get("content-type", "application/octet-stream")
    kept = Upload(name=name, content_type=kind, size=len(exchange.raw), data=exchange.raw)
    exchange.desk.keep_upload(exchange, name, kept)
    return json_reply({"file": _file(exchange, name, kept)}, headers={"x-goog-upload-status": "final"})


def _file(exchange: Exchange, name: str, kept: Upload) -> Json:
    uri = f"{exchange.origin}/google/v1beta/files/{name}"
    value: Json = {
        "name": f"files/{name}",
        "mimeType": kept.content_type,
        "sizeBytes": str(kept.size),
        "state": "ACTIVE",
    }
    return value | {"uri": uri, "downloadUri": f"{uri}:download?alt=media", "source": "UPLOADED"}


def answer_file(exchange: Exchange) -> Reply:
    """`GET`, `DELETE /v1beta/files/{id}`."""
    name = exchange.groups["file"]
    kept = exchange.desk.upload(name)
    if kept is None:
        raise Refused(
            "forbidden", f"You do not have permission to access the File {name} or it may not exist.", status=403
        )
    if exchange.method == "DELETE":
        exchange.desk.drop_upload(name)
        return json_reply({})
    return json_reply(_file(exchange, name, kept))


def answer_voices(exchange: Exchange) -> Reply:
    """`POST`, `GET /v1beta/voices`: voices replicated from a recording, with consent."""
    if exchange.method == "GET":
        cloned = [
            {"id": job.name, "display_name": job.model}
            for job in exchange.desk.jobs("google")
            if job.operation == "clone"
        ]
        return json_reply({"voices": cloned})
    voice = exchange.body.get("voice")
    source = voice.get("replicated") or voice.get("prompted") if isinstance(voice, dict) else None
    if not isinstance(voice, dict) or not isinstance(source, dict):
        raise invalid("voice.replicated or voice.prompted is required")
    if voice.get("replicated") and not (source.get("source_audio") and source.get("consent_audio")):
        raise invalid("source_audio and consent_audio are required")
    stored = exchange.body.get("store") is not False
    prefix = "voice_" if stored else "voicekey_"
    job = exchange.desk.submit(
        exchange,
        "clone",
        str(voice.get("display_name") or "voice"),
        [],
        name=lambda digest: prefix + digest[:20],
        whole=True,
    )
    return json_reply({"id" if stored else "key": job.name, "voice": voice})


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "gemini", answer, **more)


_MAKING = r"(?P<model>[^/:]*(?:image|banana|tts|lyria)[^/:]*)"
GENERATE: tuple[Route, ...] = (_of(rf"POST /models/{_MAKING}:(stream)?[gG]enerateContent", "image", answer_generate),)
_OPERATION = r"(?P<job>models/[^/]+/operations/[^/:]+)"
ROUTES: tuple[Route, ...] = (
    *GENERATE,
    _of(r"POST /models/(?P<model>[^/:]+):predict", "image", answer_predict),
    _of(r"POST /models/(?P<model>[^/:]+):predictLongRunning", "video", answer_long),
    _of(r"POST /models/(?P<model>[^/:]+):fetchPredictOperation", "poll", answer_operation),
    _of(rf"GET /{_OPERATION}", "poll", answer_operation),
    _of(rf"POST /{_OPERATION}:cancel", "cancel", answer_cancel),
    _of(r"GET /files/(?P<file>[^/:]+):download", "file", answer_download),
    _of(r"GET ^/download/(?P<file>[^/]+)", "file", answer_bytes, free=("google",)),
    _of(r"POST|PUT /upload/v1beta/files", "file", answer_upload, raw=True),
    _of(r"GET|DELETE /files/(?P<file>[^/:]+)", "file", answer_file),
    _of(r"GET|POST /voices", "clone", answer_voices),
)
