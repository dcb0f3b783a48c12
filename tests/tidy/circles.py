"""Modules of the packages that import each other in a circle."""

from __future__ import annotations

import ast
from collections.abc import Collection

from tests.tidy.tree import package_sources, statements


def circles(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, at load or later: one finding for each of them.

    Modules that nothing left imports, or that import nothing left, are taken away until none is;
    what stays lies on a circle or between two of them.
    """
    left = dict(imports)
    while True:
        imported = {target for targets in left.values() for target in targets}
        kept = {name: targets & left.keys() for name, targets in left.items() if name in imported}
        kept = {name: targets for name, targets in kept.items() if targets}
        if kept == left:
            return [f"{name} -> {', '.join(sorted(to))}" for name, to in sorted(left.items())]
        left = kept


def imports_of_packages() -> dict[str, set[str]]:
    """Each module of the packages, and those of the packages that it imports anywhere in it."""
    trees = {
        source.path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): source.tree()
        for source in package_sources()
    }
    return {name: imported(tree, trees.keys()) - {name} for name, tree in trees.items()}


def imported(tree: ast.Module, known: Collection[str]) -> set[str]:
    """The modules of ``known`` that ``tree`` imports: of a package, what is named or itself."""
    found: set[str] = set()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in inner}
    return found & set(known)
