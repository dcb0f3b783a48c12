"""Which public classes, functions and methods say in a docstring what they mean.

Public is what has no leading underscore and lies in no class or function that has one. A method
that overrides one of a base class of this tree needs none of its own where the base tells: the
promise is the base's. Neither do special methods, setters and the variants of an overload.

    python -m tests.tidy.documented [PATH ...]      lists what is missing, all of it or below PATH
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.tidy.tree import Source, python_sources, statements

TOLD = (
    "protocol/",
    "services/runtime/ports.py",
    "chaos/",
    "lab/schema/",
    "lab/serve/",
    "lab/local/",
)
"""Where everything public has a docstring."""

_EXEMPT = ("overload", "setter", "deleter")


@dataclass
class _Class:
    bases: list[str]
    told: set[str] = field(default_factory=set)


def undocumented(checked: Iterable[Source], known: Iterable[Source] = ()) -> list[str]:
    """Findings for what is public and silent in ``checked``.

    Base classes are looked for by name in ``checked`` and ``known``."""
    checked = list(checked)
    classes = _classes([*known, *checked])
    return [
        source.at(line, f"{name} has no docstring")
        for source in checked
        for line, name in _silent(source.tree(), "", "", classes)
    ]


def _silent(
    scope: ast.Module | ast.ClassDef, prefix: str, owner: str, classes: dict[str, list[_Class]]
) -> Iterator[tuple[int, str]]:
    for node in scope.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and not _needs_none(node, owner, classes):
            yield node.lineno, prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _silent(node, f"{prefix}{node.name}.", node.name, classes)


def _needs_none(
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
    owner: str,
    classes: dict[str, list[_Class]],
) -> bool:
    if isinstance(node, ast.ClassDef):
        return False
    if any(ast.unparse(mark).endswith(_EXEMPT) for mark in node.decorator_list):
        return True
    return bool(owner) and _inherited(node.name, owner, classes, set())


def _inherited(name: str, owner: str, classes: dict[str, list[_Class]], seen: set[str]) -> bool:
    """A base of ``owner``, near or far, tells what ``name`` means."""
    bases = {base for found in classes.get(owner, []) for base in found.bases} - seen
    seen |= bases
    return any(
        any(name in found.told for found in classes.get(base, []))
        or _inherited(name, base, classes, seen)
        for base in sorted(bases)
    )


def _classes(known: Iterable[Source]) -> dict[str, list[_Class]]:
    found: dict[str, list[_Class]] = {}
    for source in known:
        for node in statements(source.tree()):
            if isinstance(node, ast.ClassDef):
                made = _Class([_base(base) for base in node.bases])
                made.told = {
                    inner.name
                    for inner in node.body
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
                    and ast.get_docstring(inner)
                }
                found.setdefault(node.name, []).append(made)
    return found


def _base(base: ast.expr) -> str:
    """The plain name of a base class: ``Request`` of ``base.Request[KeyCreated]``."""
    match base:
        case ast.Subscript(value=inner):
            return _base(inner)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def told_sources() -> list[Source]:
    """The files in which everything public has a docstring."""
    return [source for source in python_sources() if source.path.startswith(TOLD)]


if __name__ == "__main__":
    below = tuple(sys.argv[1:]) or ("",)
    chosen = [source for source in told_sources() if source.path.startswith(below)]
    missing = undocumented(chosen, python_sources())
    print("\n".join([*missing, f"{len(missing)} without docstring"]))
