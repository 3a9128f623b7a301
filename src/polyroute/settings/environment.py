"""The process environment and the `.env` file; nothing else in Polyroute reads either."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyroute.settings.document import Document
from polyroute.settings.problems import Origin, Problem

PREFIX = "POLYROUTE_"
SEPARATOR = "__"

_LINE = re.compile(
    r"""^\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)\s*=\s*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\r\n]*?))
    \s*(?:(?<=\s)\#.*|(?<=['"])\s*\#.*)?$""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def parse_env_file(text: str, source: str, problems: list[Problem]) -> dict[str, str]:
    """`NAME=value` lines, quoted or not, with `export` and comments allowed. A line that is none of that is a problem,
    whose text is not shown because it may hold a secret."""
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            problems.append(Problem(Origin(source, number), (), "this line is not NAME=value"))
        elif match["double"] is not None:
            values[match["name"]] = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), match["double"])
        else:
            values[match["name"]] = match["single"] if match["single"] is not None else match["bare"]
    return values


def read_env_file(path: Path, problems: list[Problem]) -> dict[str, str]:
    """A `.env` file; empty when there is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        problems.append(Problem(Origin(str(path)), (), f"cannot be read: {reason}"))
        return {}
    return parse_env_file(text, str(path), problems)


def fill_from_environment(document: Document, environment: Mapping[str, str]) -> list[str]:
    """Put `POLYROUTE_SECTION__KEY` variables where the document declares nothing; the file owns what it declares.

    Lists and mappings are written as YAML flow (`[a, b]`). Variables without a double underscore are not ours: container
    platforms inject such names. Returns a warning for each variable that the file overrules.
    """
    warnings = []
    for variable in sorted(environment):
        name = variable.upper()
        if not name.startswith(PREFIX) or SEPARATOR not in name[len(PREFIX) :]:
            continue
        path = tuple(part.lower() for part in variable[len(PREFIX) :].split(SEPARATOR))
        holder: Any = document.values
        for depth, part in enumerate(path[:-1], start=1):
            if holder.get(part) is None:
                holder[part] = {}
                document.origins.setdefault(path[:depth], Origin(variable))
            holder = holder[part]
            if not isinstance(holder, dict):
                break
        if not isinstance(holder, dict) or path[-1] in holder:
            warnings.append(f"{variable} is ignored: {document.origin(path)} declares {'.'.join(path)}")
            continue
        document.origins[path] = Origin(variable)
        holder[path[-1]] = _parse_value(environment[variable], path, document)
    return warnings


def _parse_value(text: str, path: tuple[str, ...], document: Document) -> Any:
    if text[:1] not in {"[", "{"}:
        return text
    import yaml  # noqa: PLC0415 - costs 30 ms, and is hardly ever needed here

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        document.report(path, "is neither a list nor a mapping in YAML", expected="for example [a, b]")
        return None
