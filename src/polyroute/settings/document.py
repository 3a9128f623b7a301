"""A YAML file as plain values that remember on which line they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyroute.settings.problems import KeyPath, Origin, Problem, dotted

if TYPE_CHECKING:
    import yaml

_REFERENCE = re.compile(r"\$(?:\$\{|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\{))")


@dataclass
class Document:
    """Values as written, where each stands, and what is wrong with them so far. `invalid` are key paths that already have
    a problem, so that nobody complains of them twice."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    invalid: set[KeyPath] = field(default_factory=set)

    def origin(self, path: KeyPath) -> Origin:
        """Where a key stands, or the nearest one around it that does."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return Origin("configuration")

    def report(
        self,
        path: KeyPath,
        message: str,
        *,
        expected: str | None = None,
        given: str | None = None,
        nearest: str | None = None,
    ) -> None:
        """Note a problem at a key path."""
        self.problems.append(Problem(self.origin(path), path, message, expected, given, nearest))
        self.invalid.add(path)


def read_document(path: Path) -> Document:
    """A YAML file → Document; a file that cannot be read or parsed is a problem in it, not an exception."""
    document = Document(origins={(): Origin(str(path))})
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        document.report((), "there is no such file")
    except (OSError, UnicodeDecodeError) as error:
        document.report((), f"cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}")
    else:
        parse_document(text, str(path), document)
    return document


def parse_document(text: str, source: str, document: Document) -> None:
    """YAML text → the document's values and origins."""
    import yaml  # noqa: PLC0415 - costs 30 ms, and without a file it is not needed

    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            value = _Reader(loader, source, document).read(node, (), ())
            if isinstance(value, dict):
                document.values = value
            elif value is not None:
                document.report(
                    (), "the file must hold a mapping of sections", expected="for example `server: {port: 8080}`"
                )
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.origins[()] = Origin(source, mark.line + 1 if mark else None)
        document.report((), f"is not YAML: {error.problem or error.context}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        document.report((), f"is not YAML: {reason}")


class _Reader:
    """Nodes → plain values."""

    def __init__(self, loader: yaml.SafeLoader, source: str, document: Document) -> None:
        self.loader = loader
        self.source = source
        self.document = document

    def read(self, node: yaml.Node, path: KeyPath, above: tuple[int, ...]) -> Any:
        """One node's value; `above` are the nodes that it stands in."""
        import yaml  # noqa: PLC0415 - see parse_document

        if id(node) in above:
            raise ValueError(f"{dotted(path)} contains itself")
        self.document.origins[path] = Origin(self.source, node.start_mark.line + 1)
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, above)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*path, index), above) for index, child in enumerate(node.value)]
        return self.loader.construct_object(node)

    def mapping(self, node: yaml.MappingNode, path: KeyPath, above: tuple[int, ...]) -> dict[str, Any]:
        """A mapping with text keys; a key that stands there twice is a problem."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines and name != "<<":
                self.document.origins[*path, name] = Origin(self.source, line)
                self.document.report((*path, name), f"the key stands here twice, first on line {lines[name]}")
            lines.setdefault(name, line)
        self.loader.flatten_mapping(node)
        values: dict[str, Any] = {}
        for key, child in node.value:
            name = str(key.value)
            values[name] = self.read(child, (*path, name), above)
            self.document.origins[*path, name] = Origin(self.source, key.start_mark.line + 1)
        return values


def expand_references(document: Document, environment: Mapping[str, str]) -> dict[str, Any]:
    """The values with `${NAME}` and `${NAME:-default}` replaced; `$${` stands for a literal `${`. What is unset and has no
    default is a problem."""
    return {name: _expand(value, (name,), document, environment) for name, value in document.values.items()}


def _expand(value: Any, path: KeyPath, document: Document, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _expand(child, (*path, name), document, environment) for name, child in value.items()}
    if isinstance(value, list):
        return [_expand(child, (*path, index), document, environment) for index, child in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        if match["broken"]:
            document.report(
                path, "this is no reference to a variable", expected="${NAME}, ${NAME:-default}, or $${ for a plain ${"
            )
            return match[0]
        if match["name"] is None:
            return "${"
        found = environment.get(match["name"], "")
        if found or match["default"] is not None:
            return found or match["default"]
        if match["name"] in environment:
            return ""
        message = f"the environment variable {match['name']} is not set"
        document.report(path, message, expected=f"it to be set, or a default: ${{{match['name']}:-…}}")
        return ""

    return _REFERENCE.sub(replace, value)


def walk(values: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every leaf with its key path; lists and empty mappings are leaves."""
    if not isinstance(values, dict) or not values:
        if path:
            yield path, values
        return
    for name, child in values.items():
        yield from walk(child, (*path, name))
