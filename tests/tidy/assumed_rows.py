"""Rows of vCenter's inventory that code assumes to be there.

The inventory changes at every ``await``: a provider, host or VM that was there before may be gone
after it, and a lambda runs whenever its caller likes. ``inventory.providers[name]`` is then a
``KeyError``, which ends vCenter's life. So rows are read with ``.get`` or by a function that raises
``NotFound`` (``VCenter.provider``, ``.host``, ``.vm``). Clusters are exempt: none is ever removed.
"""

from __future__ import annotations

import ast

from tests.tidy.tree import Source

_WHERE = "services/vcenter/"
_EXEMPT = ("services/vcenter/inventory.py",)
"""The inventory keeps its indexes in step with its rows, and has no ``await`` between them."""
_TABLES = frozenset(
    "hosts vms providers deleted released keys authority trust roles permissions"
    " relocations".split()
)


def assumes_a_row(source: Source) -> list[str]:
    """No subscript of the inventory's tables in vCenter."""
    if not source.path.startswith(_WHERE) or source.path in _EXEMPT:
        return []
    return [
        source.at(node.lineno, f"{ast.unparse(node)}: that row may be gone, use .get or vc.*()")
        for node in ast.walk(source.tree())
        if isinstance(node, ast.Subscript) and _is_table(node.value)
    ]


def _is_table(node: ast.expr) -> bool:
    if not isinstance(node, ast.Attribute) or node.attr not in _TABLES:
        return False
    of = node.value
    name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
    return name in ("inventory", "_inventory")
