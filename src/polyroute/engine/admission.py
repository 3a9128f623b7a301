"""Who may ask, and for what."""

from __future__ import annotations

from polyroute.ports import Call, KeyStore
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.records import KeyRecord


class Admission:
    """Checks keys. `keys` is None in open mode, where everybody on this machine may ask."""

    def __init__(self, keys: KeyStore | None) -> None:
        self._keys = keys

    def admit(self, presented: str | None) -> KeyRecord | None:
        """The key of the caller; None in open mode. Raises PolyrouteError(unauthorized)."""
        if self._keys is None:
            return None
        if not presented:
            raise PolyrouteError(
                ErrorKind.UNAUTHORIZED,
                "No key was sent. Send yours as 'Authorization: Bearer KEY' or 'x-api-key: KEY'.",
                code="invalid_api_key",
            )
        key = self._keys.find(presented)
        if key is None or key.revoked_at is not None:
            why = "This key is not known here." if key is None else f"The key '{key.name}' has been revoked."
            raise PolyrouteError(
                ErrorKind.UNAUTHORIZED, f"{why} 'polyroute keys create' makes a new one.", code="invalid_api_key"
            )
        return key

    def known(self, key_id: str) -> KeyRecord | None:
        """The key of this id as it is now, for work that was admitted before; None where there are no keys (any more)."""
        return None if self._keys is None else self._keys.named(key_id)


def user_of(call: Call) -> str | None:
    """Whom a call counts for: the key's user, and only where it has none the one whom the caller names."""
    key = call.key
    return (None if key is None else key.user_id) or call.options.user


def check_route(call: Call, route: str) -> None:
    """Raises PolyrouteError(forbidden) when the caller's key is not for this route."""
    key = call.key
    if key is not None and key.routes is not None and route not in key.routes:
        allowed = ", ".join(key.routes) or "none"
        raise PolyrouteError(
            ErrorKind.FORBIDDEN, f"The key '{key.name}' may not use '{route}'. It may use: {allowed}.", param="model"
        )
