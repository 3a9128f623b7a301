"""Changes of files are told once, and only when they have settled."""

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

from polyroute.settings import watch


class Looks:
    """Stands in for sleeping: before each look, the next step is taken; after the last one, nothing happens any more."""

    def __init__(self, *steps) -> None:
        self.steps = list(steps)

    async def __call__(self, seconds: float) -> None:
        if not self.steps:
            raise asyncio.CancelledError
        self.steps.pop(0)()


def nothing() -> None:
    """A look at which nothing has happened."""


async def told(paths: list[Path], *steps) -> list[tuple[Path, ...]]:
    seen = []
    try:
        async with aclosing(watch(paths, 1.0, sleep=Looks(*steps))) as changes:
            async for changed in changes:
                seen.append(changed)
    except asyncio.CancelledError:
        pass
    return seen


async def test_a_change_is_told_once_it_has_settled(tmp_path):
    file = tmp_path / "polyroute.yaml"
    file.write_text("a")

    def write() -> None:
        file.write_text("abc")

    assert await told([file], nothing, write) == []
    file.write_text("a")
    assert await told([file], nothing, write, nothing, nothing) == [(file,)]


async def test_a_file_that_is_still_being_written_is_not_told(tmp_path):
    file = tmp_path / "polyroute.yaml"
    file.write_text("a")
    steps = [lambda size=size: file.write_text("b" * size) for size in (0, 10, 20)]
    assert await told([file], *steps) == []
    file.write_text("a")
    assert await told([file], *steps, nothing) == [(file,)]


async def test_files_that_appear_go_away_or_are_replaced_are_told(tmp_path):
    file, other = tmp_path / "polyroute.yaml", tmp_path / ".env"
    file.write_text("a")

    def replace() -> None:
        (tmp_path / "new").write_text("b")
        os.utime(tmp_path / "new", ns=(file.stat().st_mtime_ns, file.stat().st_mtime_ns))
        (tmp_path / "new").replace(file)

    seen = await told([file, other], lambda: other.write_text("x"), nothing, other.unlink, nothing, replace, nothing)
    assert seen == [(other,), (other,), (file,)]
