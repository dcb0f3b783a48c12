"""Lab files of this user: writing a new one, and all that is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from chaos.yaml_file import read_yaml
from lab.local.schema import file_schema
from lab.schema.answers.local import LintReport, NewLab
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import SCHEMA_FILE, SHIPPED, format_lab_file, load, override
from lab.topology.plan import plan
from protocol import names
from protocol.printable import quote_if_needed

DEFAULT: Final = "default"


def lint(file: str) -> LintReport:
    """All that is wrong with a Lab file, a shipped one by its name or one by its path."""
    problems: list[str] = []
    try:
        plan(load(file))
    except KeysteadError as error:
        problems = str(error).splitlines()
    return LintReport(file=file, items=tuple(problems))


def new(name: str, folder: Path, source: str, changes: Mapping[str, Any]) -> NewLab:
    """Write a commented Lab file into ``folder``: the shipped one called ``source`` with
    ``changes`` (those of ``override``), and the schema that its first line names.

    KS-USE-002 for no shipped one; KS-USE-003 for a name that none can have, for options that do not
    fit, and when there is such a file.
    """
    if wrong := names.LAB.fault(name):
        raise KeysteadError("KS-USE-003", wrong)
    shipped = SHIPPED / f"{source}.yaml"
    known = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    if source not in known:
        text = f"there is no Lab file {quote_if_needed(source)} of keystead: {', '.join(known)}"
        raise KeysteadError("KS-USE-002", text)
    text = shipped.read_text(encoding="utf-8")
    shipped_data = read_yaml(text).data
    data = override(shipped_data, {**changes, "name": name})
    try:
        plan(load(data))
    except KeysteadError as error:
        why = str(error).removeprefix("lab: ")
        raise KeysteadError("KS-USE-003", f"the options do not fit: {why}") from None
    path = folder / f"{name}.yaml"
    schema = folder / SCHEMA_FILE
    unchanged = data == {**shipped_data, "name": name}
    about = _about(text) if unchanged else f"A lab based on the shipped Lab file {source}."
    _write_new(path, format_lab_file(data, path.name, about))
    if not schema.exists():
        _write_new(schema, json.dumps(file_schema("lab"), indent=1, ensure_ascii=False) + "\n")
    return NewLab(name=name, file=str(path), schema=str(schema))


def _about(text: str) -> str:
    """The comment at the top of a shipped file, as one line."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.strip("# "))
    return " ".join(lines) or "A lab of keystead."


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise KeysteadError("KS-USE-003", f"{path}: {error.strerror}") from None
