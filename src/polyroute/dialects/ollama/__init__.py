"""Ollama's own chat API (`/api/chat`); `generate` holds its sibling `/api/generate`."""

from __future__ import annotations

from polyroute.dialects.ollama.codec import CODEC

__all__ = ["CODEC"]
