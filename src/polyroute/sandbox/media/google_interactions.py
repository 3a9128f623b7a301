"""Google's Interactions: films in the background, speech, transcripts, pictures and words at once; read, cancel, delete."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import invalid
from polyroute.sandbox.exchange import CREATED_TEXT, Exchange, Frame, Json, Reply, Stream, event_frame, json_reply
from polyroute.sandbox.media.artifacts import Artifact, audio, image, speech_seconds, video
from polyroute.sandbox.media.call import answered, film_sides, is_blocked, number, said, seed_of, sides, timed_words
from polyroute.sandbox.media.google import VOICES
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.prompt import tokens_of
from polyroute.sandbox.route import Route, route

_FILM_TOKENS = 5792
"""What a second of a film counts, and a picture or a second of sound below."""
_PICTURE_TOKENS, _SOUND_TOKENS = 1120, 25
_HEARD_TOKENS = 32
_TASKS = ("text_to_video", "image_to_video", "reference_to_video", "edit", "extend", "upscale")
_FORMS = {"audio/mp3": "mp3", "audio/ogg_opus": "opus", "audio/wav": "wav", "audio/l16": "pcm"}
_KINDS: tuple[tuple[str, SandboxOperation], ...] = (
    ("omni", "video"), ("tts", "speech"), ("transcribe", "transcription"), ("image", "image"),
)  # fmt: skip
_HEARD_SECONDS = 3.0
_WORDS_A_HOP = 6


def _blocks(body: Json) -> list[Json]:
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "text", "text": given}]
    listed = given if isinstance(given, list) else [given] if isinstance(given, dict) else []
    steps = [block for one in listed for block in one.get("content", [one])]
    return [block for block in steps if isinstance(block, dict)]


def _of_type(blocks: list[Json], kind: str) -> list[Json]:
    found = [block for block in blocks if block.get("type") == kind]
    for block in found:
        if kind != "text" and not (block.get("data") or block.get("uri")):
            raise invalid(f"input: {kind} needs data or uri.")
    return found


def _refusal(message: str) -> Exception:
    return answered({"error": {"code": "invalid_request", "message": message}}, 400)


def _film(exchange: Exchange, form: Json, blocks: list[Json]) -> Artifact:
    task = str(((exchange.body.get("generation_config") or {}).get("video_config") or {}).get("task") or _TASKS[0])
    if task not in _TASKS:
        raise _refusal(f"video_config.task must be one of {', '.join(_TASKS)}.")
    films, continues = _of_type(blocks, "video"), exchange.body.get("previous_interaction_id")
    if task in ("edit", "extend", "upscale") and not (films or continues):
        raise _refusal(f"{task} needs a video.")
    if task == "image_to_video" and not _of_type(blocks, "image"):
        raise _refusal("image_to_video needs an image.")
    text = form.get("duration", "5s")
    if not isinstance(text, str) or not text.endswith("s") or not text[:-1].replace(".", "", 1).isdecimal():
        raise _refusal("response_format.duration: not a duration.")
    seconds = number(text, 5)
    if not 3 <= seconds <= (15 if "1.2" in str(exchange.body.get("model")) else 10):
        raise _refusal("response_format.duration must be between 3s and 10s.")
    resolution, shape = form.get("resolution", "720p"), form.get("aspect_ratio", "16:9")
    if resolution not in ("360p", "720p", "1080p", "4k") or shape not in ("16:9", "9:16"):
        raise _refusal("response_format: resolution or aspect_ratio is not supported.")
    return video(seed_of(exchange), *film_sides(resolution, shape), seconds)


def _made(exchange: Exchange, form: Json, blocks: list[Json]) -> Artifact | None:
    """The medium that is asked for; None for words."""
    model, kind = str(exchange.body["model"]), form.get("type")
    text = " ".join(str(block.get("text", "")) for block in _of_type(blocks, "text"))
    if "omni" in model or kind == "video":
        return _film(exchange, form, blocks)
    if "tts" in model or kind == "audio":
        mime = str(form.get("mime_type") or "audio/l16").lower()
        if mime not in _FORMS:
            raise _refusal(f"response_format.mime_type must be one of {', '.join(_FORMS)}.")
        config = (exchange.body.get("generation_config") or {}).get("speech_config") or []
        speakers = config if isinstance(config, list) else config.get("speakers") or []
        for voice in (str(one.get("voice") or VOICES[0]) for one in speakers):
            if exchange.strict and voice.title() not in VOICES and not voice.startswith("voice_"):
                raise _refusal(f"Voice name {voice} is not supported. Allowed voice names are: {', '.join(VOICES)}")
        rate = int(number(form.get("sample_rate"), 24_000))
        return audio(speech_seconds(text), _FORMS[mime], rate)
    if kind == "image" or "image" in model or "banana" in model:
        wide, high = sides(form.get("aspect_ratio", "1:1")) or (1024, 1024)
        return image(seed_of(exchange), wide, high, str(form.get("mime_type", "image/png")).partition("/")[2])
    return None


def answer_interaction(exchange: Exchange) -> Reply:
    """`POST /v1beta/interactions`."""
    body, blocks = exchange.body, _blocks(exchange.body)
    model = str(body.get("model") or "")
    if not model or "no-such-model" in model:
        raise answered({"error": {"code": "not_found", "message": f"Model {model} is not found."}}, 404)
    form = body.get("response_format") or {}
    form = form[0] if isinstance(form, list) else form
    made = _made(exchange, form, blocks)
    texts = [str(block.get("text", "")) for block in blocks]
    background = bool(body.get("background"))
    if background and body.get("store") is False:
        raise _refusal("background needs store.")
    job = exchange.desk.submit(
        exchange,
        "transcription" if made is None else {"video": "video", "image": "image"}.get(made.kind, "speech"),
        model,
        [] if made is None else [made],
        name=lambda digest: f"v1_{digest[:40]}",
        whole=not background,
        cost=None if made is None or made.kind != "video" else round(made.seconds * _FILM_TOKENS * 17.5e-6, 6),
        extra={"blocked": is_blocked(*texts), "given": sum(tokens_of(text) for text in texts), "form": form,
               "heard": len(_of_type(blocks, "audio")), "base": exchange.path.partition("/interactions")[0]},
    )  # fmt: skip
    value = _interaction(job)
    if body.get("stream"):
        return Stream(frames=_events(job, value))
    return json_reply(value)


def _interaction(job: Job) -> Json:
    value: Json = {"id": job.name, "object": "interaction", "model": job.model, "role": "model"}
    value |= {"created": CREATED_TEXT, "updated": CREATED_TEXT, "service_tier": "standard"}
    if not job.ended:
        return value | {"status": "queued" if job.phase == "queued" else "in_progress"}
    if job.phase == "canceled":
        return value | {"status": "cancelled", "usage": _usage(job, made=False)}
    if job.moderated:
        refusal = {"type": "text", "text": "I cannot make that, since it is against the usage policies."}
        steps = [{"type": "model_output", "content": [refusal]}]
        return value | {"status": "completed", "steps": steps, "usage": _usage(job, made=False)}
    if job.phase == "failed":
        errors = [{"code": "internal", "message": job.failure}]
        return value | {"status": "failed", "errors": errors, "usage": _usage(job, made=False)}
    words, token = _words(job)
    content = [_text_block(job, words)] if not job.artifacts else [_medium_block(job)]
    value |= {"status": "completed", "usage": _usage(job, made=True)}
    if token is not None:
        value |= {"status": "requires_continuation", "continuation_token": token}
    signature = base64.b64encode(b"simulated thought").decode()
    steps = [{"type": "thought", "signature": signature}, {"type": "model_output", "content": content}]
    return value | {"steps": steps}


def _words(job: Job) -> tuple[list[tuple[str, float, float]], str | None]:
    """What is heard in this hop with its times, and where the next one begins, when it is asked to come in several."""
    words = timed_words(said(job), _HEARD_SECONDS)
    if "hops" not in job.model:
        return words, None
    begun = int(job.body.get("continuation_token") or 0)
    ended = begun + _WORDS_A_HOP
    return words[begun:ended], str(ended) if ended < len(words) else None


def _text_block(job: Job, words: list[tuple[str, float, float]]) -> Json:
    config = (job.body.get("generation_config") or {}).get("transcription_config") or {}
    mode = config.get("mode") or {}
    annotations = []
    for word, start, end in words if isinstance(mode, dict) else ():
        one: Json = {"type": "word_info", "text": word}
        if mode.get("timestamp_granularities"):
            one |= {"start_offset": f"{start:.3f}s", "end_offset": f"{end:.3f}s"}
        if mode.get("diarization_mode"):
            one["speaker"] = "spk_1" if start < _HEARD_SECONDS / 2 else "spk_2"
        if len(one) > 2:
            annotations.append(one)
    text = " ".join(word for word, _, _ in words)
    return {"type": "text", "text": text} | ({"annotations": annotations} if annotations else {})


def _medium_block(job: Job) -> Json:
    made, form = job.artifacts[0], job.extra["form"]
    mime = f"audio/l16;rate={made.rate}" if made.form == "pcm" else str(form.get("mime_type") or made.content_type)
    block: Json = {"type": made.kind, "mime_type": mime}
    if form.get("delivery") == "uri":
        base = f"{job.origin}/google{job.extra['base']}"
        if job.has("foreign_url"):
            base = "https://generativelanguage.example.invalid/v1beta"
        return block | {"uri": f"{base}/files/{job.token}0:download?alt=media"}
    content = made.content() if not job.has("wrong_media_type") else b"<!doctype html><html></html>"
    return block | {"data": base64.b64encode(content).decode()}


def _usage(job: Job, *, made: bool) -> Json:
    kind, count = "text", tokens_of(said(job))
    if not made:
        count = 12
    elif job.artifacts:
        artifact = job.artifacts[0]
        kind = artifact.kind
        count = {"video": round(artifact.seconds * _FILM_TOKENS), "image": _PICTURE_TOKENS}.get(
            kind, max(1, round(artifact.seconds * _SOUND_TOKENS))
        )
    heard = round(job.extra["heard"] * _HEARD_SECONDS * _HEARD_TOKENS)
    given = [{"modality": "text", "tokens": job.extra["given"]}]
    given += [{"modality": "audio", "tokens": heard}] if heard else []
    total = job.extra["given"] + heard
    value: Json = {"total_input_tokens": total, "input_tokens_by_modality": given, "total_output_tokens": count}
    value |= {"output_tokens_by_modality": [{"modality": kind, "tokens": count}], "total_thought_tokens": 0}
    return value | {"total_tokens": total + count, "total_cached_tokens": 0, "total_tool_use_tokens": 0}


def _events(job: Job, value: Json) -> Iterator[Frame]:
    """The same as events, each medium in pieces."""
    around = {"id": job.name, "object": "interaction", "model": job.model, "status": "in_progress"}
    yield _event("interaction.created", {"interaction": around})
    for index, step in enumerate(value.get("steps") or ()):
        yield _event("step.start", {"index": index, "step": {"type": step["type"]}})
        for block in step.get("content") or ():
            for delta in _deltas(block):
                yield _event("step.delta", {"index": index, "delta": delta}, tokens=1)
        yield _event("step.stop", {"index": index})
    rest = {name: found for name, found in value.items() if name != "steps"}
    yield _event(f"interaction.{value['status']}", {"interaction": rest}, last=True)


_PIECE = 16_384


def _deltas(block: Json) -> Iterator[Json]:
    if "data" not in block:
        yield block
        return
    content = base64.b64decode(block["data"])
    for begin in range(0, len(content), _PIECE):
        yield block | {"data": base64.b64encode(content[begin : begin + _PIECE]).decode()}


def _event(name: str, value: Json, tokens: int = 0, *, last: bool = False) -> Frame:
    return event_frame(name, value | {"event_type": name}, tokens, last=last)


def answer_kept(exchange: Exchange) -> Reply:
    """`GET` and `DELETE /v1beta/interactions/{id}`, and `POST …/cancel`. One that is not known is a bad request."""
    job = exchange.desk.find("google", exchange.groups["job"])
    unknown = _refusal("Invalid interaction name.")
    if job is None or job.deleted:
        raise unknown
    if exchange.path.endswith("/cancel"):
        job.cancel()
        return json_reply(_interaction(job))
    if exchange.method == "DELETE":
        job.deleted = True
        return json_reply({})
    job.polls += 1
    if job.has("missing_at_first") and job.fault is not None and job.polls <= job.fault.polls:
        raise unknown
    return json_reply(_interaction(job))


def _sort(exchange: Exchange) -> SandboxOperation:
    model = str(exchange.body.get("model") or "")
    return next((kind for part, kind in _KINDS if part in model), "chat")


ROUTES: tuple[Route, ...] = (
    route(r"POST /interactions", "video", "gemini", answer_interaction, sort=_sort),
    route(r"GET|DELETE /interactions/(?P<job>[^/]+)", "poll", "gemini", answer_kept),
    route(r"POST /interactions/(?P<job>[^/]+)/cancel", "cancel", "gemini", answer_kept),
)
