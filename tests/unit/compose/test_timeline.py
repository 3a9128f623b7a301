"""Timelines as callers write them, and the arithmetic of frames, for whatever lengths and rates there are."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.compose.graph import GraphWriter
from polyroute.compose.planning import plan_timeline
from polyroute.compose.probing import Probe, nearest_rate, read_banner, read_ffprobe
from polyroute.compose.timeline import parse_timeline
from polyroute.types.errors import ErrorKind, PolyrouteError

CLIP = {"source": "art_1"}


@pytest.mark.parametrize(
    ("value", "param", "told"),
    [
        ("x", "timeline", "must be an object"),
        ({"clips": [{}]}, "timeline.clips[0].source", "is required"),
        ({"clips": [{**CLIP, "sped": 2}]}, "timeline.clips[0].sped", "is no field"),
        ({"clips": [{**CLIP, "speed": 99}]}, "timeline.clips[0].speed", "is 99: expected"),
        (
            {"clips": [{**CLIP, "end": 1, "start": 2}]},
            "timeline.clips[0].end",
            "is 1; it must be after 'start', which is 2",
        ),
        ({"clips": [CLIP], "append": [{**CLIP, "end": 1, "start": 2}]}, "timeline.append[0].end", "is 1"),
        ({"clips": [CLIP], "format": "avi"}, "timeline.format", '"avi"'),
        ({"clips": [CLIP], "width": 101, "height": 100}, "timeline.width", "is 101; it must be even"),
        ({"clips": [CLIP], "background": "mauve"}, "timeline.background", "possible are #rrggbb"),
        ({"clips": [CLIP], "overlays": [{"start": 1}]}, "timeline.overlays[0]", "exactly one of"),
        ({"clips": [{**CLIP, "transition": {}}]}, "timeline.clips[0].transition", "first clip"),
    ],
)
def test_mistakes_are_named_with_value_and_choice(value: Any, param: str, told: str) -> None:
    with pytest.raises(PolyrouteError) as refused:
        parse_timeline(value)
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, param)
    assert told in refused.value.message


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.05, 20), st.floats(0.25, 4)), min_size=1, max_size=12),
    st.sampled_from([24, 25, 29.97, 30, 23.976, 59.94]),
)
def test_frames_add_up_however_odd_the_lengths_are(parts: list[tuple[float, float]], fps: float) -> None:
    clips = [{"source": f"art_{number}", "speed": speed} for number, (_, speed) in enumerate(parts)]
    probes: dict[str | int, Probe] = {
        f"art_{number}": Probe(duration=seconds, width=64, height=48, fps=Fraction(25), audio=bool(number % 2))
        for number, (seconds, _) in enumerate(parts)
    }
    plan = plan_timeline(parse_timeline({"clips": clips, "fps": fps}), probes)
    assert plan.frames == sum(segment.frames for segment in plan.segments)
    exact = sum(seconds / speed for seconds, speed in parts)
    assert abs(plan.frames / nearest_rate(fps) - exact) <= len(parts) * 1e-3 + 1 / fps
    graph = GraphWriter(plan, None).write()
    labels = [part.count("[") - part.count("]") for part in graph.filters.split(";")]
    assert not any(labels)
    assert len(graph.inputs) == len(parts)


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_anything_else_is_refused_politely(value: Any) -> None:
    with pytest.raises(PolyrouteError):
        parse_timeline({"clips": value} if value != [] else value)


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_what_a_caller_writes_never_gets_into_the_graph(text: str) -> None:
    timeline = parse_timeline({"clips": [CLIP], "overlays": [{"text": text + "\u2603"}]})
    plan = plan_timeline(timeline, {"art_1": Probe(duration=2, width=64, height=48, fps=Fraction(25))})
    graph = GraphWriter(plan, "/a/font.ttf").write()
    assert "\u2603" not in graph.filters
    assert graph.texts == {"text-0.txt": text + "\u2603"}


def test_both_ways_of_looking_at_a_file_agree() -> None:
    banner = (
        "Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'x.mp4':\n  Duration: 00:01:02.50, start: 0.000000, bitrate: 1 kb/s\n"
        "  Stream #0:0[0x1](und): Video: h264 (High), yuv420p(progressive), 640x360 [SAR 1:1 DAR 16:9], 29.97 fps, 29.97 tbr\n"
        "    Side data:\n      displaymatrix: rotation of -90.00 degrees\n  Stream #0:1[0x2](und): Audio: aac (LC), 48000 Hz\n"
    )
    json = (
        b'{"streams":[{"codec_type":"video","width":640,"height":360,"avg_frame_rate":"30000/1001","pix_fmt":"yuv420p",'
        b'"duration":"62.5","side_data_list":[{"rotation":-90}]},{"codec_type":"audio"}],"format":{"format_name":"mov,mp4"}}'
    )
    wanted = Probe(duration=62.5, width=360, height=640, fps=Fraction(30000, 1001), audio=True)
    assert read_banner(banner) == wanted
    assert read_ffprobe(json) == wanted
