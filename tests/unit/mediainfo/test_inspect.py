"""What a file is, told from its bytes alone: real files of every format, crafted headers, and nonsense."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.mediainfo import FileBytes, ending_of, inspect_media, sniff
from polyroute.types.artifacts import MediaFacts
from support.media_files import PNG, mp4, png, wav

PICTURE = ("-f", "lavfi", "-i", "testsrc=s=322x182:r=25:d=2")
TONE = ("-f", "lavfi", "-i", "sine=r=44100:d=2")


def facts(data: bytes, declared: str | None = None) -> MediaFacts:
    return inspect_media(FileBytes(data), declared)


def made(folder: Path, name: str, *arguments: str) -> bytes:
    """A file by ffmpeg."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed")
    command = [ffmpeg, "-v", "error", "-y", *arguments, str(folder / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode and "Unknown encoder" in done.stderr:
        pytest.skip(f"this ffmpeg cannot write {name}")
    assert done.returncode == 0, done.stderr
    return (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("ending", "media_type"),
    [("png", "image/png"), ("jpg", "image/jpeg"), ("gif", "image/gif"), ("webp", "image/webp"), ("bmp", "image/bmp"),
     ("tiff", "image/tiff"), ("avif", "image/avif")],
)  # fmt: skip
def test_real_images(tmp_path: Path, ending: str, media_type: str) -> None:
    found = facts(made(tmp_path, f"i.{ending}", *PICTURE, "-frames:v", "1"), "text/html")
    assert (found.media_type, found.family, found.width, found.height) == (media_type, "image", 322, 182)


@pytest.mark.parametrize(
    ("ending", "media_type"),
    [("mp4", "video/mp4"), ("mov", "video/quicktime"), ("mkv", "video/x-matroska"), ("webm", "video/webm"),
     ("avi", "video/x-msvideo")],
)  # fmt: skip
def test_real_videos(tmp_path: Path, ending: str, media_type: str) -> None:
    found = facts(made(tmp_path, f"v.{ending}", *PICTURE, *TONE, "-shortest"))
    assert (found.media_type, found.family, found.width, found.height) == (media_type, "video", 322, 182)
    assert found.fps == pytest.approx(25, abs=0.01)
    assert found.duration_s == pytest.approx(2, abs=0.06)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("a.mp3", "audio/mpeg"), ("a.wav", "audio/wav"), ("a.ogg", "audio/ogg"), ("a.opus", "audio/ogg"),
     ("a.flac", "audio/flac"), ("a.aac", "audio/aac"), ("a.m4a", "audio/mp4"), ("a.mp4", "audio/mp4"),
     ("a.webm", "audio/webm")],
)  # fmt: skip
def test_real_sounds(tmp_path: Path, name: str, media_type: str) -> None:
    found = facts(made(tmp_path, name, *TONE), "video/mp4")
    assert (found.media_type, found.family, found.width) == (media_type, "audio", None)
    assert found.duration_s == pytest.approx(2, abs=0.06)


def test_a_streamed_wav_lasts_as_long_as_its_bytes() -> None:
    whole = wav(1.5)
    streamed = whole[:40] + b"\xff\xff\xff\xff" + whole[44:]
    assert (facts(whole).duration_s, facts(streamed).duration_s) == (1.5, 1.5)


def test_sound_in_a_movie_is_sound() -> None:
    assert facts(mp4(kind=b"soun")).media_type == "audio/mp4"
    assert facts(mp4(1.5, 640, 360, 30)) == MediaFacts(
        media_type="video/mp4", family="video", width=640, height=360, duration_s=1.5, fps=30.0
    )


@pytest.mark.parametrize(
    ("data", "declared", "media_type", "family"),
    [
        (b"<!DOCTYPE html><p>no", "video/mp4", "text/html", None),
        (b" \n<HTML>", "image/png", "text/html", None),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml", "image/svg+xml", None),
        (b'<?xml version="1.0"?><svg/>', None, "image/svg+xml", None),
        (b"<?xml version='1.0'?><Error/>", "image/png", "application/xml", None),
        (b"WEBVTT\n\n00:00.000 --> 00:01.000\nHi", "text/plain", "text/vtt", "text"),
        (b"\xef\xbb\xbf1\r\n00:00:00,000 --> 00:00:01,000\r\nHi", None, "application/x-subrip", "text"),
        (b'{"a": 1}', "video/mp4", "application/json", "text"),
        (b'{"a": 1}\n{"a": 2}\n', "application/jsonl", "application/jsonl", "text"),
        ("tiếng Việt".encode(), "text/markdown; charset=utf-8", "text/markdown", "text"),
        ("tiếng Việt".encode(), "image/png", "text/plain", "text"),
        (b"\x00\x01\x02\x03" * 50, "image/png", "application/octet-stream", None),
        (bytes(48_000), "audio/l16;rate=24000;channels=1", "audio/l16", "audio"),
        (b"MZ\x90\x00", "audio/mpeg", "application/octet-stream", None),
        (b"%PDF-1.7", None, "application/pdf", None),
        (b"PK\x03\x04", "image/png", "application/zip", None),
        (b"\xff\xfe" + "text".encode("utf-16-le"), "audio/mpeg", "application/octet-stream", None),
    ],
)  # fmt: skip
def test_what_is_said_of_a_file_is_not_believed(
    data: bytes, declared: str, media_type: str, family: str | None
) -> None:
    found = facts(data, declared)
    assert (found.media_type, found.family) == (media_type, family)


def test_bare_samples_last_as_long_as_their_rate_says() -> None:
    assert facts(bytes(48_000), "audio/l16;rate=24000;channels=1").duration_s == 1.0
    assert facts(bytes(48_000), "audio/pcm").duration_s is None


def test_text_may_be_cut_within_a_character_only_where_it_is_read_in_part() -> None:
    long = "ü".encode() * 4096
    assert facts(b"a" + long).media_type == "text/plain"
    assert facts(long[:5]).media_type == "application/octet-stream"


@pytest.mark.parametrize("claim", [(1, 1), (65_535, 65_535), (2**31 - 1, 2**31 - 1)])
def test_an_images_claim_is_read_however_large(claim: tuple[int, int]) -> None:
    data = PNG[:16] + struct.pack(">II", *claim) + PNG[24:]
    found = facts(data)
    assert (found.width, found.height) == claim


def test_endings() -> None:
    assert [ending_of(name) for name in ("video/mp4", "audio/mpeg", "image/jpeg", "x/y")] == [
        "mp4",
        "mp3",
        "jpg",
        "bin",
    ]


STARTS = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\xff\0\0\0WEBPVP8X", b"RIFF\xff\0\0\0WAVEfmt ",
    b"RIFF\xff\0\0\0AVI LIST", b"OggS\0\0", b"fLaC\0\0\0\x22", b"ID3\x04\0\0\0\0\0\0", b"\x1aE\xdf\xa3", b"II*\0\x08\0\0\0",
    b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypisom", b"BM", b"\xff\xf1\x50\x80", b"\xff\xfb\x90\x00", b"",
)  # fmt: skip


@given(st.sampled_from(STARTS), st.binary(max_size=300))
@settings(max_examples=300)
def test_nonsense_has_facts_too(start: bytes, rest: bytes) -> None:
    found = facts(start + rest)
    assert found.media_type.count("/") == 1
    assert sniff(start + rest) in (found.media_type, None) or found.family is not None


@given(st.sampled_from([PNG, png(5, 5), wav(0.01), mp4()]), st.data())
@settings(max_examples=300)
def test_damage_is_no_reason_to_fail(data: bytes, draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(data) - 1))
    damaged = data[:place] + draw.draw(st.binary(max_size=9)) + data[place + draw.draw(st.integers(0, 40)) :]
    found = facts(damaged)
    assert found.duration_s is None or found.duration_s >= 0
