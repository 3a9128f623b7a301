"""URLs that read one artifact without a key, until they expire."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from urllib.parse import quote

_PURPOSE = b"polyroute artifact urls"


class UrlSigner:
    """Signs with a secret of its own, derived from the server-side one that `secret` gives when first asked."""

    def __init__(self, secret: Callable[[], bytes], clock: Callable[[], float]) -> None:
        self._read = secret
        self._clock = clock
        self._key: bytes | None = None

    def sign(self, identifier: str, lasts: float) -> str:
        """The path of a URL that is good for `lasts` seconds."""
        expires = str(int(self._clock() + lasts))
        signature = self._signature(identifier, expires)
        return f"/v1/files/{quote(identifier, safe='')}/content?expires={expires}&signature={signature}"

    def verify(self, identifier: str, expires: str, signature: str) -> bool:
        """Whether it was signed here and has not expired."""
        genuine = hmac.compare_digest(
            self._signature(identifier, expires).encode(), signature.encode("utf-8", "surrogatepass")
        )
        return genuine and int(expires) > self._clock()

    def _signature(self, identifier: str, expires: str) -> str:
        if self._key is None:
            self._key = hmac.digest(self._read(), _PURPOSE, "sha256")
        signed = f"{identifier}\n{expires}".encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(hmac.digest(self._key, signed, "sha256")).rstrip(b"=").decode()
