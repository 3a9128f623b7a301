"""AWS Bedrock's Converse API: its request and answer, and the binary frames of its streams."""

from __future__ import annotations

from polyroute.dialects.bedrock_converse.codec import CODEC

__all__ = ["CODEC"]
