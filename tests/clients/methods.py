"""Makes ``keystead/_commands.py`` of the schema: ``python -m tests.clients.methods`` renews it."""

from __future__ import annotations

import keyword
import subprocess
import sys
from inspect import cleandoc
from textwrap import wrap
from typing import Any

from lab.local.schema import schema
from tests.tidy.tree import ROOT

FILE = ROOT / "clients" / "python" / "keystead" / "_commands.py"
_HEAD = '''\
"""A method for each command of ``keystead schema``. Generated: do not edit.

``python -m tests.clients.methods`` in a checkout of keystead renews it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keystead.connection import Answer
'''
_DEFINITIONS: dict[str, dict[str, Any]] = {}
_WIDTH = 100 - 8 - 3
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def module_text() -> str:
    """The whole module."""
    made = schema()
    _DEFINITIONS.update(made["$defs"])
    rows = [
        (name, made["$defs"][row["command"]["$ref"].rpartition("/")[2]], row["answer"]["$ref"])
        for name, row in made["commands"].items()
    ]
    text = _HEAD
    for kind, word, wait in (("Commands", "def", ""), ("AsyncCommands", "async def", "await ")):
        text += f'\n\nclass {kind}:\n    """Every command of a lab."""\n\n'
        text += f"    {word} do(self, command: str, arguments: Mapping[str, Any]) -> Answer:\n"
        text += '        """Give a command by its name."""\n        raise NotImplementedError\n'
        for name, struct, answer in rows:
            text += _method(name, struct, answer.rpartition("/")[2], word, wait)
    return text


def formatted(text: str) -> str:
    """As ``ruff format`` has it."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(FILE), "-"]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return ran.stdout


def _method(name: str, struct: dict[str, Any], answer: str, word: str, wait: str) -> str:
    fields = {key: one for key, one in struct["properties"].items() if key != "command"}
    needed = [key for key in fields if key in struct["required"]]
    optional = [key for key in fields if key not in needed]
    places = ["self", *(f"{_python(key)}: {_type(fields[key])}" for key in needed)]
    if optional:
        places += ["*", *(f"{_python(key)}: {_type(fields[key], True)} = None" for key in optional)]
    given = ", ".join(f'"{key}": {_python(key)}' for key in fields)
    doc = cleandoc(struct.get("description", "")).replace("\\", "\\\\").splitlines() or [name]
    told = [
        f"{key}: {fields[key]['description']}" for key in fields if "description" in fields[key]
    ]
    doc += ["", *told, f"The answer is a ``{answer}``."]
    doc = [part for line in doc for part in wrap(line, _WIDTH) or [""]]
    body = "\n".join(f"        {line}".rstrip() for line in doc).lstrip()
    return (
        f"\n    {word} {_python(name)}({', '.join(places)}) -> Answer:\n"
        f'        """{body}\n        """\n'
        f'        return {wait}self.do("{name}", {{{given}}})\n'
    )


def _python(name: str) -> str:
    made = name.replace(".", "_").replace("-", "_")
    return f"{made}_" if keyword.iskeyword(made) else made


def _type(field: dict[str, Any], optional: bool = False) -> str:
    kinds = field.get("anyOf", [field])
    names = {_one(kind) for kind in kinds} - {"None"}
    made = names.pop() if len(names) == 1 else "Any"
    empty = optional or {"type": "null"} in kinds
    return f"{made} | None" if empty and made != "Any" else made


def _one(kind: dict[str, Any]) -> str:
    if kind.get("type") == "null":
        return "None"
    if kind.get("type") == "array":
        items = kind.get("items")
        return f"Sequence[{_one(items) if isinstance(items, dict) else 'Any'}]"
    if kind.get("type") == "object":
        return "Mapping[str, Any]"
    if "$ref" in kind:
        return _one(_DEFINITIONS[kind["$ref"].rpartition("/")[2]])
    if "enum" in kind:
        return "str"
    return _PLAIN.get(str(kind.get("type")), "Any")


if __name__ == "__main__":
    FILE.write_text(formatted(module_text()), "utf-8")
