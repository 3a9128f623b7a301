"""Videos in OpenAI's form, which others imitate since OpenAI gave it up (media.md 3C)."""

from __future__ import annotations

from typing import Any, Literal

from polyroute.ports import FormPart, MediaWire
from polyroute.providers.media.geometry import nearest_number
from polyroute.providers.media.intents import need_input
from polyroute.providers.media.reach import check_most
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import Fitted, Handle, MediaRequest, Outcome, Produced, Progress, Task
from polyroute.types.usage import Usage

_SIZES = {"16:9": "1280x720", "9:16": "720x1280"}
_KEPT = frozenset({
    "task", "prompt", "inputs", "n", "duration", "width", "height", "aspect_ratio", "options", "idempotency_key",
})  # fmt: skip
_RUNNING: dict[str, Literal["queued", "running"]] = {"queued": "queued", "in_progress": "running"}


class Videos:
    """Implements `ports.Queued`. Servers disagree on details, so each is read in every form that was seen."""

    resubmits = False
    pace = (2.0, 15.0)

    def __init__(self, path: str, provider: str, seconds: tuple[float, ...] = (4, 8, 12)) -> None:
        self._path = path
        self._provider = provider
        self._seconds = seconds

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Length and size from what there is to choose."""
        dropped = [
            name
            for name in request.__struct_fields__
            if name not in _KEPT and getattr(request, name) not in (None, (), {})
        ]
        if request.task is Task.VIDEO_TO_VIDEO:
            need_input(request, "video")
        roles = ("video",) if request.task is Task.VIDEO_TO_VIDEO else ("first_frame", "image", "reference")
        dropped += [item.role for item in request.inputs if item.role not in roles]
        dropped += ["n"] if request.n > 1 else []
        notes = []
        if (
            request.duration is not None
            and (found := nearest_number(request.duration, self._seconds)) != request.duration
        ):
            check_most("duration", request.duration, found, self._seconds)
            notes.append(f"duration {request.duration:g} became {found:g}")
        return Fitted(request=request, dropped=tuple(dict.fromkeys(dropped)), notes=tuple(notes))

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Ask for a video, or for another one of a video."""
        if request.task is Task.VIDEO_TO_VIDEO:
            return await self._change(request, wire)
        fields: dict[str, str] = {"model": model, "prompt": request.prompt or ""}
        if request.duration is not None:
            fields["seconds"] = f"{nearest_number(request.duration, self._seconds):g}"
        if request.width and request.height:
            fields["size"] = f"{request.width}x{request.height}"
        elif request.aspect_ratio in _SIZES:
            fields["size"] = _SIZES[request.aspect_ratio]
        fields |= {name: str(value) for name, value in request.options.get(self._provider, {}).items()}
        frames = [item for item in request.inputs if item.role in ("first_frame", "image", "reference")]
        if frames:
            content, media_type = await wire.input_body(frames[0])
            parts = [FormPart(name=name, value=value) for name, value in fields.items()]
            filename = frames[0].name or f"frame.{media_type.partition('/')[2]}"
            parts.append(FormPart(name="input_reference", value=content, filename=filename, media_type=media_type))
            reply = await wire.call("POST", self._path, form=tuple(parts), creates=True)
        else:
            reply = await wire.call("POST", self._path, json=fields, creates=True)
        video = reply.json()
        return Handle(id=str(video["id"]), data={"seconds": fields.get("seconds")})

    async def _change(self, request: MediaRequest, wire: MediaWire) -> Handle:
        """A remix of what this provider made; any other film is sent to be edited. The model is the film's own."""
        film = need_input(request, "video")
        fields = {"prompt": request.prompt or "", **request.options.get(self._provider, {})}
        if work := film.own_work(self._provider):
            reply = await wire.call("POST", f"{self._path}/{work}/remix", json=fields, creates=True)
        else:
            content, media_type = await wire.input_body(film)
            parts = [FormPart(name=name, value=str(value)) for name, value in fields.items()]
            filename = film.name or f"film.{media_type.partition('/')[2]}"
            parts.append(FormPart(name="video", value=content, filename=filename, media_type=media_type))
            reply = await wire.call("POST", f"{self._path}/edits", form=tuple(parts), creates=True)
        return Handle(id=str(reply.json()["id"]))

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """How far it is."""
        video: dict[str, Any] = (await wire.call("GET", f"{self._path}/{handle.id}")).json()
        status = str(video.get("status"))
        if status in _RUNNING:
            percent = video.get("progress")
            return Progress(state=_RUNNING[status], percent=None if percent is None else float(percent))
        if status == "completed":
            seconds = video.get("seconds") or handle.data.get("seconds")
            address = video.get("video_url") or video.get("url")
            produced = (
                Produced(url=str(address))
                if address
                else Produced(url=f"{wire.base_url}{self._path}/{handle.id}/content", authenticated=True)
            )
            usage = Usage(
                video_seconds=None if seconds is None else float(seconds), video_size=video.get("size"),
                raw=video.get("usage"),
            )  # fmt: skip
            return Outcome(produced=(produced,), usage=usage, model=video.get("model"), upstream_id=handle.id)
        error = video.get("error") if isinstance(video.get("error"), dict) else {}
        code, message = str((error or {}).get("code") or ""), str((error or {}).get("message") or status)
        kind = ErrorKind.CONTENT_FILTERED if "moderation" in code or "policy" in code else ErrorKind.GENERATION_FAILED
        raise AttemptFailed(Failure(kind=kind, message=f"The video failed: {message[:200]}", code=code or None))

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Deleting it is all there is."""
        await wire.call("DELETE", f"{self._path}/{handle.id}", accept=(404,))
