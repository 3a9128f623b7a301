"""The endpoints that each provider of media has for itself."""

from __future__ import annotations

from collections.abc import Mapping

from polyroute.sandbox.media import replicate
from polyroute.sandbox.route import Route

MEDIA_ROUTES: Mapping[str, tuple[Route, ...]] = {
    "replicate": replicate.ROUTES,
}
