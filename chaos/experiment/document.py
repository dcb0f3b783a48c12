"""An experiment's text as a document: its values and problems (place, id, text, fix), its sections
as models with what is wrong noted in place, its parameters (``${NAME}``), and its heading
without the rest for lists of many files.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from chaos.errors import EXPLANATIONS
from chaos.yaml_file import TextPlace, ValuePath, YamlFile, YamlFlaw, read_yaml
from protocol.printable import quote

_IDS: Final = {
    YamlFlaw.UNREADABLE: "KS-CHAOS-001",
    YamlFlaw.TWICE: "KS-CHAOS-007",
    YamlFlaw.ALIAS: "KS-CHAOS-006",
    YamlFlaw.TOO_LARGE: "KS-CHAOS-009",
}


PROBLEMS_LIMIT: Final = 100
"""So many problems of a file are told; nobody reads more, and a near name for each takes time."""


class Problem(NamedTuple):
    """One error of a file: where, which id, what, and what to do."""

    file: str
    place: TextPlace
    id: str
    text: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.place.line}:{self.place.column}"
        return f"{where}: {self.id}: {self.text}\n    fix: {self.fix}"


class Document:
    """An experiment's values, where they stand in ``file``, and what is wrong with them."""

    def __init__(self, file: str, yaml: YamlFile) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._yaml = yaml
        self.data: Any = yaml.data  # the file's value; None when it is not readable
        for flaw, place, text in yaml.problems:
            self._note(place, _IDS[flaw], text)

    @property
    def full(self) -> bool:
        """Whether there are as many problems as are told."""
        return len(self.problems) >= PROBLEMS_LIMIT

    def add(self, path: ValuePath, id: str, text: str, fix: str = "") -> None:
        """Note a problem of the value at ``path``; without a better one, with the id's fix."""
        self._note(self._yaml.place(path), id, text, fix)

    def _note(self, place: TextPlace, id: str, text: str, fix: str = "") -> None:
        if self.full:
            return
        self.problems.append(Problem(self.file, place, id, text, fix or EXPLANATIONS[id].fix))


def parse(text: str, file: str) -> Document:
    """The document in ``text``; what is wrong with the YAML itself is in ``problems`` already."""
    return Document(file, read_yaml(text))


M = TypeVar("M", bound=BaseModel)
ENTRIES_LIMIT: Final = 1000  # of a schedule, a workload, one phase of a hypothesis


class Sections:
    """Reads parts of ``document``; each problem goes into it, with its place, id and fix."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def section(
        self, model: type[M], path: ValuePath, value: Any, also: Iterable[str] = ()
    ) -> M | None:
        """``value`` as a ``model``, or None with its problems; ``also`` for suggestions."""
        data = self.fields(path, value)
        try:
            return model.model_validate(data)
        except ValidationError as error:
            fields = [f.alias or name for name, f in model.model_fields.items()]
            for detail in error.errors(include_url=False):
                if self.document.full:
                    break
                self._report(path, detail, [*fields, *also])
            return None

    def _report(self, path: ValuePath, detail: Any, fields: list[str]) -> None:
        where = (*path, *detail["loc"])
        kind, name = detail["type"], str(detail["loc"][-1]) if detail["loc"] else ""
        if kind == "extra_forbidden":
            near = difflib.get_close_matches(name[:100], fields, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(fields)}"
            self.document.add(where, "KS-CHAOS-002", f"unknown field {quote(name)}; {hint}")
        elif kind == "missing":
            self.document.add(where, "KS-CHAOS-003", f"{name!r} is missing")
        elif kind == "no_unit":
            self.document.add(where, "KS-CHAOS-005", f"{name}: {detail['msg']}")
        else:
            label = f"{name}: " if name else ""
            text = detail["msg"].removeprefix("Value error, ")
            self.document.add(where, "KS-CHAOS-004", f"{label}{text}")

    def fields(self, path: ValuePath, value: Any) -> dict[str, Any]:
        """``value`` when it is a map; else none, and a problem."""
        if isinstance(value, dict):
            return value
        self.document.add(path, "KS-CHAOS-004", "a map of fields is wanted here")
        return {}

    def entries(self, path: ValuePath, value: Any) -> list[tuple[ValuePath, Any]]:
        """Each entry of a list with its path; none of what is no list, or too long."""
        if isinstance(value, list) and len(value) > ENTRIES_LIMIT:
            text = f"{len(value)} entries are more than {ENTRIES_LIMIT}"
            self.document.add(path, "KS-CHAOS-009", text)
            return []
        if isinstance(value, list):
            return [((*path, place), item) for place, item in enumerate(value)]
        self.document.add(path, "KS-CHAOS-004", "a list is wanted here")
        return []

    def refuse(self, path: ValuePath, data: dict[str, Any], later: Mapping[str, str]) -> None:
        """Fields that a later version has, with what each would be."""
        for key, text in later.items():
            if key in data:
                self.document.add((*path, key), "KS-CHAOS-006", text)

    def unknown(self, path: ValuePath, data: dict[str, Any], known: Iterable[str]) -> None:
        """Fields that are none of these, each with what is near."""
        names = list(known)
        for key in data:
            if key not in names:
                self.name((*path, key), "field", key, names, "KS-CHAOS-002")

    def name(
        self, path: ValuePath, noun: str, name: str, known: Iterable[str], id: str = "KS-CHAOS-014"
    ) -> None:
        """There is no ``noun`` of that name; what is near is told."""
        if self.document.full:
            return
        names = list(known)
        near = difflib.get_close_matches(name[:100], names, n=3, cutoff=0.4)
        hint = f"there are {', '.join(names)}" if names else "there is none here"
        if near:
            hint = f"did you mean {', '.join(near)}?"
        self.document.add(path, id, f"no {noun} {quote(name)}; {hint}")


FIELD: Final = "with"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_USE: Final = re.compile(r"\$\{([^{}]*)\}")
Value = str | int | float | bool


class Parameters(Sections):
    """Puts the parameters of one document into its values; problems go into the document."""

    def fill(self, data: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """``data`` without ``with``, its uses replaced; ``given`` replaces defaults.

        A name that is given and not declared is a problem of the file's ``with``.
        """
        values: dict[str, Any] = {}
        for name, value in self.fields((FIELD,), data.get(FIELD, {})).items():
            if not _NAME.fullmatch(name):
                text = f"{quote(name)} is no name: letters, digits, _ and -, from a letter on"
                self.document.add((FIELD, name), "KS-CHAOS-004", text)
            if not isinstance(value, Value):
                text = f"{name}: a parameter is a text, a number, true or false"
                self.document.add((FIELD, name), "KS-CHAOS-004", text)
            values[name] = value
        for name in given:
            if name not in values:
                self.name((FIELD,), "parameter", name, values, "KS-CHAOS-017")
        values |= given
        rest = {key: value for key, value in data.items() if key != FIELD}
        made: dict[str, Any] = self._put(rest, (), values)
        return made

    def _put(self, value: Any, path: ValuePath, values: Mapping[str, Any]) -> Any:
        if isinstance(value, dict):
            return {key: self._put(item, (*path, key), values) for key, item in value.items()}
        if isinstance(value, list):
            return [self._put(item, (*path, place), values) for place, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        whole = _USE.fullmatch(value.strip())
        if whole is not None:
            return self._value(whole[1], path, values)
        return _USE.sub(lambda use: _text(self._value(use[1], path, values)), value)

    def _value(self, name: str, path: ValuePath, values: Mapping[str, Any]) -> Any:
        if name not in values:
            self.name(path, "parameter", name, values, "KS-CHAOS-017")
            return name
        return values[name]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_BODY: Final = re.compile(r"^(?:workload|hypothesis|guards|schedule):", re.MULTILINE)


class FileHeading(msgspec.Struct, frozen=True, kw_only=True):
    """``comment`` is what stands before the first value."""

    title: str
    comment: str

    def speaks_of(self, word: str) -> bool:
        """Whether the word occurs in title or comment, in capitals or not."""
        return word.lower() in f"{self.title}\n{self.comment}".lower()


def read_heading(text: str) -> FileHeading:
    """The head of a file with this text; empty where it has none."""
    body = _BODY.search(text)
    head = text[: body.start()] if body else text
    data = read_yaml(head).data
    title = data.get("title", "") if isinstance(data, dict) else ""
    comment = " ".join(line.lstrip("# ") for line in takewhile(_is_comment, head.splitlines()))
    return FileHeading(title=str(title), comment=comment)


def _is_comment(line: str) -> bool:
    return line.startswith("#")
