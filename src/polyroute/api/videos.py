"""`/v1/videos` in OpenAI's shape, on top of jobs: create, look, list, content, remix, edit, delete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from polyroute.api.exchange import AsgiExchange
from polyroute.api.files import FilePaths
from polyroute.api.jobs import JSON, digest_of, header, job_headers, read_json, read_whole
from polyroute.api.requests import Head, Receive, Scope, Send, read_body, read_form, read_head
from polyroute.dialects.openai_media.videos import USUAL_MODEL, parse_video, video_details, video_object
from polyroute.dialects.openai_media.words import OF_VIDEOS, in_words
from polyroute.engine.envelope import invalid, read_options
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.desk import JobDesk, NewJob
from polyroute.ports import Headers, Intake
from polyroute.types.artifacts import Artifact, MediaFamily
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import Job, JobState
from polyroute.types.media import MediaInput, MediaRequest, Task
from polyroute.types.operations import Dialect
from polyroute.types.records import KeyRecord

_PATTERN = re.compile(r"/v1/videos(?:/([^/]+)(/content|/remix)?)?")
_VARIANTS: dict[str, MediaFamily] = {"video": "video", "thumbnail": "image", "spritesheet": "image"}


class VideoPaths:
    """The paths of videos."""

    def __init__(self, gateway: Gateway, desk: JobDesk, files: FilePaths, *, max_body: int, max_form: int) -> None:
        self._gateway = gateway
        self._desk = desk
        self._files = files
        self._max_body = max_body
        self._max_form = max_form

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is one of these."""
        return path == "/v1/videos" or path.startswith("/v1/videos/")

    async def answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """One request. Raises PolyrouteError (before the answer begins), ClientGone."""
        head = read_head(scope["headers"])
        key = self._gateway.admission.admit(head.credential)
        exchange = AsgiExchange(scope, receive, send)
        method, path = scope["method"], scope["path"].rstrip("/")
        found = _PATTERN.fullmatch(path)
        identifier = unquote(found[1]) if found is not None and found[1] else ""
        below = found[2] if found is not None else None
        match method:
            case "POST" if path == "/v1/videos":
                try:
                    job = await self._create(scope, receive, head, key)
                except PolyrouteError as error:
                    self._gateway.refused(request_id, Dialect.MEDIA_VIDEO, key, error)
                    raise
                await exchange.answer(200, job_headers(job), _render(job))
            case "POST" if identifier and below == "/remix":
                body = await read_body(receive, head, self._max_body)
                job = await self._remix(scope, head, read_json(body), identifier, key)
                await exchange.answer(200, job_headers(job), _render(job))
            case "POST" if path == "/v1/videos/edits":
                job = await self._edit(scope, receive, head, key)
                await exchange.answer(200, job_headers(job), _render(job))
            case "GET" if path == "/v1/videos":
                await exchange.answer(200, JSON, await self._list(scope["query_string"], key))
            case "GET" if identifier and below is None:
                job = await self._find(identifier, key)
                headers: Headers = [*job_headers(job)]
                await exchange.answer(200, headers, _render(job))
            case "GET" | "HEAD" if below == "/content":
                artifact = await self._content(identifier, scope["query_string"], key)
                await self._files.send_artifact(scope, send, artifact.id)
            case "DELETE" if identifier and below is None:
                await self._find(identifier, key)
                await self._desk.remove(identifier, key)
                deleted = {"id": identifier, "object": "video.deleted", "deleted": True}
                await exchange.answer(200, JSON, msgspec.json.encode(deleted))
            case _:
                raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no {method} {path} here.")

    # ---------------------------------------------------------------- make

    async def _create(self, scope: Scope, receive: Receive, head: Head, key: KeyRecord | None) -> Job:
        values, files, digest = await self._read(receive, head, "input_reference", key)
        return await self._submit(parse_video(values, files), values, head, scope, digest, key)

    async def _read(
        self, receive: Receive, head: Head, name: str, key: KeyRecord | None
    ) -> tuple[Mapping[str, Any], list[MediaInput], str]:
        """The fields, the files (all under one name) and a digest of a request, JSON or a form."""
        if not head.content_type.startswith(b"multipart/form-data"):
            body = await read_body(receive, head, self._max_body)
            return read_json(body), [], digest_of(body)
        form = await read_form(receive, head, self._max_form)
        owner = None if key is None else key.id
        try:
            values = form.values()
            files = []
            for upload in form.uploads():
                if upload.name != name:
                    raise invalid(f"'{upload.name}' takes no file; '{name}' does.", upload.name)
                intake = Intake(
                    origin="upload", declared=upload.media_type, param=name, retain=self._desk.deadline, owner=owner
                )  # fmt: skip
                artifact = await self._desk.floor.storage.artifacts.put(form.read(upload), intake)
                files.append(MediaInput(role=_role_of(artifact), artifact=artifact.id, media_type=artifact.media_type))
        finally:
            form.close()
        inner = {given[len(name) + 1 : -1]: value for given, value in values.items() if given.startswith(f"{name}[")}
        if inner:
            values = {**values, name: inner}
        named = [b"%s" % (one.artifact or "").encode() for one in files]
        return values, files, digest_of(msgspec.json.encode(values, order="sorted"), *named)

    async def _submit(
        self, request: MediaRequest, values: Mapping[str, Any], head: Head, scope: Scope, digest: str,
        key: KeyRecord | None, more: Mapping[str, Any] | None = None,
    ) -> Job:  # fmt: skip
        model = values.get("model") or USUAL_MODEL
        if not isinstance(model, str):
            raise invalid("'model' must be the name of a route, or provider/model.", "model")
        options = values.get("polyroute")
        raw = options if isinstance(options, str) or options is None else msgspec.Raw(msgspec.json.encode(options))
        new = NewJob(
            model=model, request=request, surface="videos", options=read_options(raw, head.options),
            details={**video_details(values), **(more or {})},
            idempotency_key=header(scope["headers"], b"idempotency-key"), digest=digest,
        )  # fmt: skip
        try:
            return await self._desk.submit(new, key)
        except PolyrouteError as error:
            error.param, error.message = in_words(OF_VIDEOS, error.param, error.message)
            raise

    async def _remix(
        self, scope: Scope, head: Head, values: Mapping[str, Any], identifier: str, key: KeyRecord | None
    ) -> Job:
        """The same video with another prompt, by the same model unless another is named."""
        source = await self._find(identifier, key)
        video = _first(source, "video")
        attempts = await self._desk.store.attempts(identifier)
        made = next((one for one in attempts if one.phase == "succeeded" and one.handle is not None), None)
        work = None if made is None or made.handle is None else f"{made.provider}/{made.handle.id}"
        film = MediaInput(role="video", artifact=video.id, media_type=video.media_type, made_by=work)
        asked = {
            **source.order.details, "model": values.get("model") or source.order.model,
            "polyroute": values.get("polyroute"),
        }  # fmt: skip
        digest = digest_of(identifier.encode(), msgspec.json.encode(values, order="sorted"))
        return await self._submit(_changed(film, values), asked, head, scope, digest, key, {"remixed_from": identifier})

    async def _edit(self, scope: Scope, receive: Receive, head: Head, key: KeyRecord | None) -> Job:
        """A remix of a video that was made here, or of one that is sent along."""
        values, files, digest = await self._read(receive, head, "video", key)
        given = values.get("video")
        if not files:
            if not isinstance(given, dict) or not isinstance(given.get("id"), str):
                raise invalid("'video' must be a file, or {id} of a video that was made here.", "video")
            return await self._remix(scope, head, values, given["id"], key)
        if len(files) > 1 or files[0].role != "video":
            raise invalid("'video' must be one film.", "video")
        return await self._submit(_changed(files[0], values), values, head, scope, digest, key)

    # ---------------------------------------------------------------- look

    async def _find(self, identifier: str, key: KeyRecord | None) -> Job:
        job = await self._desk.get(identifier, key)
        if job.order.surface != "videos":
            raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no video {identifier[:80]!r}.", param="video_id")
        return job

    async def _list(self, query: bytes, key: KeyRecord | None) -> bytes:
        asked = parse_qs(query.decode("latin-1"), keep_blank_values=True)
        limit = read_whole(asked, "limit", 20, 100)
        order = asked.get("order", ["desc"])[-1]
        if order not in ("asc", "desc"):
            raise invalid(f"'order' is '{order[:20]}'; it must be asc or desc.", "order")
        found = await self._desk.list(
            key, surface="videos", after=asked.get("after", [None])[-1], limit=limit + 1, newest_first=order == "desc"
        )
        shown = found[:limit]
        return msgspec.json.encode(
            {
                "object": "list",
                "data": [video_object(job) for job in shown],
                "first_id": shown[0].id if shown else None,
                "last_id": shown[-1].id if shown else None,
                "has_more": len(found) > limit,
            }
        )

    async def _content(self, identifier: str, query: bytes, key: KeyRecord | None) -> Artifact:
        variant = parse_qs(query.decode("latin-1")).get("variant", ["video"])[-1]
        if variant not in _VARIANTS:
            raise invalid(f"'variant' is {variant[:40]!r}; there are {', '.join(_VARIANTS)}.", "variant")
        return _first(await self._find(identifier, key), _VARIANTS[variant])


def _changed(film: MediaInput, values: Mapping[str, Any]) -> MediaRequest:
    prompt = values.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise invalid("'prompt' is required: what shall be different.", "prompt")
    return MediaRequest(task=Task.VIDEO_TO_VIDEO, prompt=prompt, inputs=(film,))


def _render(job: Job) -> bytes:
    return msgspec.json.encode(video_object(job))


def _first(job: Job, family: MediaFamily) -> Artifact:
    """The first result of a kind. Raises PolyrouteError: what to wait for, or that there is none."""
    if job.state is not JobState.SUCCEEDED or job.result is None:
        raise invalid(f"The video {job.id} is {job.state}; its content is there when it is completed.", "video_id")
    found = next((one for one in job.result.artifacts if one.family == family), None)
    if found is None:
        raise PolyrouteError(
            ErrorKind.NOT_FOUND, f"The video {job.id} came without {family}: its provider made none.", param="variant"
        )
    return found


def _role_of(artifact: Artifact) -> Any:
    return "video" if artifact.family == "video" else "first_frame"
