"""YAML to plain values, with line and column of every key and value.

Stricter than YAML on purpose: keys are text as written (``on`` is no boolean), a key twice is
an error, aliases and several documents are refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

from chaos.errors import CATALOGUE

Path = tuple[str | int, ...]
SIZE_LIMIT = 1 << 20
DEPTH_LIMIT = 40


class Place(NamedTuple):
    """Line and column, from 1."""

    line: int
    column: int


class Problem(NamedTuple):
    """One error of a file: where, which id, what, and what to do."""

    file: str
    place: Place
    id: str
    text: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.place.line}:{self.place.column}"
        return f"{where}: {self.id}: {self.text}\n    fix: {self.fix}"


def problem(file: str, place: Place, id: str, text: str, fix: str = "") -> Problem:
    """A problem with the fix of its catalogue entry, unless a better one is known."""
    return Problem(file, place, id, text, fix or CATALOGUE[id].fix)


class Document:
    """Values of a file and where they stand."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.data: Any = None
        self.places: dict[Path, Place] = {}
        self.problems: list[Problem] = []

    def place(self, path: Path) -> Place:
        """Where the value at ``path`` stands, or the nearest thing around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def add(self, path: Path, id: str, text: str, fix: str = "") -> None:
        self.problems.append(problem(self.file, self.place(path), id, text, fix))


def parse(text: str, file: str) -> Document:
    """The document; what is wrong with the YAML itself is in ``problems``, ``data`` then None."""
    document = Document(file)
    if len(text.encode()) > SIZE_LIMIT:
        document.add((), "KS-CHAOS-009", "larger than 1 MiB")
        return document
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEPTH_LIMIT:
                document.places[()] = _place(event.start_mark)
                if depth > DEPTH_LIMIT:
                    document.add((), "KS-CHAOS-001", "nested too deeply")
                else:
                    document.add((), "KS-CHAOS-006", "aliases (*name) are not available")
                return document
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.places[()] = _place(mark) if mark is not None else Place(1, 1)
        document.add((), "KS-CHAOS-001", error.problem or str(error))
        return document
    except yaml.YAMLError as error:
        document.add((), "KS-CHAOS-001", str(error).splitlines()[0])
        return document
    if root is None:
        document.add((), "KS-CHAOS-001", "the file is empty")
        return document
    data = _value(document, root, ())
    if not any(p.id == "KS-CHAOS-001" for p in document.problems):
        document.data = data
    return document


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _value(document: Document, node: yaml.Node, path: Path) -> Any:
    document.places.setdefault(path, _place(node.start_mark))
    if isinstance(node, yaml.MappingNode):
        return _mapping(document, node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_value(document, item, (*path, place)) for place, item in enumerate(node.value)]
    try:
        return yaml.constructor.SafeConstructor().construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        document.add(path, "KS-CHAOS-001", str(error).splitlines()[0])
        return None


def _mapping(document: Document, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            document.add(path, "KS-CHAOS-001", "a key is not a plain word")
            continue
        name = str(key.value)
        below = (*path, name)
        if name in found:
            place = _place(key.start_mark)
            text = f"{name!r} is given twice in the same map"
            document.problems.append(problem(document.file, place, "KS-CHAOS-007", text))
            continue
        document.places[below] = _place(key.start_mark)
        found[name] = _value(document, value, below)
    return found
