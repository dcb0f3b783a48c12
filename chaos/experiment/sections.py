"""One document under validation: sections as models, and what is wrong with them noted in place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from chaos.experiment.parse import Document
from chaos.yaml_file import Path
from protocol.printable import quote

M = TypeVar("M", bound=BaseModel)
ENTRIES_LIMIT: Final = 1000  # of a schedule, a workload, one phase of a hypothesis


class Sections:
    """Reads parts of ``document``; each problem goes into it, with its place, id and fix."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def section(self, model: type[M], path: Path, value: Any, also: Iterable[str] = ()) -> M | None:
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

    def _report(self, path: Path, detail: Any, fields: list[str]) -> None:
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

    def fields(self, path: Path, value: Any) -> dict[str, Any]:
        """``value`` when it is a map; else none, and a problem."""
        if isinstance(value, dict):
            return value
        self.document.add(path, "KS-CHAOS-004", "a map of fields is wanted here")
        return {}

    def entries(self, path: Path, value: Any) -> list[tuple[Path, Any]]:
        """Each entry of a list with its path; none of what is no list, or too long."""
        if isinstance(value, list) and len(value) > ENTRIES_LIMIT:
            text = f"{len(value)} entries are more than {ENTRIES_LIMIT}"
            self.document.add(path, "KS-CHAOS-009", text)
            return []
        if isinstance(value, list):
            return [((*path, place), item) for place, item in enumerate(value)]
        self.document.add(path, "KS-CHAOS-004", "a list is wanted here")
        return []

    def refuse(self, path: Path, data: dict[str, Any], later: Mapping[str, str]) -> None:
        """Fields that a later version has, with what each would be."""
        for key, text in later.items():
            if key in data:
                self.document.add((*path, key), "KS-CHAOS-006", text)

    def unknown(self, path: Path, data: dict[str, Any], known: Iterable[str]) -> None:
        """Fields that are none of these, each with what is near."""
        names = list(known)
        for key in data:
            if key not in names:
                self.name((*path, key), "field", key, names, "KS-CHAOS-002")

    def name(
        self, path: Path, noun: str, name: str, known: Iterable[str], id: str = "KS-CHAOS-014"
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
