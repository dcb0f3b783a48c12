"""The kinds of records that a host writes are those that its package tells of, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import services.esxi

ROOT = Path(services.esxi.__file__).parent


def written() -> set[str]:
    """First arguments of all calls of ``record`` in the package."""
    kinds = set()
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="record"), args=[ast.Constant(value=str(kind)), *_]
                ):
                    kinds.add(kind)
    return kinds


def test_every_kind_is_told_of_and_written() -> None:
    text = str(services.esxi.__doc__).partition("Kinds of records")[2]
    told = set(re.findall(r"``([a-z_]+(?:\.[a-z_]+)?)``", text.partition("\n\n")[0]))
    assert told == written()
