"""Providers whose API is spread over several hosts."""

from __future__ import annotations

from urllib.parse import urlsplit


def on_host(base_url: str, home: str, host: str) -> str:
    """The address of one of a provider's hosts: itself while the row's base URL is at `home`; below the base URL, under the
    host's name, where the provider is reached at another address (a relay of one's own, the sandbox).

    >>> on_host("https://queue.fal.run", "queue.fal.run", "api.fal.ai")
    'https://api.fal.ai'
    >>> on_host("http://127.0.0.1:9900/fal", "queue.fal.run", "api.fal.ai")
    'http://127.0.0.1:9900/fal/api.fal.ai'
    """
    return f"https://{host}" if urlsplit(base_url).hostname == home else f"{base_url}/{host}"
