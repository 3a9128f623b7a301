"""Work that takes too long is taken back from Luma and Runway, and made by the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.media_gateway import media_gateway


@pytest.mark.parametrize(
    ("provider", "model"), [("luma_dream_machine", "photon-1"), ("runway", "gen4_image"), ("luma", "uni-1")]
)
async def test_work_that_takes_too_long_is_taken_back_and_made_by_the_next(
    tmp_path: Path, provider: str, model: str
) -> None:
    slow = {"providers": {provider: {"timeouts": {"total": 0.5}}}, "defaults": {"retries": 0}}
    async with media_gateway(tmp_path, slow) as gateway:
        await gateway.fail(provider, "stuck", times=1)
        answer = await gateway.image(f"{provider}/{model}", polyroute={"fallbacks": ["xai/grok-imagine-image"]})
        assert answer.headers["x-polyroute-provider"] == "xai"
        [stuck] = await gateway.jobs(provider)
        # The Agents API has no way to take work back.
        assert stuck["cancels"] == (0 if provider == "luma" else 1)
