"""Speech services that people run themselves: whisper-asr-webservice, speaches, Chatterbox."""

from __future__ import annotations

from typing import Any

from polyroute.sandbox.audio import answer_speech, answer_transcription, answer_translation
from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.exchange import Exchange, Json, Reply, Whole, json_reply
from polyroute.sandbox.media.artifacts import audio, speech_seconds
from polyroute.sandbox.media.call import answered, bytes_reply, encoded, number, said, timed_words
from polyroute.sandbox.route import Route, route

_ASR_OUTPUTS = ("txt", "vtt", "srt", "tsv", "json")
_VOICES = ("Abigail.wav", "Adrian.wav", "Alexander.wav", "Emily.wav", "Olivia.wav")


def _of(line: str, operation: SandboxOperation, answer: Any) -> Route:
    return route(line, operation, "media", answer)


def _missing(place: str, field: str) -> Exception:
    return answered(
        {"detail": [{"type": "missing", "loc": [place, field], "msg": "Field required", "input": None}]}, 422
    )


async def answer_asr(exchange: Exchange) -> Reply:
    """whisper-asr-webservice' `POST /asr`: text whatever is asked for, JSON too."""
    upload = next((item for item in exchange.uploads if item.field == "audio_file"), None)
    if upload is None:
        raise _missing("body", "audio_file")
    if upload.size < 16:
        raise answered({"detail": "Failed to load audio"}, 500)
    form = exchange.query.get("output", "txt")
    if form not in _ASR_OUTPUTS:
        raise answered(
            {"detail": [{"loc": ["query", "output"], "msg": "Input should be 'txt', 'vtt', 'srt', 'tsv' or 'json'"}]},
            422,
        )
    if exchange.query.get("task", "transcribe") not in ("transcribe", "translate"):
        raise answered(
            {"detail": [{"loc": ["query", "task"], "msg": "Input should be 'transcribe' or 'translate'"}]}, 422
        )
    job = exchange.desk.submit(exchange, "transcription", "base", [], name=lambda digest: digest[:16], cost=0.0)
    await exchange.desk.settled(job)
    text, seconds = said(job), 3.0
    segment: Json = {"id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": f" {text}", "tokens": [50364]}
    segment |= {"temperature": 0.0, "avg_logprob": -0.2, "compression_ratio": 1.1, "no_speech_prob": 0.01}
    if exchange.query.get("word_timestamps") == "true":
        segment["words"] = [
            {"word": f" {word}", "start": start, "end": end, "probability": 0.99}
            for word, start, end in timed_words(text, seconds)
        ]
    language = exchange.query.get("language", "en")
    body = {
        "json": encoded({"text": f" {text}", "segments": [segment], "language": language}).decode(),
        "vtt": f"WEBVTT\n\n00:00.000 --> 00:03.000\n{text}\n\n",
        "srt": f"1\n00:00:00,000 --> 00:00:03,000\n{text}\n\n",
        "tsv": f"start\tend\ttext\n0\t3000\t{text}\n",
        "txt": f"{text}\n",
    }[form]
    headers = {
        "asr-engine": "openai_whisper",
        "content-disposition": f'attachment; filename="{upload.filename}.{form}"',
    }
    return Whole(body=body.encode(), content_type="text/plain; charset=utf-8", headers=headers)


def answer_language(exchange: Exchange) -> Reply:
    """whisper-asr-webservice' `POST /detect-language`."""
    if not exchange.uploads:
        raise _missing("body", "audio_file")
    return json_reply({"detected_language": "english", "language_code": "en", "confidence": 0.98})


def answer_openapi(exchange: Exchange) -> Reply:
    """`GET /openapi.json` and `/docs`: what says that the service is up."""
    return json_reply(
        {"openapi": "3.1.0", "info": {"title": "Whisper Asr Webservice", "version": "1.9.1"}, "paths": {}}
    )


WHISPER: tuple[Route, ...] = (
    _of(r"POST /asr", "transcription", answer_asr),
    _of(r"POST /detect-language", "transcription", answer_language),
    _of(r"GET /(openapi\.json|docs)", "other", answer_openapi),
)


def _loaded(exchange: Exchange) -> None:
    """A model that is not there must be downloaded first."""
    model = str(exchange.body.get("model") or "")
    if model and model not in exchange.profile.models and not exchange.memory.find("models", model):
        raise answered(
            {"detail": f"Model '{model}' is not installed locally. You can download the model using POST /v1/models"},
            404,
        )


def answer_speaches(exchange: Exchange) -> Reply:
    """speaches' speech, transcriptions and translations, as OpenAI's."""
    _loaded(exchange)
    if "speech" in exchange.path:
        return answer_speech(exchange)
    return answer_translation(exchange) if "translations" in exchange.path else answer_transcription(exchange)


def answer_speaches_models(exchange: Exchange) -> Reply:
    """speaches' models: listed by task, read, downloaded, deleted."""
    name = exchange.groups.get("model")
    if name is None:
        speaks = exchange.query.get("task") == "text-to-speech"
        hears = exchange.query.get("task") == "automatic-speech-recognition"
        names = [name for name in exchange.profile.models if not (speaks and "whisper" in name)]
        names = [name for name in names if not (hears and "whisper" not in name)]
        return json_reply({"object": "list", "data": [_speaches_model(name) for name in names]})
    if exchange.method == "POST":
        if "no-such-model" in name:
            raise answered({"detail": f"Model '{name}' not found"}, 404)
        exchange.memory.keep("models", name, True)
        return Whole(body=f"Model '{name}' downloaded".encode(), content_type="text/plain", status=201)
    if name not in exchange.profile.models and not exchange.memory.find("models", name):
        raise answered({"detail": f"Model '{name}' not found"}, 404)
    return json_reply(_speaches_model(name))


def _speaches_model(name: str) -> Json:
    task = "automatic-speech-recognition" if "whisper" in name else "text-to-speech"
    return {"id": name, "object": "model", "created": 0, "owned_by": name.partition("/")[0], "task": task}


def answer_speaches_state(exchange: Exchange) -> Reply:
    """speaches' `/health`, `/api/ps`, `/v1/audio/voices`, `/v1/registry`."""
    if exchange.path.endswith("/health"):
        return json_reply({"message": "OK"})
    if exchange.path.endswith("/voices"):
        return json_reply([{"id": "af_heart", "name": "af_heart", "model_id": exchange.profile.models[-1]}])
    if exchange.path.endswith("/ps"):
        return json_reply({"models": list(exchange.profile.models[:1])})
    return json_reply({"object": "list", "data": [_speaches_model(name) for name in exchange.profile.models]})


SPEACHES: tuple[Route, ...] = (
    route(r"POST /audio/speech", "speech", "openai_other", answer_speaches),
    route(r"POST /audio/(transcriptions|translations)", "transcription", "openai_other", answer_speaches),
    _of(r"GET /(health|api/ps|audio/voices|audio/models|registry)", "other", answer_speaches_state),
    _of(r"GET /models", "models", answer_speaches_models),
    _of(r"GET|POST|DELETE /models/(?P<model>.+)", "models", answer_speaches_models),
)


def _references(exchange: Exchange) -> list[str]:
    found: list[str] = exchange.memory.find("references", "all") or []
    return found


async def answer_tts(exchange: Exchange) -> Reply:
    """Chatterbox' `POST /tts`."""
    body = exchange.body
    if not body.get("text"):
        raise _missing("body", "text")
    mode = str(body.get("voice_mode") or "predefined")
    field = "predefined_voice_id" if mode == "predefined" else "reference_audio_filename"
    voice = body.get(field)
    if not voice:
        raise answered({"detail": f"Missing '{field}' for '{mode}' voice mode."}, 400)
    return await _spoken(exchange, str(body["text"]), str(voice), mode, body)


async def answer_tts_openai(exchange: Exchange) -> Reply:
    """Chatterbox' `POST /v1/audio/speech`."""
    body = exchange.body
    if not body.get("input"):
        raise _missing("body", "input")
    shaped = {"output_format": body.get("response_format"), "speed_factor": body.get("speed")}
    return await _spoken(exchange, str(body["input"]), str(body.get("voice") or _VOICES[3]), "any", shaped)


async def _spoken(exchange: Exchange, text: str, voice: str, mode: str, given: Json) -> Reply:
    known = {"predefined": [*_VOICES], "clone": _references(exchange)}.get(mode, [*_VOICES, *_references(exchange)])
    if voice not in known:
        kind = "Reference audio" if mode == "clone" else "Voice"
        raise answered({"detail": f"{kind} file '{voice}' not found."}, 404)
    form = str(given.get("output_format") or "wav")
    if form not in ("wav", "opus", "mp3"):
        raise answered(
            {"detail": [{"loc": ["body", "output_format"], "msg": "Input should be 'wav', 'opus' or 'mp3'"}]}, 422
        )
    made = audio(speech_seconds(text, number(given.get("speed_factor"), 1.0)), form, 24_000)
    job = exchange.desk.submit(exchange, "speech", "chatterbox", [made], name=lambda digest: digest[:16], cost=0.0)
    await exchange.desk.settled(job)
    if job.phase == "failed":
        raise answered({"detail": job.failure}, 500)
    return bytes_reply(made)


def answer_chatterbox_voices(exchange: Exchange) -> Reply:
    """Chatterbox' lists of voices and references, and its state."""
    match exchange.path.rpartition("/")[2]:
        case "voices":
            return json_reply({"status": "success", "voices": [{"id": name, "name": name[:-4]} for name in _VOICES]})
        case "get_predefined_voices":
            return json_reply([{"display_name": name[:-4], "filename": name} for name in _VOICES])
        case "get_reference_files":
            return json_reply(_references(exchange))
    value: Json = {"loaded": True, "type": "turbo", "class_name": "ChatterboxTurboTTS", "device": "cpu"}
    return json_reply(value | {"sample_rate": 24_000, "supports_paralinguistic_tags": True})


def answer_reference(exchange: Exchange) -> Reply:
    """Chatterbox' `POST /upload_reference`, `/upload_predefined_voice`."""
    good, errors = [], []
    for upload in exchange.uploads:
        if upload.filename.lower().endswith((".wav", ".mp3")):
            good.append(upload.filename)
        else:
            errors.append({"filename": upload.filename, "error": "Invalid file type. Only .wav and .mp3 are allowed."})
    everything = sorted({*_references(exchange), *good})
    exchange.memory.keep("references", "all", everything)
    if good:
        exchange.desk.submit(exchange, "clone", "chatterbox", [], name=lambda digest: digest[:16], whole=True, cost=0.0)
    value: Json = {"message": f"Processed {len(exchange.uploads)} file(s).", "uploaded_files": good, "errors": errors}
    return json_reply(value | {"all_reference_files": everything}, status=200 if good else 400)


def answer_admin(exchange: Exchange) -> Reply:
    """Chatterbox' `/restart_server`, `/api/unload`."""
    return json_reply({"message": "Done.", "restart_needed": False})


CHATTERBOX: tuple[Route, ...] = (
    _of(r"POST /tts", "speech", answer_tts),
    _of(r"POST /v1/audio/speech", "speech", answer_tts_openai),
    _of(r"GET /(v1/audio/voices|get_predefined_voices|get_reference_files)", "voices", answer_chatterbox_voices),
    _of(r"GET /api/model-info", "other", answer_chatterbox_voices),
    _of(r"POST /upload_(reference|predefined_voice)", "clone", answer_reference),
    _of(r"POST /(restart_server|api/unload)", "other", answer_admin),
)
