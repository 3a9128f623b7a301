"""Cohere's chat API, version 2 (`/v2/chat`)."""

from __future__ import annotations

from polyroute.dialects.cohere_v2.codec import CODEC

__all__ = ["CODEC"]
