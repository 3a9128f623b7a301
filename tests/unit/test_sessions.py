"""The recorded session shows what the programs say today."""

from __future__ import annotations

import json
import re
from pathlib import Path

SESSIONS = Path(__file__).parents[2] / "docs" / "sessions"


def test_the_recorded_rehearsal_tells_of_the_drill_and_of_who_answered() -> None:
    text = (SESSIONS / "drill.txt").read_text(encoding="utf-8")
    assert re.findall(r"x-polyroute-provider: (\w+)", text) == ["aimlapi", "piapi"]
    assert "aimlapi: 503 for 5m. `polyroute drill --end --provider aimlapi` ends it sooner." in text
    assert '"drill":{"fault":"503"' in text
    assert "1 drill(s) ended." in text


def test_the_cast_can_be_played() -> None:
    head, *events = [json.loads(line) for line in (SESSIONS / "drill.cast").read_text(encoding="utf-8").splitlines()]
    assert head["version"] == 2
    assert [moment for moment, _, _ in events] == sorted(moment for moment, _, _ in events)
    assert {kind for _, kind, _ in events} == {"o"}
