"""ElevenLabs' voices (listed in pages, cloned, deleted), models and account."""

from __future__ import annotations

from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.exchange import Exchange, Json, Reply, identifier, json_reply
from polyroute.sandbox.media.artifacts import audio
from polyroute.sandbox.media.call import answered, number
from polyroute.sandbox.route import Route, route

_SHELF = "voices"
_KNOWN = {
    "9BWtsMINqrJLrRacOk9x": "Aria",
    "CwhRBWXzGAHq8TQ4Fs17": "Roger",
    "EXAVITQu4vr4xnSDxMaL": "Sarah",
    "JBFqnCBsd6RMkjVDRZzb": "George",
    "21m00Tcm4TlvDq8ikWAM": "Rachel",
}
_NAMES = ("Laura", "Charlie", "Callum", "River", "Liam", "Charlotte", "Alice", "Matilda")
_GENDERS = ("female", "male")


def _premade() -> list[Json]:
    rows = []
    named = _KNOWN | {identifier(name, "voice", 20): name for name in _NAMES}
    for place, (voice, name) in enumerate(named.items()):
        labels = {"accent": "american", "gender": _GENDERS[place % 2], "age": "middle_aged", "use_case": "narration"}
        rows.append(_voice(voice, name, "premade", labels))
    return rows


def _voice(voice: str, name: str, category: str, labels: Json, description: str | None = None) -> Json:
    settings = {"stability": 0.5, "similarity_boost": 0.75, "style": 0.0, "use_speaker_boost": True, "speed": 1.0}
    row: Json = {"voice_id": voice, "name": name, "category": category, "labels": labels, "description": description}
    row |= {"preview_url": None, "settings": settings, "available_for_tiers": [], "samples": None}
    return row | {"fine_tuning": {"is_allowed_to_fine_tune": False, "state": {}}, "is_owner": category == "cloned"}


def _all(exchange: Exchange) -> list[Json]:
    return [*_premade(), *(exchange.memory.find(_SHELF, "cloned") or [])]


def _find(exchange: Exchange, voice: str) -> Json | None:
    return next((row for row in _all(exchange) if voice == row["voice_id"]), None)


def check(exchange: Exchange, voice: str) -> None:
    """Refuse a voice that is not there, in the older envelope: the real one still answers so."""
    if _find(exchange, voice) is not None or not exchange.strict:
        return
    detail = {"status": "voice_not_found", "message": f"A voice for the voice_id {voice} was not found."}
    raise answered({"detail": detail}, 404)


def answer_page(exchange: Exchange) -> Reply:
    """`GET /v2/voices`: searched and in pages."""
    query = exchange.query
    rows = [row for row in _all(exchange) if query.get("search", "").lower() in row["name"].lower()]
    if "category" in query:
        rows = [row for row in rows if row["category"] == query["category"]]
    size = int(number(query.get("page_size"), 10))
    if not 1 <= size <= 100:
        error = {
            "loc": ["query", "page_size"],
            "msg": "Input should be less than or equal to 100",
            "type": "less_than_equal",
        }
        raise answered({"detail": [error]}, 422)
    start = int(number(query.get("next_page_token"), 0))
    more = start + size < len(rows)
    value: Json = {"voices": rows[start : start + size], "has_more": more, "total_count": len(rows)}
    return json_reply(value | {"next_page_token": str(start + size) if more else None})


def answer_all(exchange: Exchange) -> Reply:
    """`GET /v1/voices`, and the library at `/v1/shared-voices`."""
    if exchange.path.endswith("/shared-voices"):
        rows = [row | {"public_owner_id": "sandbox"} for row in _premade()]
        return json_reply({"voices": rows, "has_more": False, "last_sort_id": None})
    return json_reply({"voices": _all(exchange)})


def answer_voice(exchange: Exchange) -> Reply:
    """`GET`, `DELETE /v1/voices/{id}` and its settings."""
    found = _find(exchange, exchange.groups["voice"])
    if found is None:
        message = f"A voice with voice_id '{exchange.groups['voice']}' was not found."
        detail = {"type": "not_found", "code": "voice_not_found", "message": message, "status": "voice_not_found"}
        raise answered({"detail": detail | {"request_id": "sandbox", "param": "voice_id"}}, 404)
    if exchange.method == "DELETE":
        cloned = exchange.memory.find(_SHELF, "cloned") or []
        exchange.memory.keep(_SHELF, "cloned", [row for row in cloned if row is not found])
        return json_reply({"status": "ok"})
    return json_reply(found["settings"] if exchange.path.endswith("/settings") else found)


def answer_add(exchange: Exchange) -> Reply:
    """`POST /v1/voices/add`: an instant clone from recordings."""
    body: Json = exchange.body
    sounds = [upload for upload in exchange.uploads if upload.field in ("files", "files[]")]
    for field, there in (("name", body.get("name")), ("files", sounds)):
        if not there:
            raise answered({"detail": [{"loc": ["body", field], "msg": "Field required", "type": "missing"}]}, 422)
    if any(upload.size < 64 for upload in sounds):
        detail = {"type": "validation_error", "code": "audio_too_short", "message": "Audio is too short."}
        raise answered(
            {"detail": detail | {"status": "audio_too_short", "request_id": "sandbox", "param": "files"}}, 400
        )
    job = exchange.desk.submit(
        exchange, "clone", "instant", [audio(1.0)], name=lambda digest: identifier(digest, "voice", 20), whole=True
    )
    row = _voice(job.name, str(body["name"]), "cloned", {}, body.get("description"))
    exchange.memory.keep(_SHELF, "cloned", [*(exchange.memory.find(_SHELF, "cloned") or []), row])
    return json_reply({"voice_id": job.name, "requires_verification": False})


def answer_models(exchange: Exchange) -> Reply:
    """`GET /v1/models`: a bare list."""
    return json_reply([_model(name) for name in exchange.profile.models])


def _model(name: str) -> Json:
    half = 0.5 if "flash" in name or "turbo" in name else 1.0
    row: Json = {"model_id": name, "name": name.replace("_", " ").title(), "can_do_text_to_speech": True}
    row |= {"can_do_voice_conversion": False, "can_use_style": True, "can_use_speaker_boost": True}
    row |= {"languages": [{"language_id": "en", "name": "English"}], "maximum_text_length_per_request": 10_000}
    row |= {"token_cost_factor": half, "concurrency_group": "standard"}
    return row | {"model_rates": {"character_cost_multiplier": half, "cost_discount_multiplier": 1.0}}


def answer_account(exchange: Exchange) -> Reply:
    """`GET /v1/user/subscription`."""
    value: Json = {"tier": "creator", "character_count": 1000, "character_limit": 100_000, "voice_limit": 30}
    return json_reply(value | {"status": "active", "next_character_count_reset_unix": 1_797_000_000})


def _of(line: str, operation: SandboxOperation, answer: Any) -> Route:
    return route(line, operation, "media", answer)


ROUTES: tuple[Route, ...] = (
    _of(r"GET /v2/voices", "voices", answer_page),
    _of(r"GET /(voices|shared-voices)", "voices", answer_all),
    _of(r"POST /voices/add", "clone", answer_add),
    _of(r"GET|DELETE /voices/(?P<voice>[^/]+)(/settings)?", "voices", answer_voice),
    _of(r"GET /models", "models", answer_models),
    _of(r"GET /user(/subscription)?", "other", answer_account),
)
