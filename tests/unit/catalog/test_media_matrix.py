"""docs/media.md says which provider makes what; the rows decide."""

from __future__ import annotations

from pathlib import Path

from polyroute.catalog.rows import load_rows
from polyroute.types.media import Task

PAGE = (Path(__file__).parents[3] / "docs" / "media.md").read_text(encoding="utf-8")


def matrix() -> str:
    """A line for each task: who has models that are known for it, the default first."""
    lines = ["| task | providers (model that is asked unless one is named) |", "|---|---|"]
    for task in Task:
        makers = [
            f"{name} (`{row.media[task][0]}`)" for name, row in sorted(load_rows().items()) if row.media.get(task)
        ]
        lines.append(f"| {task} | {', '.join(makers) or 'none yet'} |")
    return "\n".join(lines)


def test_the_page_says_who_makes_what() -> None:
    assert matrix() in PAGE, f"put this into docs/media.md:\n{matrix()}"
