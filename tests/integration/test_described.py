"""The OpenAPI document of media, jobs and pipelines: every path that it names is served, and answers as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polyroute.engine.jobs.requests import read_media_request
from support.json_schema import problems, references
from support.media_files import png
from support.media_gateway import MediaGateway, media_gateway

WAIT = {"prefer": "wait=20"}
PICTURE = {"model": "replicate/black-forest-labs/flux-schnell", "task": "text_to_image", "prompt": "a red fox"}
FILM = {"model": "replicate/luma/ray-2-720p", "prompt": "a red fox"}


class Described:
    """Asks the gateway, and holds what it answers against the document."""

    def __init__(self, gateway: MediaGateway, document: dict[str, Any]) -> None:
        self.asked: set[tuple[str, str]] = set()
        self._gateway = gateway
        self._document = document

    async def ask(self, method: str, path: str, status: int = 200, *, id: str = "", **more: Any) -> Any:  # noqa: A002
        """The JSON (or text) of an answer that is as described."""
        operation = self._document["paths"][path][method]
        answer = await self._gateway.http.request(method, path.replace("{id}", id), **more)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text[:500])
        self.asked.add((method, path))
        told = operation["responses"].get(str(status)) or operation["responses"]["default"]
        schemas = self._document["components"]["schemas"]
        if "application/json" not in told["content"]:
            return answer
        value = answer.json()
        assert problems(value, told["content"]["application/json"]["schema"], schemas) == []
        if "json" in more and status < 300:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert problems(more["json"], schema, schemas) == []
        return value


async def test_every_path_is_served_and_answers_as_it_is_described(tmp_path: Path) -> None:
    async with media_gateway(tmp_path) as gateway:
        document = (await gateway.http.get("/v1/openapi.json")).json()
        assert document["openapi"] == "3.1.0"
        known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert references(document) <= known
        served = Described(gateway, document)
        ask = served.ask
        form = {"files": {"file": ("a.png", png(64, 48), "image/png")}, "data": {"purpose": "user_data"}}
        file = (await ask("post", "/v1/files", **form))["id"]
        await ask("get", "/v1/files")
        await ask("get", "/v1/files/{id}", id=file)
        await ask("get", "/v1/files/{id}/content", id=file)
        job = await ask("post", "/v1/jobs", 202, json=PICTURE)
        await ask("get", "/v1/jobs/{id}", id=job["id"], headers=WAIT)
        await ask("get", "/v1/jobs/{id}/events", id=job["id"])
        await ask("get", "/v1/jobs")
        await ask("delete", "/v1/jobs/{id}", id=job["id"])
        timeline = {"clips": [{"source": file, "duration": 0.2}], "width": 64, "height": 48, "fps": 10}
        composed = {"timeline": timeline, "model": "ffmpeg/ffmpeg"}
        await ask("post", "/v1/compose", 202, json=composed)
        await ask("post", "/v1/compose", 400, json={"timeline": {"clips": []}})
        steps = [{"id": "say", "chat": "Hello", "model": "openai/gpt-4o-mini"}, {"id": "paint", **PICTURE}]
        pipeline = (await ask("post", "/v1/pipelines", 202, json={"steps": steps}))["id"]
        done = await ask("get", "/v1/pipelines/{id}", id=pipeline, headers=WAIT)
        assert done["status"] == "succeeded", done
        await ask("get", "/v1/pipelines/{id}/events", id=pipeline)
        await ask("get", "/v1/pipelines")
        await ask("post", "/v1/pipelines/{id}/resume", 409, id=pipeline)
        await ask("delete", "/v1/pipelines/{id}", id=pipeline)
        await ask("get", "/v1/voices")
        video = (await ask("post", "/v1/videos", json=FILM))["id"]
        await gateway.http.get(f"/v1/jobs/{video}", headers=WAIT)
        await ask("get", "/v1/videos/{id}", id=video)
        await ask("get", "/v1/videos")
        await ask("get", "/v1/videos/{id}/content", id=video)
        await ask("post", "/v1/videos/{id}/remix", 400, id=video, json={"prompt": "in blue"})
        await ask("delete", "/v1/videos/{id}", id=video)
        await ask("delete", "/v1/files/{id}", id=file)
        described = {
            (method, path) for path, item in document["paths"].items() for method in item if method != "parameters"
        }
        assert served.asked == described
        whole = (await gateway.http.get("/api/openapi.json")).json()
        assert set(document["paths"]) < set(whole["paths"])
        assert references(whole) <= {f"#/components/schemas/{name}" for name in whole["components"]["schemas"]}
        assert whole["components"]["schemas"]["Job"] == document["components"]["schemas"]["Job"]


async def test_the_fields_of_an_order_are_those_that_are_read(tmp_path: Path) -> None:
    async with media_gateway(tmp_path) as gateway:
        document = (await gateway.http.get("/v1/openapi.json")).json()
    order = document["components"]["schemas"]["JobOrder"]["properties"]
    ours = {"model", "async", "webhook", "polyroute"}
    assert ours < set(order)
    source = "https://example.com/a"
    samples: dict[str, Any] = {
        "inputs": [{"role": "image", "url": source}],
        "timeline": {"clips": [{"source": source}]},
    }
    for name in sorted(set(order) - ours - {"task"}):
        kind = order[name].get("type") or next(
            (one["type"] for one in order[name].get("anyOf", []) if "type" in one), "string"
        )
        usual = {"integer": 8, "number": 1.0, "boolean": True, "array": [], "object": {}, "string": source}[kind]
        value = samples.get(name, 16_000 if name == "sample_rate" else usual)
        read_media_request({"task": "text_to_image", "prompt": "a fox", name: value})
