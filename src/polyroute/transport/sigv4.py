"""AWS Signature Version 4: the headers that sign a request. Pure; the moment is given.

Source: AWS, "Signature Version 4 signing process" (S3 signs the path as it is sent; other services encode it once more).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from polyroute.ports import Headers

_ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class SigningKey(msgspec.Struct, frozen=True):
    """An access key with its secret; `token` belongs to temporary ones."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"SigningKey({self.access_key!r})"


def sign_request(
    method: str,
    url: str,
    headers: Headers,
    *,
    payload_sha256: str,
    key: SigningKey,
    region: str,
    service: str,
    moment: float,
) -> Headers:
    """`headers` with those of the signature; all of them are signed, and so is the host of `url`."""
    parts = urlsplit(url)
    stamp = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%SZ")
    added: Headers = [(b"x-amz-date", stamp.encode())]
    if service == "s3":
        added.append((b"x-amz-content-sha256", payload_sha256.encode()))
    if key.token is not None:
        added.append((b"x-amz-security-token", key.token.encode()))
    sent = [*headers, *added]
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if parts.port not in (None, 443 if parts.scheme == "https" else 80):
        host = f"{host}:{parts.port}"
    signed = sorted([*_canonical_headers(sent), ("host", host)])
    names = ";".join(name for name, _ in signed)
    path = parts.path or "/"
    canonical = "\n".join((
        method,
        path if service == "s3" else quote(path, safe="/-_.~"),
        _canonical_query(parts.query),
        *(f"{name}:{value}" for name, value in signed),
        "",
        names,
        payload_sha256,
    ))  # fmt: skip
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signature = hmac.digest(_derived(key.secret_key, (stamp[:8], region, service)), to_sign.encode(), "sha256").hex()
    authorization = f"{_ALGORITHM} Credential={key.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return [*sent, (b"authorization", authorization.encode())]


def _derived(secret: str, parts: Sequence[str]) -> bytes:
    value = b"AWS4" + secret.encode()
    for part in (*parts, "aws4_request"):
        value = hmac.digest(value, part.encode(), "sha256")
    return value


def _canonical_headers(headers: Headers) -> list[tuple[str, str]]:
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.decode().lower(), []).append(" ".join(value.decode().split()))
    return [(name, ",".join(several)) for name, several in values.items()]


def _canonical_query(query: str) -> str:
    pairs = [(quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(query, True)]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))
