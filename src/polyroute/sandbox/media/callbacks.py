"""Callbacks to the caller's address, signed as each provider signs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

import aiohttp
import msgspec

from polyroute.sandbox.media import ed25519

SVIX_SECRET = "whsec_" + base64.b64encode(b"polyroute-sandbox-replicate").decode()
SHARED_SECRET = "sandbox-webhook-secret"  # noqa: S105 - public, and worth nothing
FAL_SEED = hashlib.sha256(b"polyroute sandbox fal").digest()
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One POST. With `at_start` another one says that the job has begun."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    at_start: bool = False


async def post(call: Callback) -> int | None:
    """Send it, following no redirect; the status, or None when nobody answered."""
    headers = {"content-type": "application/json", "x-polyroute-simulated": "1", **call.headers}
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.post(call.url, data=call.body, headers=headers, allow_redirects=False) as response,
        ):
            return response.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None


def svix(name: str, body: bytes) -> dict[str, str]:
    """Replicate's headers: HMAC-SHA256 over id, time and body."""
    stamp = str(int(time.time()))
    key = base64.b64decode(SVIX_SECRET.removeprefix("whsec_"))
    signed = hmac.new(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    value = f"v1,{base64.b64encode(signed).decode()}"
    return {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": value}


def fal(request_id: str, body: bytes) -> dict[str, str]:
    """fal's headers: Ed25519 over request, user, time and the body's digest."""
    stamp, user = str(int(time.time())), "sandbox-user"
    text = f"{request_id}\n{user}\n{stamp}\n{hashlib.sha256(body).hexdigest()}"
    return {
        "x-fal-webhook-request-id": request_id,
        "x-fal-webhook-user-id": user,
        "x-fal-webhook-timestamp": stamp,
        "x-fal-webhook-signature": ed25519.sign(FAL_SEED, text.encode()).hex(),
    }


def kie(task: str) -> dict[str, str]:
    """Kie's headers: HMAC-SHA256 over task and time, not over the body."""
    stamp = str(int(time.time()))
    signed = hmac.new(SHARED_SECRET.encode(), f"{task}.{stamp}".encode(), hashlib.sha256).digest()
    return {"x-webhook-timestamp": stamp, "x-webhook-signature": base64.b64encode(signed).decode()}


def elevenlabs(body: bytes) -> dict[str, str]:
    """ElevenLabs' header: HMAC-SHA256 over time and body."""
    stamp = str(int(time.time()))
    signed = hmac.new(SHARED_SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"elevenlabs-signature": f"t={stamp},v0={signed}"}


def bfl(body: bytes, secret: str) -> dict[str, str]:
    """BFL's header: HMAC-SHA256 over the body with the caller's own secret."""
    signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-bfl-signature": f"sha256={signed}"} if secret else {}
