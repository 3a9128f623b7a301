"""Request ids: unique, in the order of time, and not repeated by a forked worker."""

from __future__ import annotations

import os

from polyroute.engine.envelope import new_request_id


def test_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_request_id() for _ in range(5000)]
    assert len(set(ids)) == len(ids)
    assert {len(identifier) for identifier in ids} == {31}
    moments = [identifier[:15] for identifier in ids]
    assert moments == sorted(moments)


def test_a_forked_worker_does_not_repeat_its_parents_ids() -> None:
    new_request_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(new_request_id()[15:] for _ in range(20)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        theirs = pipe.read().decode().split()
    os.waitpid(child, 0)
    ours = [new_request_id()[15:] for _ in range(20)]
    assert len(theirs) == 20
    assert not set(theirs) & set(ours)
