"""Where in a YAML text a value stands: pydantic gives a path, people need line and column."""

from __future__ import annotations

import yaml


def located(root: yaml.Node | None, path: tuple[int | str, ...]) -> str:
    """``:line:column`` of the value at ``path``, or of the deepest part of it that exists."""
    if root is None:
        return ""
    node = root
    for step in path:
        below = _below(node, step)
        if below is None:
            break
        node = below
    return f":{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _below(node: yaml.Node, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value if isinstance(value, yaml.Node) else None
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item if isinstance(item, yaml.Node) else None
    return None
