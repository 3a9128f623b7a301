"""Composing and masks through the whole gateway, with the real ffmpeg and what the sandbox's providers made."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest

from polyroute.types.errors import PolyrouteError
from support.film_clips import FFMPEG, FFPROBE, clip, color_at, make, plays, probe
from support.local_services import local_gateway
from support.media_files import png
from support.media_gateway import MediaGateway, media_gateway
from support.own_vocabulary import Watched, ask_in_own_words
from support.scripted_provider import ScriptedProvider, whole

pytestmark = pytest.mark.skipif(FFMPEG is None or FFPROBE is None, reason="ffmpeg and ffprobe are not installed")


async def test_uploads_become_a_stored_film_with_its_progress_and_entry(gateway: MediaGateway, tmp_path: Path) -> None:
    first = clip(tmp_path / "first.mp4", 1.0, color="red")
    second = clip(tmp_path / "second.webm", 0.8, "160x120", "24", color="blue", tone=None)
    ids = []
    for file in (first, second):
        upload = {"file": (file.name, file.read_bytes(), "application/octet-stream")}
        ids.append((await gateway.post("/v1/files", files=upload, data={"purpose": "user_data"})).json()["id"])
    watched = Watched()
    timeline = {"clips": [{"source": ids[0]}, {"source": 0}], "width": 320, "height": 180, "fps": 25}
    made = await ask_in_own_words(
        gateway,
        "ffmpeg/ffmpeg",
        watched,
        task="compose",
        timeline=timeline,
        inputs=[{"role": "video", "artifact": ids[1]}],
    )
    [artifact] = made["artifacts"]
    assert (artifact["media_type"], artifact["width"], artifact["height"]) == ("video/mp4", 320, 180)
    content = b"".join([block async for block in gateway.app.media.artifacts.open(artifact["id"])])
    film = tmp_path / "film.mp4"
    film.write_bytes(content)
    plays(film)
    assert int(probe(film)["video"]["nb_read_frames"]) == 45
    assert color_at(film, 0.5, 160, 90)[0] > 200
    assert color_at(film, 1.5, 160, 90)[2] > 200
    percents = [one.percent for one in watched.seen if one.percent is not None]
    assert percents == sorted(percents)
    assert made["usage"]["seconds"] == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("timeline", "param"),
    [
        ({"clips": []}, "timeline.clips"),
        ({"clips": [{"source": 4}]}, "timeline.clips[0].source"),
        ({"clips": [{"source": "file-unknown"}]}, "reference"),
        ({"clips": [{"source": "http://169.254.169.254/latest/meta-data"}]}, "reference"),
        ({"clips": [{"source": "/etc/passwd"}]}, "timeline.clips[0].source"),
        ({"clips": [{"source": "data:text/plain;base64,aGVsbG8gd29ybGQ="}]}, "reference"),
    ],
)
async def test_what_cannot_be_composed_is_the_callers_error(
    gateway: MediaGateway, timeline: dict[str, object], param: str
) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask_in_own_words(gateway, "ffmpeg/ffmpeg", task="compose", timeline=timeline)
    assert refused.value.status == 400
    assert refused.value.param == param


async def test_a_mask_that_is_transparent_where_to_paint_becomes_white_there(
    gateway: MediaGateway, tmp_path: Path
) -> None:
    mask = make(
        tmp_path / "mask.png", "-f", "lavfi", "-i", "color=c=white:s=64x64,format=rgba,geq=r=0:g=0:b=0:a='255*lt(X,32)'",
        "-frames:v", "1",
    )  # fmt: skip
    files = {"image": ("a.png", png(64, 64), "image/png"), "mask": ("mask.png", mask.read_bytes(), "image/png")}
    data = {"model": "automatic1111/default", "prompt": "a hat", "size": "512x512"}
    await gateway.post("/v1/images/edits", files=files, data=data)
    [call] = [row for row in await gateway.seen("automatic1111") if row["path"].endswith("/img2img")]
    sent = tmp_path / "sent.png"
    sent.write_bytes(base64.b64decode(call["body"]["mask"]))
    assert color_at(sent, 0, 10, 30) == (0, 0, 0)
    assert color_at(sent, 0, 50, 30) == (255, 255, 255)


async def test_masks_go_back_and_forth(gateway: MediaGateway, tmp_path: Path) -> None:
    masks = gateway.app.media.floor().storage.masks
    assert masks is not None
    white = make(
        tmp_path / "white.png",
        "-f",
        "lavfi",
        "-i",
        "color=c=black:s=32x32,format=gray,geq=lum='255*gt(X,15)'",
        "-frames:v",
        "1",
    )
    clear = tmp_path / "clear.png"
    clear.write_bytes(await masks.to_transparent(white))
    assert "a" in probe(clear)["video"]["pix_fmt"]
    back = tmp_path / "back.png"
    back.write_bytes(await masks.to_white(clear))
    assert color_at(back, 0, 4, 4) == (0, 0, 0)
    assert color_at(back, 0, 28, 28) == (255, 255, 255)
    with pytest.raises(PolyrouteError) as refused:
        await masks.to_white(white)
    assert refused.value.param == "mask"


async def test_without_ffmpeg_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyroute.composition.configuration.find_ffmpeg", lambda _path: None)
    async with local_gateway(tmp_path, {"automatic1111": "automatic1111"}) as gateway:
        assert "ffmpeg" not in gateway.app.gateway.runtime.providers
        skipped = {one.name: one.reason for one in gateway.app.gateway.runtime.catalog.skipped}
        assert "the extra `media`" in skipped["ffmpeg"]
        files = {"image": ("a.png", png(64, 64), "image/png"), "mask": ("mask.png", png(64, 64), "image/png")}
        answer = await gateway.post(
            "/v1/images/edits", status=400, files=files, data={"model": "automatic1111/default", "prompt": "x"}
        )
        assert "extra 'media'" in answer.json()["error"]["message"]


async def test_the_timeline_of_the_documentation_is_made(tmp_path: Path, gateway: MediaGateway) -> None:
    text = (Path(__file__).parents[4] / "docs" / "media.md").read_text(encoding="utf-8")
    timeline = text.partition("<!-- timeline -->")[2].partition("```json")[2].partition("```")[0]
    files = {
        "file-intro": clip(tmp_path / "intro.mp4", 2.0), "file-talk": clip(tmp_path / "talk.mp4", 2.5, "480x270"),
        "file-music": make(tmp_path / "music.wav", "-f", "lavfi", "-i", "sine=frequency=600:duration=1"),
    }  # fmt: skip
    for name, file in files.items():
        upload = {"file": (file.name, file.read_bytes(), "application/octet-stream")}
        made = (await gateway.post("/v1/files", files=upload, data={"purpose": "user_data"})).json()["id"]
        timeline = timeline.replace(name, made)
    picture = "data:image/png;base64," + base64.b64encode(png(64, 48)).decode()
    made = await ask_in_own_words(
        gateway,
        "ffmpeg/ffmpeg",
        task="compose",
        timeline=json.loads(timeline),
        inputs=[{"role": "image", "url": picture}],
    )
    film, *pictures = made["artifacts"]
    assert film["duration_s"] == pytest.approx(1.5 + 2.5 / 1.25 - 0.5 + 2, abs=1 / 30)
    assert [one["width"] for one in pictures] == [160, 160]


async def test_a_white_mask_is_made_transparent_for_openai(tmp_path: Path) -> None:
    mask = make(
        tmp_path / "mask.jpg", "-f", "lavfi", "-i", "color=c=black:s=64x64,format=gray,geq=lum='255*gt(X,31)'",
        "-frames:v", "1",
    )  # fmt: skip
    made = whole(msgspec.json.encode({"data": [{"b64_json": base64.b64encode(png(8, 8)).decode()}]}))
    with ScriptedProvider(made) as provider:
        entry = {
            "adapter": "openai_compatible",
            "base_url": f"{provider.url}/v1",
            "api_key": "sk-mine",
            "serves": ["image"],
        }
        async with media_gateway(tmp_path, {"providers": {"mine": entry}}) as gateway:
            job = {
                "model": "mine/gpt-image-2", "task": "edit_image", "prompt": "a hat",
                "image": f"data:image/png;base64,{base64.b64encode(png(64, 64)).decode()}",
                "mask": f"data:image/jpeg;base64,{base64.b64encode(mask.read_bytes()).decode()}",
            }  # fmt: skip
            told = (await gateway.post("/v1/jobs", headers={"prefer": "wait=20"}, json=job)).json()
            assert told["status"] == "succeeded", told
    [received] = provider.received
    assert received.target == "/v1/images/edits"
    part = received.body.partition(b'name="mask"')[2]
    head, _, content = part.partition(b"\r\n\r\n")
    assert b"image/png" in head
    sent = tmp_path / "sent.png"
    sent.write_bytes(content[: content.index(b"IEND") + 8])
    assert probe(sent)["video"]["pix_fmt"] == "rgba"
    alpha = make(tmp_path / "alpha.png", "-i", str(sent), "-vf", "alphaextract", "-frames:v", "1")
    assert color_at(alpha, 0, 8, 30)[0] > 240
    assert color_at(alpha, 0, 56, 30)[0] < 16
