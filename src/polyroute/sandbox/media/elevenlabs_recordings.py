"""ElevenLabs: speech out of a recording, changed, cleaned or in another language."""

from __future__ import annotations

from aiohttp import web

from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import Direct, Exchange, Json, Reply, Whole, json_reply
from polyroute.sandbox.media.artifacts import audio
from polyroute.sandbox.media.call import answered, polled
from polyroute.sandbox.media.elevenlabs_voices import check
from polyroute.sandbox.media.files import send_artifact
from polyroute.sandbox.route import Route, route

_SECONDS = 3.0


def _uploaded(exchange: Exchange, field: str) -> None:
    if not any(upload.field == field for upload in exchange.uploads):
        raise answered({"detail": [{"loc": ["body", field], "msg": "Field required", "type": "missing"}]}, 422)


def answer_changed(exchange: Exchange) -> Reply:
    """`POST /v1/voice-changer/{voice}` (`speech-to-speech` of old), `/v1/audio-isolation`: the sound itself."""
    _uploaded(exchange, "audio")
    voice = exchange.groups.get("voice")
    if voice is not None:
        check(exchange, voice)
    made = audio(_SECONDS, "mp3", 44_100, 128)
    model = str(exchange.body.get("model_id") or "isolation")
    job = exchange.desk.submit(exchange, "speech", model, [made], name=lambda digest: digest[:20], whole=True)
    if job.moderated:
        raise Refused("content_filter")
    headers = {"request-id": job.name, "character-cost": "50"}
    return Whole(body=made.content(), content_type=made.content_type, headers=headers, tokens=32)


def answer_dub(exchange: Exchange) -> Reply:
    """`POST /v1/dubbing`."""
    _uploaded(exchange, "file")
    if not exchange.body.get("target_lang"):
        raise answered({"detail": [{"loc": ["body", "target_lang"], "msg": "Field required", "type": "missing"}]}, 422)
    extra = {"language": str(exchange.body["target_lang"])}
    made = [audio(_SECONDS, "mp3", 44_100, 128)]
    job = exchange.desk.submit(exchange, "speech", "dubbing", made, name=lambda digest: digest[:20], extra=extra)
    return json_reply({"dubbing_id": job.name, "expected_duration_sec": _SECONDS})


def answer_dubbing(exchange: Exchange) -> Reply:
    """`GET`, `DELETE /v1/dubbing/{id}`."""
    name = exchange.groups["job"]
    job = polled(exchange, name, Refused("not_found", status=404))
    if exchange.method == "DELETE":
        job.cancel()
        return json_reply({"status": "ok"})
    failed = job.phase in ("failed", "canceled")
    status = "failed" if failed else "dubbed" if job.phase == "succeeded" else "dubbing"
    value: Json = {
        "dubbing_id": name,
        "name": "simulated",
        "status": status,
        "target_languages": [job.extra["language"]],
    }
    return json_reply(value | ({"error": job.failure} if failed else {}))


def answer_dubbed(exchange: Exchange) -> Reply:
    """`GET /v1/dubbing/{id}/audio/{language}`."""
    job = polled(exchange, exchange.groups["job"], Refused("not_found", status=404))
    if job.phase != "succeeded" or exchange.groups["language"] != job.extra["language"]:
        raise Refused("not_found", status=404)

    async def send(request: web.Request) -> web.StreamResponse:
        return await send_artifact(request, job, job.artifacts[0])

    return Direct(send)


ROUTES: tuple[Route, ...] = (
    route(r"POST /(voice-changer|speech-to-speech)/(?P<voice>[^/]+)", "speech", "media", answer_changed),
    route(r"POST /audio-isolation", "speech", "media", answer_changed),
    route(r"POST /dubbing", "speech", "media", answer_dub),
    route(r"GET|DELETE /dubbing/(?P<job>[^/]+)", "poll", "media", answer_dubbing),
    route(r"GET /dubbing/(?P<job>[^/]+)/audio/(?P<language>[^/]+)", "file", "media", answer_dubbed),
)
