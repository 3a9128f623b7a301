"""Durable jobs as callers meet them: our own API, OpenAI's videos with its own client, and slow calls that become jobs."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import openai
import pytest
import standardwebhooks

from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.server_sent_events import events_of
from support.simulated_providers import SimulatedProviders

CLIP = {"model": "clip", "task": "text_to_video", "prompt": "a red fox"}
MOVE = {"task": "image_to_video", "model": "replicate/kwaivgi/kling-v2.1"}
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")  # its client's own remark


@pytest.fixture(scope="module")
def house(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with Replicate alone, which works on its jobs itself."""
    config = {
        "fetch": {"allow": ["127.0.0.1"]},
        "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
        "providers": {
            "replicate": {"base_url": f"{simulated.url}/replicate/v1", "api_key": "r8_x"},
            "elevenlabs": {"base_url": f"{simulated.url}/elevenlabs", "api_key": "xi"},
        },
        "routes": {
            "clip": {
                "operation": "video",
                "targets": ["replicate/luma/ray-2-720p", "replicate/minimax/hailuo-02"],
            },
            "picture": {"operation": "image", "targets": ["replicate/black-forest-labs/flux-schnell"]},
        },
    }
    with GatewayProcess(tmp_path_factory.mktemp("jobs"), json.dumps(config)) as process:
        yield process


@pytest.fixture
def caller(house: GatewayProcess, sandbox: SimulatedProviders) -> Iterator[httpx.Client]:
    """An HTTP client; the simulated providers are well and quick."""
    sandbox.set("*", job_seconds=0.4)
    with httpx.Client(base_url=house.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def sdk(house: GatewayProcess, caller: httpx.Client) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def submitted(sandbox: SimulatedProviders, provider: str = "replicate") -> list[dict[str, Any]]:
    """What a provider was given to do."""
    with httpx.Client(trust_env=False) as client:
        found: list[dict[str, Any]] = client.get(f"{sandbox.url}/_control/jobs?provider={provider}").json()["jobs"]
        return found


def test_a_job_tells_what_came_of_it_and_what_it_took(caller: httpx.Client, house: GatewayProcess) -> None:
    made = caller.post("/v1/jobs", json=CLIP)
    assert made.status_code == 202
    assert made.headers["location"] == f"/v1/jobs/{made.json()['id']}"
    done = caller.get(made.headers["location"], headers={"prefer": "wait=20"}).json()
    (artifact,) = done["artifacts"]
    assert done["status"] == "succeeded"
    assert (done["provider"], done["provider_model"], done["attempts"]) == ("replicate", "luma/ray-2-720p", 1)
    assert (artifact["media_type"], artifact["width"], artifact["height"]) == ("video/mp4", 1280, 720)
    assert done["videoUrl"] == artifact["url"]
    assert len(caller.get(artifact["url"]).content) == artifact["size"]
    entry = house.entry(done["id"])
    assert (entry["status"], entry["operation"], entry["actual_provider"]) == ("COMPLETED", "video", "replicate")


def test_a_job_that_its_provider_fails_goes_to_the_next_and_the_ledger_shows_both(
    caller: httpx.Client, sandbox: SimulatedProviders, house: GatewayProcess
) -> None:
    sandbox.break_down("replicate", "job_failed", times=1)
    done = caller.post("/v1/jobs", json=CLIP, headers={"prefer": "wait=20"}).json()
    assert (done["status"], done["provider_model"], done["attempts"]) == ("succeeded", "minimax/hailuo-02", 2)
    tried = [(row["model"], row["outcome"]) for row in house.attempts(done["id"])]
    assert tried == [("luma/ray-2-720p", "failed"), ("minimax/hailuo-02", "served")]


def test_polls_that_do_not_know_the_work_yet_are_no_failure(caller: httpx.Client, sandbox: SimulatedProviders) -> None:
    sandbox.break_down("replicate", "missing_at_first", times=1, polls=2)
    done = caller.post("/v1/jobs", json=CLIP, headers={"prefer": "wait=20"}).json()
    assert (done["status"], done["attempts"]) == ("succeeded", 1)
    assert len(submitted(sandbox)) == 1


def test_work_of_which_nobody_knows_whether_it_was_accepted_waits_for_an_operator(
    caller: httpx.Client, sandbox: SimulatedProviders
) -> None:
    sandbox.break_down("replicate", "lost_after_acceptance", times=1)
    parked = caller.post("/v1/jobs", json=CLIP, headers={"prefer": "wait=20"})
    assert (parked.status_code, parked.json()["status"]) == (202, "needs_attention")
    identifier = parked.json()["id"]
    (listed,) = caller.get("/admin/api/jobs", params={"state": "needs_attention"}).json()["jobs"]
    assert listed["id"] == identifier
    wrong = caller.post(f"/admin/api/jobs/{identifier}/resolve", json={"decision": "adopt"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "handle")
    (known,) = submitted(sandbox)  # the operator looks at the provider's own list
    adopted = {"decision": "adopt", "handle": known["id"], "data": {"task": "text_to_video", "n": 1}}
    assert caller.post(f"/admin/api/jobs/{identifier}/resolve", json=adopted).status_code == 200
    done = caller.get(f"/v1/jobs/{identifier}", headers={"prefer": "wait=20"}).json()
    assert (done["status"], done["attempts"], len(submitted(sandbox))) == ("succeeded", 1, 1)


def test_a_key_that_is_revoked_in_the_middle_parks_the_job_instead_of_buying_it_twice(
    caller: httpx.Client, sandbox: SimulatedProviders
) -> None:
    sandbox.break_down("replicate", "key_revoked", times=1)
    parked = caller.post("/v1/jobs", json=CLIP, headers={"prefer": "wait=20"}).json()
    assert parked["status"] == "needs_attention", parked
    assert len(submitted(sandbox)) == 1
    given_up = caller.post(f"/admin/api/jobs/{parked['id']}/resolve", json={"decision": "abandon"})
    assert given_up.status_code == 200
    failed = caller.get(f"/v1/jobs/{parked['id']}", headers={"prefer": "wait=20"}).json()
    assert (failed["status"], failed["error"]["kind"]) == ("failed", "unknown_outcome")


def test_cancelling_reaches_the_provider(caller: httpx.Client, sandbox: SimulatedProviders) -> None:
    sandbox.set("*", job_seconds=60)
    identifier = caller.post("/v1/jobs", json=CLIP).json()["id"]
    eventually(lambda: [job for job in submitted(sandbox) if job["polls"]])
    assert caller.delete(f"/v1/jobs/{identifier}").json()["status"] == "cancelled"
    assert submitted(sandbox)[-1]["state"] == "canceled"


def test_events_can_be_followed_and_taken_up_again(caller: httpx.Client) -> None:
    identifier = caller.post("/v1/jobs", json=CLIP).json()["id"]
    told = events_of(caller.get(f"/v1/jobs/{identifier}/events").text)
    states = [data["state"] for _, name, data in told if name == "state"]
    assert states == ["queued", "running", "succeeded"]
    assert [number for number, _, _ in told[:-1]] == list(range(1, len(told)))
    assert told[-1][1:] == (
        "job",
        caller.get(f"/v1/jobs/{identifier}").json()
        | {"artifacts": told[-1][2]["artifacts"], "videoUrl": told[-1][2]["videoUrl"]},
    )
    rest = events_of(caller.get(f"/v1/jobs/{identifier}/events", headers={"last-event-id": "2"}).text)
    assert [number for number, _, _ in rest[:-1]] == list(range(3, len(told)))


def test_the_same_idempotency_key_is_the_same_job(caller: httpx.Client, sandbox: SimulatedProviders) -> None:
    key = {"idempotency-key": "only-once"}
    first, second = (caller.post("/v1/jobs", json=CLIP, headers=key).json()["id"] for _ in range(2))
    assert first == second
    other = caller.post("/v1/jobs", json={**CLIP, "prompt": "a blue fox"}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_key_reused")
    caller.get(f"/v1/jobs/{first}", headers={"prefer": "wait=20"})
    assert len(submitted(sandbox)) == 1


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"task": "text_to_dance"}, "task", "there are text_to_image"),
        ({"prompt": " "}, "prompt", "is required"),
        ({"fps": 9000}, "fps", "from 1 to 240"),
        ({"duration": "5"}, "duration", "Expected"),
        ({"wdth": 3}, "wdth", "is no field"),
        ({"model": "clips"}, "model", "clip"),
        ({"model": "picture"}, "model", "image"),
        ({"task": "image_to_video"}, "image", "is required"),
        ({**MOVE, "image": "http://127.0.0.9/a"}, "first_frame", None),
        ({**MOVE, "image": "data:image/png,A"}, "first_frame", None),
        ({**MOVE, "image": "file-x"}, "first_frame", "no file"),
        ({"webhook": "ftp://example.com"}, "webhook", "no https address"),
        ({"async": "yes"}, "async", "true or false"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_its_field_before_anybody_is_asked(
    caller: httpx.Client, sandbox: SimulatedProviders, change: dict[str, Any], param: str, words: str | None
) -> None:
    answer = caller.post("/v1/jobs", json={**CLIP, **change})
    error = answer.json()["error"]
    assert answer.status_code in (400, 404), error
    assert error["param"] == param, error
    assert words is None or words in error["message"], error
    assert submitted(sandbox) == []


class Receiver:
    """Takes webhooks at `url`; refuses as many as it is told."""

    def __init__(self, refuse: int = 0) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(503 if len(receiver.calls) <= refuse else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/done"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_the_end_of_a_job_is_reported_signed(caller: httpx.Client) -> None:
    secret = "whsec_" + base64.b64encode(b"a shared secret").decode()
    with Receiver() as receiver:
        order = {**CLIP, "webhook": {"url": receiver.url, "secret": secret}}
        done = caller.post("/v1/jobs", json=order, headers={"prefer": "wait=20"}).json()
        headers, body = eventually(lambda: receiver.calls[0] if receiver.calls else None, within=15)
    told = standardwebhooks.Webhook(secret).verify(body, headers)
    assert (told["type"], told["data"]["id"], told["data"]["videoUrl"][:4]) == ("job.succeeded", done["id"], "http")
    assert headers["webhook-id"] == f"msg_{done['id']}"  # whoever delivers it, and however often
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(body, {**headers, "webhook-id": "msg_other"})
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(body, {**headers, "webhook-timestamp": "1614265330"})


def test_openais_own_client_makes_looks_at_downloads_and_deletes_videos(sdk: openai.OpenAI) -> None:
    video = sdk.videos.create_and_poll(model="clip", prompt="a red fox", seconds="8", poll_interval_ms=50)
    assert (video.status, video.progress, video.seconds, video.error) == ("completed", 100, "8", None)
    assert sdk.videos.retrieve(video.id) == video
    assert video.id in [one.id for one in sdk.videos.list()]
    content = sdk.videos.download_content(video.id)
    assert content.read()[4:8] == b"ftyp"
    with pytest.raises(openai.NotFoundError, match="without image"):
        sdk.videos.download_content(video.id, variant="thumbnail")
    with pytest.raises(openai.BadRequestError, match="video_to_video"):
        sdk.videos.remix(video.id, prompt="in blue")
    assert sdk.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.videos.retrieve(video.id)


def test_a_video_that_fails_says_why(sdk: openai.OpenAI, sandbox: SimulatedProviders) -> None:
    sandbox.break_down("replicate", "moderation")
    video = sdk.videos.create_and_poll(model="clip", prompt="a red fox", poll_interval_ms=50)
    assert video.error is not None
    assert (video.status, video.error.code) == ("failed", "content_filtered")


def test_a_slow_picture_is_waited_for_and_answered_as_if_it_were_quick(sdk: openai.OpenAI) -> None:
    made = sdk.images.with_raw_response.generate(model="picture", prompt="a red fox", response_format="b64_json")
    assert made.headers["x-polyroute-provider"] == "replicate"
    assert made.headers["x-polyroute-job"].startswith("job_")
    assert made.parse().data[0].b64_json
    linked = sdk.images.generate(model="picture", prompt="a red fox", response_format="url")
    assert linked.data[0].url.startswith("http")


@pytest.mark.parametrize("how", [{"json": {"async": True}}, {"headers": {"prefer": "wait=1"}}])
def test_a_picture_that_takes_too_long_is_answered_with_its_job(
    caller: httpx.Client, sandbox: SimulatedProviders, how: dict[str, Any]
) -> None:
    sandbox.set("*", job_seconds=2.0)
    body = {"model": "picture", "prompt": "a red fox", **how.get("json", {})}
    answer = caller.post("/v1/images/generations", json=body, headers=how.get("headers"))
    assert (answer.status_code, answer.json()["object"]) == (202, "job")
    done = caller.get(answer.headers["location"], headers={"prefer": "wait=20"}).json()
    assert done["status"] == "succeeded"
    assert done["imageUrl"].startswith("http")


def test_a_refused_picture_fails_as_a_call_does(sdk: openai.OpenAI, sandbox: SimulatedProviders) -> None:
    sandbox.break_down("replicate", "moderation")
    with pytest.raises(openai.BadRequestError, match="safety"):
        sdk.images.generate(model="picture", prompt="a red fox")


def test_voices_of_every_provider_that_has_some(caller: httpx.Client) -> None:
    told = caller.get("/v1/voices").json()
    assert {voice["provider"] for voice in told["data"]} == {"elevenlabs"}, told
    assert all(voice["id"] and voice["name"] for voice in told["data"])


def test_a_report_that_nobody_signed_is_refused(caller: httpx.Client) -> None:
    assert caller.post("/v1/callbacks/replicate", json={"id": "x"}).status_code == 401
    assert caller.post("/v1/callbacks/nobody", json={"id": "x"}).status_code == 404


def test_a_stopped_gateway_goes_on_with_its_jobs_when_it_is_started_again(
    tmp_path: Path, sandbox: SimulatedProviders
) -> None:
    sandbox.set("*", job_seconds=3)
    config = {
        "fetch": {"allow": ["127.0.0.1"]},
        "providers": {"replicate": {"base_url": f"{sandbox.url}/replicate/v1", "api_key": "r8_x"}},
        "routes": {"clip": {"operation": "video", "targets": ["replicate/luma/ray-2-720p"]}},
    }
    with GatewayProcess(tmp_path, json.dumps(config)) as first, httpx.Client(base_url=first.url) as client:
        identifier = client.post("/v1/jobs", json=CLIP).json()["id"]
        eventually(lambda: [job for job in submitted(sandbox) if job["polls"]])
    with GatewayProcess(tmp_path) as second, httpx.Client(base_url=second.url, timeout=30) as client:
        done = client.get(f"/v1/jobs/{identifier}", headers={"prefer": "wait=20"}).json()
    assert (done["status"], done["attempts"], len(submitted(sandbox))) == ("succeeded", 1, 1)
