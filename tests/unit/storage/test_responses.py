"""Kept answers of the Responses API: by id and by key, until they are out of date, and over a restart of the database."""

from __future__ import annotations

from polyroute.ports import KeptResponse
from polyroute.storage.database import Database, open_database
from polyroute.storage.responses import ResponseKeeper
from support.postgres_server import PostgresServer

KEPT = KeptResponse("resp_1", b'{"id": "resp_1"}', b'[{"role": "user", "content": "\xc3\xa4"}]')


def test_an_answer_is_for_the_key_that_asked(database: Database) -> None:
    keeper = ResponseKeeper(database, days=1)
    keeper.keep(KEPT, "key_1")
    assert keeper.get("resp_1", "key_1") == KEPT
    assert keeper.get("resp_1", "key_2") is None
    assert keeper.get("resp_1", None) is None
    assert not keeper.forget("resp_1", "key_2")
    assert keeper.forget("resp_1", "key_1")
    assert keeper.get("resp_1", "key_1") is None
    keeper.close()


def test_an_answer_goes_when_it_is_out_of_date(database: Database) -> None:
    keeper = ResponseKeeper(database, days=-1)
    keeper.keep(KEPT, None)
    assert keeper.get("resp_1", None) is None
    keeper.close()


def test_a_database_that_was_restarted_is_asked_anew(postgres: PostgresServer) -> None:
    database = open_database(postgres.create())
    keeper = ResponseKeeper(database, days=1)
    keeper.keep(KEPT, None)
    postgres.kill()
    postgres.start()
    assert keeper.get("resp_1", None) == KEPT
    keeper.close()
    database.close()
