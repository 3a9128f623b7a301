"""Webhooks: signed as receivers check it, tried again, never lost, on both databases' outbox."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path

import msgspec
import pytest
import standardwebhooks

from polyroute.engine import notifications
from polyroute.engine.notifications import PAUSES, Postman, Webhook, sign, signing_key, webhook_request
from polyroute.ports.budgets import Delivery
from polyroute.storage import outbox as outboxes
from polyroute.storage.database import Database
from polyroute.storage.notices import insert_notification
from polyroute.storage.outbox import DeliveryBox, list_notifications, mark_read
from polyroute.transport.client import ClientTransport
from support.prepared_state import new_database
from support.scripted_provider import ScriptedProvider, whole

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
GOOD, BAD, GONE = whole(b"ok"), whole(b"no", status="500 Oops"), whole(b"", status="410 Gone")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path / "a.db")


def notify(database: Database, key: str = "budget.alert:all:0:0.8", kind: str = "budget.alert") -> bool:
    driver = database.connect()
    try:
        return insert_notification(driver, key, kind, "all", "80% is used up", {"share": 0.8})
    finally:
        driver.close()


def rows(database: Database) -> list[tuple[int, float | None, str | None, str | None]]:
    driver = database.connect()
    try:
        return driver.execute(
            "SELECT tries, due_at, delivered_at, error FROM deliveries ORDER BY created_at"
        ).fetchall()
    finally:
        driver.close()


def make_due(database: Database) -> None:
    driver = database.connect()
    driver.execute("UPDATE deliveries SET due_at = 0 WHERE due_at IS NOT NULL")
    driver.close()


@pytest.mark.parametrize("secret", [SECRET, "any text of at least sixteen characters"])
def test_another_implementation_takes_the_signature_and_nothing_else(secret: str) -> None:
    payload = b'{"type":"budget.alert","data":{"budget":"r\xc3\xa9s"}}'
    delivery = Delivery(id="msg_1", url="http://127.0.0.1/", payload=payload, tries=1)
    headers = {name.decode(): value.decode() for name, value in webhook_request(delivery, secret, time.time()).headers}
    receiver = standardwebhooks.Webhook(base64.b64encode(signing_key(secret)).decode())
    assert receiver.verify(payload, headers) == msgspec.json.decode(payload)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        receiver.verify(payload.replace(b"alert", b"other"), headers)
    late = {
        name.decode(): value.decode() for name, value in webhook_request(delivery, secret, time.time() - 900).headers
    }
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        receiver.verify(payload, late)


def test_the_signature_is_that_of_the_specifications_example() -> None:
    signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_notification_reaches_whoever_wants_its_kind_once_and_signed(database: Database) -> None:
    with ScriptedProvider(GOOD) as receiver, ScriptedProvider(GOOD) as other:
        hooks = [Webhook(f"{receiver.url}/hook", SECRET, ("budget.",)), Webhook(other.url, None, ("job.",))]
        postman = Postman(DeliveryBox(database), ClientTransport, hooks)
        assert notify(database)
        assert not notify(database), "the same is told once"
        assert await postman.round() == 1
        assert await postman.round() == 0
        await postman.stop()
        [received] = receiver.received
        assert other.received == []
    body = json.loads(received.body)
    assert body["type"] == "budget.alert"
    assert body["data"] == {"share": 0.8, "subject": "all", "message": "80% is used up"}
    headers = received.headers
    expected = sign(SECRET, headers["webhook-id"], int(headers["webhook-timestamp"]), received.body)
    assert headers["webhook-signature"] == expected
    [(tries, due_at, delivered_at, error)] = rows(database)
    assert (tries, due_at, error) == (1, None, None)
    assert delivered_at is not None


async def test_what_is_not_taken_is_tried_again_with_the_same_id_by_whoever_runs_then(database: Database) -> None:
    with ScriptedProvider(BAD, GOOD) as receiver:
        box = DeliveryBox(database)
        identifier = box.deliver(receiver.url, "job.completed", {"id": "job_1"}, secret=SECRET)
        first = Postman(box, ClientTransport)
        assert await first.round() == 1
        assert await first.round() == 0, "not before its pause is over"
        await first.stop()
        [(tries, due_at, _, error)] = rows(database)
        assert (tries, error) == (1, "status 500")
        assert due_at is not None
        make_due(database)
        second = Postman(DeliveryBox(database), ClientTransport)
        assert await second.round() == 1
        await second.stop()
        assert [one.headers["webhook-id"] for one in receiver.received] == [identifier] * 2
        assert all("webhook-signature" in one.headers for one in receiver.received)
    assert rows(database)[0][1] is None


@pytest.mark.parametrize(("script", "rounds"), [(GONE, 1), (BAD, len(PAUSES) + 1)])
async def test_it_is_given_up_in_the_end(database: Database, script: bytes, rounds: int) -> None:
    with ScriptedProvider(script) as receiver:
        postman = Postman(DeliveryBox(database), ClientTransport)
        DeliveryBox(database).deliver(receiver.url, "job.completed", {})
        for _ in range(rounds):
            make_due(database)
            assert await postman.round() == 1
        make_due(database)
        assert await postman.round() == 0
        await postman.stop()
    [(tries, due_at, delivered_at, error)] = rows(database)
    assert (tries, due_at, delivered_at) == (rounds, None, None)
    assert error is not None


async def test_a_delivery_that_a_dead_worker_took_is_taken_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = DeliveryBox(database)
    box.deliver("http://127.0.0.1:1/", "job.completed", {})
    assert len(box.claim(16)) == 1
    assert box.claim(16) == [], "somebody has it"
    make_due(database)  # the claim is over
    [again] = box.claim(16)
    assert again.tries == 2


async def test_several_workers_deliver_once(database: Database) -> None:
    with ScriptedProvider(GOOD) as receiver:
        for number in range(5):
            notify(database, f"n{number}")
        postmen = [Postman(DeliveryBox(database), ClientTransport, [Webhook(receiver.url)]) for _ in range(3)]
        await asyncio.gather(*(postman.round() for postman in postmen))
        await asyncio.gather(*(postman.round() for postman in postmen))
        for postman in postmen:
            await postman.stop()
        assert len({one.headers["webhook-id"] for one in receiver.received}) == len(receiver.received) == 5


def test_the_feed_is_newest_first_and_remembers_who_was_seen(database: Database) -> None:
    for number in range(3):
        notify(database, f"n{number}")
    driver = database.connect()
    assert [one.id for one in list_notifications(driver, 2, unread=False)] == ["n2", "n1"]
    seen = mark_read(driver, "n1")
    assert seen is not None
    assert seen.read_at is not None
    assert [one.id for one in list_notifications(driver, 10, unread=True)] == ["n2", "n0"]
    assert mark_read(driver, "nobody") is None
    driver.close()


def test_secrets_do_not_show() -> None:
    assert SECRET not in repr(Webhook("https://example.org", SECRET))
    assert notifications._TIMEOUTS.total < outboxes.CLAIM_SECONDS
