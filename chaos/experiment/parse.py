"""An experiment's text as values, and its problems as people read them: place, id, text, fix."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from chaos.errors import EXPLANATIONS
from chaos.yaml_file import Path, TextPlace, YamlFile, YamlFlaw, read_yaml

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

    def add(self, path: Path, id: str, text: str, fix: str = "") -> None:
        """Note a problem of the value at ``path``; without a better one, with the id's fix."""
        self._note(self._yaml.place(path), id, text, fix)

    def _note(self, place: TextPlace, id: str, text: str, fix: str = "") -> None:
        if self.full:
            return
        self.problems.append(Problem(self.file, place, id, text, fix or EXPLANATIONS[id].fix))


def parse(text: str, file: str) -> Document:
    """The document in ``text``; what is wrong with the YAML itself is in ``problems`` already."""
    return Document(file, read_yaml(text))
