"""A gateway over the sandbox for each module of adapter tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.media_gateway import MediaGateway, media_gateway


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[MediaGateway]:
    """With every built-in provider on."""
    async with media_gateway(tmp_path) as made:
        yield made
