"""Whose artifacts are: the key's that made or gave them, and operators'; to everybody else they do not exist."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from polyroute.composition.stores import key_storage
from polyroute.storage.keys import create_key
from support.media_files import PNG, png
from support.media_gateway import MediaGateway, media_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Callers:
    """One gateway, and what each key is called."""

    def __init__(self, gateway: MediaGateway, keys: dict[str, str]) -> None:
        self.gateway = gateway
        self._keys = keys

    async def ask(self, who: str, method: str, path: str, **more: Any) -> httpx.Response:
        """A request with somebody's key."""
        headers = {"authorization": f"Bearer {self._keys[who]}", "prefer": "wait=20"}
        return await self.gateway.http.request(method, path, headers=headers, **more)

    async def job(self, who: str, **fields: Any) -> httpx.Response:
        """A job that is waited for."""
        return await self.ask(who, "POST", "/v1/jobs", json=fields)

    async def picture(self, who: str, prompt: str) -> str:
        """The id of a picture that somebody had made."""
        made = await self.job(who, model="image", task="text_to_image", prompt=prompt)
        assert made.status_code == 200, made.text
        found: str = made.json()["artifacts"][0]["id"]
        return found

    async def reads(self, who: str, identifier: str) -> int:
        """The status of reading it."""
        return (await self.ask(who, "GET", f"/v1/files/{identifier}/content")).status_code


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callers]:
    """Ann and Ben, who have nothing to do with each other, and an operator."""
    folder = tmp_path_factory.mktemp("owners")
    async with media_gateway(folder, {"auth": {"mode": "keys"}}) as gateway:
        database, pepper = key_storage(gateway.app.settings)
        keys = {
            name: create_key(database, pepper, name=name, operator=name == "op")[0] for name in ("ann", "ben", "op")
        }
        found = Callers(gateway, keys)
        for name in keys:
            while (await found.ask(name, "GET", "/v1/files")).status_code == 401:
                pass
        yield found


async def test_a_result_is_read_by_who_had_it_made_and_by_operators(callers: Callers) -> None:
    picture = await callers.picture("ann", "a lighthouse")
    assert await callers.reads("ann", picture) == 200
    assert await callers.reads("op", picture) == 200
    assert await callers.reads("ben", picture) == 404


async def test_an_artifact_of_another_is_no_input(callers: Callers) -> None:
    picture = await callers.picture("ann", "a harbour")
    asked = {"model": "image", "task": "image_to_image", "prompt": "at night", "image": picture}
    refused = await callers.job("ben", **asked)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "image"
    assert f"there is no file or artifact '{picture}'" in refused.json()["error"]["message"]
    timeline = {"clips": [{"source": picture, "duration": 0.2}], "width": 16, "height": 16}
    refused = await callers.ask("ben", "POST", "/v1/compose", json={"timeline": timeline})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "timeline.clips[0].source")
    assert (await callers.job("ann", **asked)).json()["status"] == "succeeded"
    by_operator = await callers.job("op", **asked)
    assert by_operator.json()["status"] == "succeeded", by_operator.text


async def test_the_same_bytes_belong_to_all_who_gave_them(callers: Callers) -> None:
    given = {"file": ("a.png", png(7, 5), "image/png")}
    for who in ("ann", "ben"):
        made = await callers.ask(who, "POST", "/v1/files", files=given, data={"purpose": "vision"})
        assert made.status_code == 200
        file = made.json()
        artifact = f"art_{file['sha256'][:40]}"
        assert await callers.reads(who, file["id"]) == 200
        assert await callers.reads(who, artifact) == 200
        if who == "ann":
            assert await callers.reads("ben", artifact) == 404
            assert await callers.reads("ben", file["id"]) == 404
    assert (await callers.ask("ben", "DELETE", f"/v1/files/{file['id']}")).status_code == 200
    assert await callers.reads("ben", artifact) == 404
    assert await callers.reads("ann", artifact) == 200


async def test_files_of_another_are_neither_listed_nor_deleted(callers: Callers) -> None:
    made = await callers.ask(
        "ann", "POST", "/v1/files", files={"file": ("b.png", PNG, "image/png")}, data={"purpose": "vision"}
    )
    identifier = made.json()["id"]
    listed = [one["id"] for one in (await callers.ask("ben", "GET", "/v1/files")).json()["data"]]
    assert identifier not in listed
    for method in ("GET", "DELETE"):
        assert (await callers.ask("ben", method, f"/v1/files/{identifier}")).status_code == 404
    assert identifier in [one["id"] for one in (await callers.ask("ann", "GET", "/v1/files")).json()["data"]]


async def test_what_was_uploaded_to_a_call_belongs_to_its_caller(callers: Callers) -> None:
    files = {"image": ("c.png", png(9, 9), "image/png")}
    made = await callers.ask("ann", "POST", "/v1/images/edits", files=files, data={"model": "image", "prompt": "blue"})
    assert made.status_code == 200, made.text
    artifact = f"art_{hashlib.sha256(png(9, 9)).hexdigest()[:40]}"
    assert await callers.reads("ann", artifact) == 200
    assert await callers.reads("ben", artifact) == 404


async def test_a_signed_url_needs_no_key(callers: Callers) -> None:
    made = await callers.job("ann", model="image", task="text_to_image", prompt="a signal")
    url = made.json()["artifacts"][0]["url"]
    assert (await callers.gateway.http.get("/" + url.split("/", 3)[3])).status_code == 200
