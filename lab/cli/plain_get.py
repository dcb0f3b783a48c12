"""A plain ``get``, parsed without cyclopts: half of the time of such a command were imports.

``keystead get vms vm-01 -o json -n second``: a noun, names, and the options ``-o``, ``-n``, ``-q``.
Every other command line, also a wrong one, is parsed by ``program``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.cli.invocation import Format

_ELSEWHERE = ("KEYSTEAD_OUTPUT", "KEYSTEAD_VCENTER", "KEYSTEAD_USER")
"""Variables whose values ``program`` reads."""
_FORMATS = frozenset(map(str, Format))


@dataclass
class PlainGet:
    """What the command line says; the fields of ``Asked``, and what is listed."""

    noun: str
    names: Sequence[str]
    name: str
    output: Format = Format.TABLE
    quiet: bool = False
    vcenter: str = ""


def parse(arguments: Sequence[str]) -> PlainGet | None:
    """None: the command line is not so plain."""
    if len(arguments) < 2 or arguments[0] != "get" or any(map(os.environ.get, _ELSEWHERE)):
        return None
    names: list[str] = []
    asked = PlainGet(arguments[1], names, os.environ.get("KEYSTEAD_NAME") or "default")
    rest = iter(arguments[2:])
    output = None
    for word in rest:
        if word in ("-o", "--output"):
            output = next(rest, "")
            if output not in _FORMATS:
                return None
        elif word in ("-n", "--name"):
            asked.name = next(rest, "-")
        elif word in ("-q", "--quiet"):
            asked.quiet = True
        else:
            names.append(word)
    if not all(word and word[0] != "-" for word in (asked.noun, asked.name, *names)):
        return None
    asked.output = Format(output or (Format.NAME if asked.quiet else Format.TABLE))
    if asked.quiet and asked.output is Format.WIDE:
        asked.output = Format.NAME
    return asked


def run(arguments: Sequence[str]) -> int | None:
    """Execute a plain ``get`` and return its exit code; None for every other command line."""
    asked = parse(arguments)
    if asked is None:
        return None
    from lab.schema.commands import Command, all_commands, words_of

    nouns: dict[str, type[Command[Any]]] = {words_of(kind): kind for kind in all_commands()}
    kind = nouns.get(f"get {asked.noun}") or nouns.get(f"get {asked.noun}s")
    if kind is None or kind.__struct_fields__:
        return None
    from lab.cli.results import look

    return look(kind(), asked.names, asked)
