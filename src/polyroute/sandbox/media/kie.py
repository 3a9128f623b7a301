"""Kie: jobs, the older endpoints of single products, files. Its own errors come in the body of a 200."""

from __future__ import annotations

import base64
from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, hexadecimal, json_reply
from polyroute.sandbox.media import reseller
from polyroute.sandbox.media.artifacts import Artifact, audio, image, video
from polyroute.sandbox.media.call import encoded, film_sides, is_blocked, number, polled, said, seed_of, sides
from polyroute.sandbox.media.callbacks import Callback
from polyroute.sandbox.media.callbacks import kie as signed
from polyroute.sandbox.media.jobs import Job, Upload
from polyroute.sandbox.media.kinds import kind_of
from polyroute.sandbox.route import Route, route

_STATES = {"queued": "queuing", "running": "generating", "succeeded": "success"}
_CREDIT = 0.005


def _fine(data: Any) -> Reply:
    return json_reply({"code": 200, "msg": "success", "data": data})


def _sort(exchange: Exchange) -> SandboxOperation:
    return kind_of(str(exchange.body.get("model") or ""))


def _take(exchange: Exchange, kind: str, model: str, made: list[Artifact], given: Json, product: str = "") -> Job:
    url = exchange.body.get("callBackUrl")
    return exchange.desk.submit(
        exchange,
        kind,
        model,
        made,
        name=lambda digest: digest[:32],
        cost=reseller.price(made, kind),
        extra={"blocked": is_blocked(given.get("prompt")), "product": product},
        callback=None if not url else lambda job: _callback(job, str(url)),
    )


def answer_create(exchange: Exchange) -> Reply:
    """`POST /jobs/createTask`."""
    model, given = str(exchange.body.get("model") or ""), exchange.body.get("input")
    if not model or "no-such-model" in model:
        raise Refused("model_not_found")
    if not isinstance(given, dict) or reseller.missing_prompt(given):
        raise invalid("prompt is required", param="prompt")
    wrong = reseller.bad_field(kind_of(model), given)
    if wrong is not None:
        raise invalid(f"{wrong} is not within the range of allowed options", param=wrong)
    job = _take(exchange, kind_of(model), model, reseller.outputs(exchange, kind_of(model), given), given)
    return _fine({"taskId": job.name})


def _bad(job: Job) -> bool:
    return job.phase in ("failed", "canceled") or (job.phase == "succeeded" and job.extra["blocked"])


def _record(job: Job) -> Json:
    state = "fail" if _bad(job) else "waiting" if job.fraction < 0.1 else _STATES[job.phase]
    created = int(job.submitted_at * 1000)
    value: Json = {
        "taskId": job.name,
        "model": job.model,
        "state": state,
        "resultJson": "",
        "failCode": "",
        "failMsg": "",
    }
    value |= {"param": encoded({"model": job.model, "input": job.body.get("input")}).decode(), "createTime": created}
    value |= {"costTime": 0, "completeTime": 0, "updateTime": created, "progress": job.percent}
    if state == "success":
        found = (
            {"resultObject": {"text": said(job)}} if job.operation == "transcription" else {"resultUrls": job.urls()}
        )
        value["resultJson"] = encoded(found).decode()
        value["creditsConsumed"] = round((job.cost or 0) / _CREDIT, 2)
    elif state == "fail":
        blocked = job.moderated or job.extra["blocked"]
        value |= {"failCode": "400" if blocked else "500", "failMsg": job.failure}
    if job.ended:
        value |= {"costTime": int(job.seconds * 1000), "completeTime": created + int(job.seconds * 1000)}
    return value


def _callback(job: Job, url: str) -> Callback:
    if job.extra["product"]:
        data: Json = {"taskId": job.name, "info": {"resultUrls": [] if _bad(job) else job.urls()}}
        body = encoded({"code": 501 if _bad(job) else 200, "msg": "callback", "data": data})
    else:
        body = encoded({"code": 501 if _bad(job) else 200, "msg": "callback", "data": _record(job)})
    return Callback(url=url, body=body, headers=signed(job.name))


def _found(exchange: Exchange) -> Job:
    job = polled(exchange, exchange.query.get("taskId", ""))
    if job.expired:
        raise Refused("not_found")
    return job


def answer_record(exchange: Exchange) -> Reply:
    """`GET /jobs/recordInfo`."""
    return _fine(_record(_found(exchange)))


def answer_product(exchange: Exchange) -> Reply:
    """The creating endpoint of a single product: Veo, 4o image, Flux Kontext, Suno, Runway, Aleph, Midjourney."""
    product, given = exchange.groups.get("product") or "suno", exchange.body
    if reseller.missing_prompt(given):
        raise invalid("prompt is required", param="prompt")
    aspect = given.get("aspectRatio") or given.get("size")
    if aspect is not None and aspect != "Auto" and sides(aspect) is None:
        raise invalid("aspectRatio is not within the range of allowed options", param="aspectRatio")
    if product == "runway" and str(given.get("quality")) == "1080p" and number(given.get("duration"), 5) > 5:
        raise invalid("1080p is not available for 10 seconds", param="duration")
    kind = {"suno": "music", "gpt4o-image": "image", "flux/kontext": "image", "mj": "image"}.get(product, "video")
    kind = "video" if given.get("taskType") in ("mj_video", "mj_video_hd") else kind
    made: list[Artifact]
    if kind == "music":
        made = [audio(60.0), audio(58.0)]
    elif kind == "video":
        made = [
            video(
                seed_of(exchange), *film_sides(given.get("quality", "720p"), aspect), number(given.get("duration"), 8)
            )
        ]
    else:
        wanted = int(number(given.get("nVariants"), 4 if product == "mj" else 1))
        pair = sides(aspect) or (1024, 1024)
        form = str(given.get("outputFormat") or "png")
        made = [image(seed_of(exchange, place), *pair, form) for place in range(wanted)]
    job = _take(exchange, kind, str(given.get("model") or product), made, given, product)
    return _fine({"taskId": job.name})


def answer_product_record(exchange: Exchange) -> Reply:
    """The reading endpoint of a single product, each with its own test for the end."""
    job = _found(exchange)
    if job.extra["product"] != (exchange.groups.get("product") or "suno"):
        raise Refused("not_found")
    return _fine(_product_record(job))


def _product_record(job: Job) -> Json:
    done = job.phase == "succeeded" and not _bad(job)
    flag = 1 if done else 3 if _bad(job) else 0
    value: Json = {"taskId": job.name, "successFlag": flag, "errorCode": None, "errorMessage": None}
    if flag == 3:
        value |= {"errorCode": 400 if job.moderated else 501, "errorMessage": job.failure}
    urls = job.urls() if done else []
    match job.extra["product"]:
        case "suno":
            blocked = "SENSITIVE_WORD_ERROR" if job.moderated or job.extra["blocked"] else "GENERATE_AUDIO_FAILED"
            songs = [
                {
                    "id": f"{job.token}{place}",
                    "audioUrl": url,
                    "streamAudioUrl": url,
                    "imageUrl": "",
                    "title": "Simulated",
                }
                | {"tags": "", "prompt": "", "duration": job.artifacts[place].seconds, "modelName": job.model}
                for place, url in enumerate(urls)
            ]
            waiting = "PENDING" if job.phase == "queued" else "TEXT_SUCCESS"
            status = "SUCCESS" if done else blocked if _bad(job) else waiting
            return {"taskId": job.name, "status": status, "response": {"taskId": job.name, "sunoData": songs}}
        case "runway":
            state = "success" if done else "fail" if _bad(job) else "generating"
            info = {"videoId": job.token, "videoUrl": urls[0], "imageUrl": ""} if done else None
            return {"taskId": job.name, "state": state, "videoInfo": info, "expireFlag": int(job.expired)} | (
                {"failMsg": job.failure} if _bad(job) else {}
            )
        case "gpt4o-image":
            value |= {"progress": f"{job.fraction:.2f}", "response": {"result_urls": urls} if done else None}
        case "flux/kontext":
            value["response"] = {"resultImageUrl": urls[0], "originImageUrl": None} if done else None
        case "mj":
            value["resultInfoJson"] = {"resultUrls": [{"resultUrl": url} for url in urls]} if done else None
        case _:
            value["response"] = {"resultUrls": urls, "taskId": job.name} if done else None
    return value


def answer_credit(exchange: Exchange) -> Reply:
    """`GET /chat/credit`: a bare number."""
    return _fine(5000)


def answer_link(exchange: Exchange) -> Reply:
    """`POST /common/download-url`: a direct link to a result."""
    return _fine(str(exchange.body.get("url") or ""))


def answer_upload(exchange: Exchange) -> Reply:
    """`POST kieai.redpandaai.co/api/file-…-upload`."""
    name, data, kind = hexadecimal(exchange.digest, "upload", 20), b"", "application/octet-stream"
    if exchange.uploads:
        data, kind = exchange.uploads[0].data or bytes(exchange.uploads[0].size), exchange.uploads[0].content_type
    elif "base64Data" in exchange.body:
        head, _, rest = str(exchange.body["base64Data"]).rpartition(",")
        data, kind = base64.b64decode(rest), head.removeprefix("data:").removesuffix(";base64") or "image/png"
    elif "fileUrl" not in exchange.body:
        raise invalid("file is required", param="file")
    url = exchange.desk.keep_upload(exchange, name, Upload(name=name, content_type=kind, size=len(data), data=data))
    info: Json = {
        "fileName": str(exchange.body.get("fileName") or name),
        "filePath": name,
        "downloadUrl": url,
        "fileUrl": url,
    }
    info |= {"fileSize": len(data), "mimeType": kind}
    return json_reply({"success": True, "code": 200, "msg": "File uploaded successfully", "data": info})


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


_PRODUCT = r"(?P<product>veo|gpt4o-image|flux/kontext|runway|aleph|mj)"
ROUTES: tuple[Route, ...] = (
    _of(r"POST /jobs/createTask", "image", answer_create, sort=_sort),
    _of(r"GET /jobs/recordInfo", "poll", answer_record),
    _of(rf"POST /{_PRODUCT}/generate", "video", answer_product),
    _of(r"POST /generate", "music", answer_product),
    _of(rf"GET /{_PRODUCT}/record-(info|detail)", "poll", answer_product_record),
    _of(r"GET /generate/record-info", "poll", answer_product_record),
    _of(r"GET /chat/credit", "other", answer_credit),
    _of(r"POST /common/download-url", "file", answer_link),
    _of(r"POST /api/file-(base64|stream|url)-upload", "file", answer_upload),
)
