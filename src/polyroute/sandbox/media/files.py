"""Serves what jobs made and what clients gave, and breaks the delivery in the way that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from polyroute.sandbox.delivery import SIMULATED
from polyroute.sandbox.media.artifacts import Artifact
from polyroute.sandbox.media.jobs import Desk, Job

_PAGE = b"<!doctype html><html><head><title>Not your film</title></head><body>Please log in.</body></html>"
_DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>'
_HUGE = 1 << 50
_SLOW_PIECE = 1024
_SLOW_PAUSE = 0.5


async def serve_file(desk: Desk, request: web.Request) -> web.StreamResponse:
    """`GET /_media/{name}`: a result (`{token}-{place}.{extension}`) or a client's file."""
    name = request.match_info["name"]
    upload = desk.upload(name)
    if upload is not None:
        body = upload.data if upload.data is not None else bytes(upload.size)
        return web.Response(body=body, headers={"content-type": upload.content_type, **SIMULATED})
    token, _, rest = name.partition("-")
    place = rest.partition(".")[0]
    job = desk.by_token(token)
    if job is None or not place.isdecimal() or int(place) >= len(job.artifacts) or job.phase != "succeeded":
        return web.Response(status=404, text="Not Found", headers=SIMULATED)
    return await send_artifact(request, job, job.artifacts[int(place)])


async def send_artifact(
    request: web.Request, job: Job, artifact: Artifact, headers: Mapping[str, str] = MappingProxyType({})
) -> web.StreamResponse:
    """One file of a job, with the fault that the job has."""
    job.downloads += 1
    if not job.gives_out(request.query):
        return web.Response(status=403, body=_DENIED, content_type="application/xml", headers=SIMULATED)
    everything = {"content-type": artifact.content_type, "accept-ranges": "bytes", **headers, **SIMULATED}
    if job.has("wrong_media_type"):
        return web.Response(body=_PAGE, headers=everything)
    if job.has("redirected_file"):
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")
    if job.has("huge_file"):
        response = web.StreamResponse(headers=everything)
        response.content_length = _HUGE
        await response.prepare(request)
        await response.write(artifact.content())
        _abort(request)
        return response
    data = await asyncio.to_thread(artifact.content)
    if job.has("cut_file") or job.has("slow_file"):
        response = web.StreamResponse(headers=everything)
        response.content_length = len(data)
        await response.prepare(request)
        if job.has("cut_file"):
            await response.write(data[: len(data) // 2])
            _abort(request)
            return response
        for start in range(0, len(data), _SLOW_PIECE):
            await response.write(data[start : start + _SLOW_PIECE])
            await asyncio.sleep(_SLOW_PAUSE)
        return response
    return _ranged(request, data, everything)


def _ranged(request: web.Request, data: bytes, headers: dict[str, str]) -> web.Response:
    wanted = request.http_range if "range" in request.headers else slice(None)
    if wanted.start is None and wanted.stop is None:
        return web.Response(body=data, headers=headers)
    start, stop, _ = wanted.indices(len(data))
    headers["content-range"] = f"bytes {start}-{stop - 1}/{len(data)}"
    return web.Response(status=206, body=data[start:stop], headers=headers)


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
