"""The one reader of YAML files that people write: plain values, each with its line and column.

``text_of`` reads the text of a named file: a regular file, of a size that a person writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from services.runtime.real.files import read_regular_file

ValuePath = tuple[str | int, ...]
"""Where a value is: keys of maps and places in lists, from the top."""

SIZE_LIMIT: Final = 1 << 20  # bytes of UTF-8
DEPTH_LIMIT: Final = 40  # maps and lists inside of each other
VALUES_LIMIT: Final = 10_000  # keys and values; PyYAML reads them in about a second
DIGITS_LIMIT: Final = 40  # characters of a whole number, underscores included
WHOLE_LIMIT: Final = 1 << 63
"""Whole numbers lie below it and not below its negative: what JSON, msgpack and SQLite all take."""


class TextPlace(NamedTuple):
    """Line and column, from 1."""

    line: int
    column: int


class YamlFlaw(StrEnum):
    """In what way a text is no YAML file for us."""

    UNREADABLE = "unreadable"
    TWICE = "twice"  # a key of a map
    ALIAS = "alias"
    TOO_LARGE = "too large"


class YamlProblem(NamedTuple):
    """One thing that is wrong with a file, as YAML; what the values mean is for others."""

    flaw: YamlFlaw
    place: TextPlace
    text: str


class YamlFile:
    """Values of a file and where they stand.

    ``problems`` are all that were found; ``data`` is None when one of them made the rest
    unreadable. A key that is given twice does not: the first of them counts.
    """

    def __init__(self) -> None:
        self.data: Any = None
        self.places: dict[ValuePath, TextPlace] = {}
        self.problems: list[YamlProblem] = []

    def place(self, path: ValuePath) -> TextPlace:
        """Where the value at ``path`` stands (the key, in a map), or the nearest around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, TextPlace(1, 1))


def read_yaml(text: str) -> YamlFile:
    """Read one document; never raises, ``problems`` says what is wrong."""
    file = YamlFile()
    events: list[yaml.Event] = []
    problem = _refusal(text, events)
    if problem is None:
        root = _Composed(events).get_single_node()
        if root is not None:
            data = _value(file, root, ())
            if not any(found.flaw is YamlFlaw.UNREADABLE for found in file.problems):
                file.data = data
            return file
        problem = YamlProblem(YamlFlaw.UNREADABLE, TextPlace(1, 1), "the file is empty")
    file.places[()] = problem.place
    file.problems.append(problem)
    return file


class _Composed(yaml.composer.Composer, yaml.resolver.Resolver):
    """Composes the nodes of events that were parsed already: scanning is what takes time."""

    def __init__(self, events: Iterable[yaml.Event]) -> None:
        yaml.composer.Composer.__init__(self)
        yaml.resolver.Resolver.__init__(self)
        self._left = deque(events)

    def check_event(self, *choices: type[yaml.Event]) -> bool:
        return bool(self._left) and (not choices or isinstance(self._left[0], choices))

    def peek_event(self) -> yaml.Event | None:
        return self._left[0] if self._left else None

    def get_event(self) -> yaml.Event | None:
        return self._left.popleft() if self._left else None


def _refusal(text: str, events: list[yaml.Event]) -> YamlProblem | None:
    """The first thing for which the text is not read at all; its ``events`` when there is none."""
    if len(text.encode("utf-8", "surrogatepass")) > SIZE_LIMIT:
        return YamlProblem(YamlFlaw.TOO_LARGE, TextPlace(1, 1), "larger than 1 MiB")
    depth = documents = values = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            events.append(event)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            documents += isinstance(event, yaml.DocumentStartEvent)
            values += isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent))
            place = _place(event.start_mark)
            if documents > 1:
                return YamlProblem(YamlFlaw.UNREADABLE, place, "a second document begins here")
            if depth > DEPTH_LIMIT:
                return YamlProblem(YamlFlaw.UNREADABLE, place, "nested too deeply")
            if values > VALUES_LIMIT:
                return YamlProblem(YamlFlaw.TOO_LARGE, place, f"more than {VALUES_LIMIT} values")
            if isinstance(event, yaml.AliasEvent):
                return YamlProblem(YamlFlaw.ALIAS, place, "aliases (*name) are not available")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = TextPlace(1, 1) if mark is None else _place(mark)
        return YamlProblem(YamlFlaw.UNREADABLE, place, error.problem or str(error))
    except yaml.reader.ReaderError as error:
        what = f"the character U+{ord(text[error.position]):04X} cannot stand in YAML"
        return YamlProblem(YamlFlaw.UNREADABLE, _place_at(text, error.position), what)
    return None


def _place_at(text: str, position: int) -> TextPlace:
    before = text[:position].replace("\r\n", "\n").replace("\r", "\n")
    return TextPlace(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _place(mark: Any) -> TextPlace:
    return TextPlace(mark.line + 1, mark.column + 1)


def _value(file: YamlFile, node: yaml.Node, path: ValuePath) -> Any:
    file.places.setdefault(path, _place(node.start_mark))
    if isinstance(node, yaml.MappingNode):
        return _mapping(file, node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_value(file, item, (*path, index)) for index, item in enumerate(node.value)]
    try:
        value = _scalar(node)
    except yaml.YAMLError as error:
        text = str(error).splitlines()[0]
    except (ValueError, OverflowError) as error:
        text = str(error)
    except (LookupError, AttributeError, TypeError):
        # What PyYAML's constructors end in for a tag that the text does not fit: ``!!bool x``.
        text = f"{node.value!r} is no {node.tag.rsplit(':', 1)[-1]}"
    else:
        return value
    file.problems.append(YamlProblem(YamlFlaw.UNREADABLE, file.place(path), text))
    return None


def _scalar(node: yaml.Node) -> Any:
    """The value of a scalar; a number that is too large for the rest of the program is none."""
    whole = node.tag.endswith(":int")
    if whole and len(node.value) > DIGITS_LIMIT:
        raise ValueError(f"a whole number of {len(node.value)} characters is too long")
    value = yaml.constructor.SafeConstructor().construct_object(node, deep=True)
    if whole and not -WHOLE_LIMIT <= value < WHOLE_LIMIT:
        raise ValueError(f"the whole number {value} has more than 64 bits")
    return value


def _mapping(file: YamlFile, node: yaml.MappingNode, path: ValuePath) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        place = _place(key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            file.problems.append(
                YamlProblem(YamlFlaw.UNREADABLE, place, "a key is not a plain word")
            )
            continue
        name = str(key.value)
        if name in found:
            text = f"{name!r} is given twice in the same map"
            file.problems.append(YamlProblem(YamlFlaw.TWICE, place, text))
            continue
        below = (*path, name)
        file.places[below] = place
        found[name] = _value(file, value, below)
    return found


def text_of(path: Path) -> str:
    """The text of a regular file; ``OSError`` or ``ValueError`` says why it cannot be read.

    Never more than one byte over the limit, which is 1 MiB, is read, so that no device or log fills
    the memory.
    """
    return read_regular_file(path, SIZE_LIMIT).decode("utf-8")
