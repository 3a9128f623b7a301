"""Runware: arrays by REST, and a socket with many tasks that drops and is resumed."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import aiohttp

from support.media_sandbox import Client, Hooks, until

REST = "/runware/v1"


def task(**more: Any) -> dict[str, Any]:
    made = {"taskType": "imageInference", "taskUUID": str(uuid.uuid4()), "model": "runware:101@1"}
    return made | {"positivePrompt": "an owl", "width": 512, "height": 512, "includeCost": True, **more}


async def opened(client: Client, **more: Any) -> tuple[aiohttp.ClientWebSocketResponse, str]:
    socket = await client.http.ws_connect(REST)
    await socket.send_json([{"taskType": "authentication", "apiKey": "k", **more}])
    return socket, (await socket.receive_json())["data"][0]["connectionSessionUUID"]


async def test_rest_takes_an_array_and_answers_with_data_and_errors_together(client: Client) -> None:
    await client.control(job_seconds=0)
    good, bad = task(numberResults=2), task(positivePrompt="")
    value = await client.call("POST", REST, [good, bad])
    assert {item["taskUUID"] for item in value["data"]} == {good["taskUUID"]}
    assert [item["cost"] for item in value["data"]] == [0.0019, 0.0019]
    assert [(item["taskUUID"], item["code"]) for item in value["errors"]] == [
        (bad["taskUUID"], "invalidPositivePrompt")
    ]
    assert (await client.call("GET", value["data"][0]["imageURL"]))[:2] == b"\xff\xd8"
    assert [row["charged"] for row in await client.jobs("runware")] == [0.0038]


async def test_an_asynchronous_task_is_polled_and_its_repetition_is_a_conflict(client: Client) -> None:
    film = task(taskType="videoInference", deliveryMethod="async", duration=5)
    value = await client.call("POST", REST, [film])
    assert value == {"data": [{"taskType": "videoInference", "taskUUID": film["taskUUID"]}]}
    again = await client.call("POST", REST, [film], 400)
    assert again["errors"][0]["code"] == "conflictTaskUUID"
    ask = [{"taskType": "getResponse", "taskUUID": film["taskUUID"]}]
    await client.control(advance=50)
    assert (await client.call("POST", REST, ask))["data"][0]["status"] == "processing"
    await client.control(advance=50)
    (item,) = (await client.call("POST", REST, ask))["data"]
    assert (item["status"], (await client.call("GET", item["videoURL"]))[4:8]) == ("success", b"ftyp")
    assert len(await client.jobs("runware")) == 1


async def test_many_tasks_share_a_socket_and_results_come_in_any_order(client: Client) -> None:
    socket, _ = await opened(client)
    await socket.send_json([{"taskType": "ping", "ping": True}])
    assert await socket.receive_json() == {"data": [{"taskType": "ping", "pong": True}]}
    await client.control(operation="video", job_seconds=50)
    slow, quick = task(numberResults=3), task(taskType="videoInference")
    await socket.send_json([slow, quick, task(width=5)])
    assert (await socket.receive_json())["errors"][0]["code"] == "invalidWidth"
    await client.control(advance=60)
    first = (await socket.receive_json())["data"][0]
    assert first["taskUUID"] == quick["taskUUID"]
    await client.control(advance=60)
    items = [(await socket.receive_json())["data"][0] for _ in range(3)]
    assert [item["resultIndex"] for item in items] == [2, 1, 0]
    await socket.close()


async def test_a_dropped_socket_is_resumed_and_gets_what_it_missed(client: Client) -> None:
    await client.control(faults={"kind": "lost_after_acceptance", "times": 1})
    socket, session = await opened(client)
    lost = task()
    await socket.send_json([lost])
    assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE)
    await client.control(advance=101)
    other, resumed = await opened(client, connectionSessionUUID=session)
    assert resumed == session
    (item,) = (await asyncio.wait_for(other.receive_json(), 5))["data"]
    assert item["taskUUID"] == lost["taskUUID"]
    await other.close()
    assert len(await client.jobs("runware")) == 1


async def test_moderation_and_keys(client: Client) -> None:
    await client.control(job_seconds=0, faults={"kind": "moderation", "times": 1})
    value = await client.call("POST", REST, [task()], 400)
    assert value["errors"][0]["code"] == "contentPolicyViolation"
    value = await client.call("POST", REST, [task()], 401, headers={"authorization": "Bearer invalid"})
    assert value["errors"][0]["code"] == "invalidApiKey"
    socket = await client.http.ws_connect(REST)
    await socket.send_json([task()])
    assert (await socket.receive_json())["errors"][0]["code"] == "missingApiKey"
    await socket.close()


async def test_a_callback_is_one_flat_result(client: Client, hooks: Hooks) -> None:
    await client.control(job_seconds=0)
    given = task(webhookURL=hooks.url)
    await client.call("POST", REST, [given])
    _, body = await hooks.next()
    assert json.loads(body)["taskUUID"] == given["taskUUID"]
    assert await until(lambda: client.jobs("runware"))


async def test_reading_tasks(client: Client) -> None:
    name = str(uuid.uuid4())
    search = {"taskType": "modelSearch", "taskUUID": name, "search": "bfl"}
    value = await client.call("POST", REST, [search, {"taskType": "accountManagement", "taskUUID": name}])
    assert [item.get("totalResults", item.get("balance")) for item in value["data"]] == [1, 25.0]
    models = await client.call("GET", "/runware/content.runware.ai/models?category=image")
    assert models["total"] == len(models["items"])
    speech = task(taskType="audioInference", model="minimax:speech@2.8", speech={"text": "hello you", "voice": "x"})
    await client.control(job_seconds=0)
    (item,) = (await client.call("POST", REST, [speech]))["data"]
    assert (await client.call("GET", item["audioURL"]))[:3] == b"ID3"
