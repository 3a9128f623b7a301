"""docs/media.md says which provider makes what, and what is not served; the rows and the registry decide."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import CatalogInput
from polyroute.catalog.rows import load_rows
from polyroute.providers.media import tables
from polyroute.providers.media.registry import build_media_adapter
from polyroute.providers.media.tables import load_table
from polyroute.types.media import OPERATION_OF_TASK, Task
from polyroute.types.operations import Capability

PROVIDERS = build_catalog(load_rows(), CatalogInput(), {}, sandbox_url="http://127.0.0.1:1").providers
"""All that are built in, but for those that need a program which may not be here."""
MODELS = Path(tables.__file__).parent / "models"
PAGE = (Path(__file__).parents[3] / "docs" / "media.md").read_text(encoding="utf-8")
SHORT = {
    Task.TEXT_TO_IMAGE: "image", Task.IMAGE_TO_IMAGE: "from image", Task.EDIT_IMAGE: "edit", Task.UPSCALE_IMAGE: "upscale",
    Task.REMOVE_BACKGROUND: "cut out", Task.TEXT_TO_VIDEO: "video", Task.IMAGE_TO_VIDEO: "from image",
    Task.VIDEO_TO_VIDEO: "from video", Task.ANIMATE: "animate", Task.UPSCALE_VIDEO: "upscale", Task.SPEECH: "speech",
    Task.CLONE_VOICE: "clone", Task.TRANSCRIBE: "transcribe", Task.TRANSLATE: "translate", Task.MUSIC: "music",
    Task.SOUND_EFFECT: "effects", Task.COMPOSE: "compose",
}  # fmt: skip


def grid() -> str:
    """A line for each provider: what its adapter makes, and what goes over OpenAI's paths."""
    lines = ["| provider | " + " | ".join(SHORT.values()) + " |", "|---" * (len(SHORT) + 1) + "|"]
    for name, row in sorted(load_rows().items()):
        spoken = PROVIDERS[name].capabilities if name in PROVIDERS else frozenset()
        cells = ["●" if task in row.media else "○" if Capability(task.value) in spoken else "" for task in SHORT]
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def defaults() -> str:
    """A line for each task: who has models that are known for it, the default first."""
    lines = ["| task | providers (model that is asked unless one is named) |", "|---|---|"]
    for task in Task:
        makers = [
            f"{name} (`{row.media[task][0]}`)" for name, row in sorted(load_rows().items()) if row.media.get(task)
        ]
        lines.append(f"| {task} | {', '.join(makers) or 'none yet'} |")
    return "\n".join(lines)


@pytest.mark.parametrize("table", [grid, defaults])
def test_the_page_says_who_makes_what(table: Callable[[], str]) -> None:
    assert table() in PAGE, f"put this into docs/media.md:\n{table()}"


def not_served() -> Iterator[tuple[str, str]]:
    section = PAGE.partition("### What is not served")[2].partition("\n## ")[0]
    for line in section.splitlines():
        found = re.fullmatch(r"\| ([^|]+) \| ([^|]+) \| ([^|]+) \|", line)
        if found is not None and not found[1].startswith(("provider", "---")):
            yield from ((name.strip(), found[2]) for name in found[1].split(","))


def test_the_page_says_of_each_maker_what_is_not_served() -> None:
    makers = {name for name, row in load_rows().items() if row.media}
    told = {name for name, _ in not_served()}
    assert told >= makers, f"not told of: {sorted(makers - told)}"
    assert told <= set(load_rows()), f"no providers: {sorted(told - set(load_rows()))}"


def test_each_maker_makes_what_its_row_lists() -> None:
    missing = []
    for name, provider in PROVIDERS.items():
        adapter = build_media_adapter(provider)
        assert adapter is not None or not provider.media, name
        missing += [
            f"{name} {task} {model}"
            for task, models in provider.media.items()
            for model in models
            if adapter is not None and adapter.maker(task, model) is None
        ]
    assert missing == []


def test_a_model_that_a_table_names_for_a_task_is_listed_for_it() -> None:
    """Models that are known for other tasks only are left out where callers name them, so the lists must be whole."""
    missing = []
    for name, row in load_rows().items():
        if not (MODELS / f"{name}.toml").is_file():
            continue
        table = load_table(name)
        for model in {model for models in row.media.values() for model in models}:
            tasks = {task for task, models in row.media.items() if model in models}
            operations = {OPERATION_OF_TASK[task] for task in tasks}
            for task in row.media.keys() - tasks:
                spec = table.find(task, model)
                if spec is not None and model in spec.match and OPERATION_OF_TASK[task] in operations:
                    missing.append((name, task.value, model))
    assert missing == []
