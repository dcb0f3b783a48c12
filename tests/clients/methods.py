"""Makes ``commands.json``, ``_commands.pyi`` and ``answers.pyi`` of the package ``keystead`` from
the schema: ``python -m tests.clients.methods`` renews them."""

from __future__ import annotations

import json
import keyword
import subprocess
import sys
from textwrap import indent, wrap
from typing import Any

from lab.cli.program import flowing
from lab.local.schema import schema
from tests.tidy.tree import ROOT

PACKAGE = ROOT / "clients" / "python" / "keystead"
_RENEW = "Generated: `python -m tests.clients.methods` in a checkout of keystead renews it."
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_LONG_ENUM = 20  # more values than an editor shows at once: such a member is a plain string
_WIDTH = 100 - 8 - 6  # two times three quotes


class _Stubs:
    """The three files, of one reading of the schema."""

    def __init__(self) -> None:
        made = schema()
        self._definitions: dict[str, dict[str, Any]] = made["$defs"]
        self._documents = made["answers"]
        self._named: dict[str, None] = {"LoggedEvent": None}  # what answers refer to, in order
        self._rows = [
            (name, self._struct(row["command"]), _last(row["answer"]))
            for name, row in made["commands"].items()
        ]

    def files(self) -> dict[str, str]:
        """By name; the stubs as ``ruff format`` has them."""
        table = ",\n".join(
            f"{json.dumps(_python(row[0]))}: {self._line(*row)}" for row in self._rows
        )
        commands = self._commands()  # names the answers
        return {
            "commands.json": f"{{\n{table}\n}}\n",
            "_commands.pyi": _formatted(commands),
            "answers.pyi": _formatted(self._answers()),
        }

    def _line(self, name: str, struct: dict[str, Any], answer: str) -> str:
        places = [(_python(key), kind, needed) for key, kind, needed in self._places(struct)]
        doc = "\n".join(self._doc(name, struct, answer))
        return json.dumps({"command": name, "doc": doc, "places": places})

    def _commands(self) -> str:
        text = f'"""A method for each command.\n\n{_RENEW}\n"""\n\n'
        text += "from collections.abc import Mapping, Sequence\nfrom typing import Any, Literal\n\n"
        text += "from keystead import answers\n"
        for kind, word in (("Commands", "def"), ("AsyncCommands", "async def")):
            text += f'\nclass {kind}:\n    """Every command of a lab."""\n\n'
            for name, struct, answer in self._rows:
                self._named[answer] = None
                text += self._method(name, struct, answer, word)
        return text

    def _method(self, name: str, struct: dict[str, Any], answer: str, word: str) -> str:
        places = self._places(struct)
        words = ["self", *(f"{_python(key)}: {kind}" for key, kind, needed in places if needed)]
        options = [f"{_python(key)}: {kind} = None" for key, kind, needed in places if not needed]
        given = ", ".join([*words, *(["*", *options] if options else [])])
        doc = self._doc(name, struct, answer)
        if word != "def":  # the whole text is that of the other class
            doc = doc[: doc.index("")]
        body = indent("\n".join(doc), " " * 8).lstrip()
        body = body.replace("\\", "\\\\")
        return (
            f"    {word} {_python(name)}({given}) -> answers.{answer}:\n"
            f'        """{body}\n        """\n\n'
        )

    def _places(self, struct: dict[str, Any]) -> list[tuple[str, str, bool]]:
        """Each argument, its type and whether it must be given: those first."""
        fields = {key: one for key, one in struct["properties"].items() if key != "command"}
        made = []
        for key, field in fields.items():
            needed = key in struct["required"]
            kind = self._type(field, given=True)
            if not needed and not kind.endswith("None") and kind != "Any":
                kind += " | None"
            made.append((key, kind, needed))
        return sorted(made, key=lambda one: not one[2])

    def _doc(self, name: str, struct: dict[str, Any], answer: str) -> list[str]:
        fields = struct["properties"]
        lines = flowing(struct.get("description", "")).splitlines() or [name]
        told = [
            f"{key}: {fields[key]['description']}" for key in fields if "description" in fields[key]
        ]
        lines += ["", *told, f"The answer is a ``{answer}``."]
        return [part for line in lines for part in _wrapped(line)]

    def _answers(self) -> str:
        text = f'"""The types of answers.\n\n{_RENEW}\n"""\n\nfrom collections.abc import Mapping\n'
        text += "from typing import Any, Literal\n\nfrom keystead.connection import Answer\n"
        written: set[str] = set()
        while waiting := [name for name in self._named if name not in written]:
            for name in waiting:
                written.add(name)
                text += self._class(name)
        return text

    def _class(self, name: str) -> str:
        struct = self._definitions[name]
        doc = [
            part
            for line in flowing(struct.get("description", name)).splitlines()
            for part in _wrapped(line)
        ]
        body = indent("\n".join(doc).replace("\\", "\\\\"), "    ")
        text = f'\nclass {name.rpartition(".")[2]}(Answer):\n    """{body.lstrip()}"""\n\n'
        if name in self._documents:
            text += "    apiVersion: str\n    kind: str\n"
        for key, field in struct.get("properties", {}).items():
            text += f"    {_python(key)}: {self._type(field)}\n"
        return text

    def _type(self, field: dict[str, Any], given: bool = False) -> str:
        kinds = [self._one(kind, given) for kind in field.get("anyOf", [field])]
        if "Any" in kinds:
            return "Any"
        names = dict.fromkeys(sorted(kinds, key=lambda kind: kind == "None"))
        return " | ".join(names)

    def _one(self, kind: dict[str, Any], given: bool) -> str:
        if "$ref" in kind:
            return self._referred(_last(kind), given)
        if "enum" in kind:
            return _literal(kind["enum"])
        match kind.get("type"):
            case "null":
                return "None"
            case "array":
                items = kind.get("items")
                inner = self._type(items, given) if isinstance(items, dict) else "Any"
                return f"{'Sequence' if given else 'list'}[{inner}]"
            case "object":
                values = kind.get("additionalProperties")
                inner = self._type(values, given) if isinstance(values, dict) else "Any"
                return f"Mapping[str, {inner}]"
        return _PLAIN.get(str(kind.get("type")), "Any")

    def _referred(self, name: str, given: bool) -> str:
        found = self._definitions[name]
        if "enum" in found:
            return _literal(found["enum"])
        if found.get("type") != "object" or "properties" not in found:
            return self._type(found, given)
        if given:
            return "Mapping[str, Any]"
        self._named[name] = None
        return name.rpartition(".")[2]

    def _struct(self, reference: dict[str, str]) -> dict[str, Any]:
        return self._definitions[_last(reference)]


def files() -> dict[str, str]:
    """The text of each generated file, by its name in the package."""
    return _Stubs().files()


def _wrapped(line: str) -> list[str]:
    return wrap(line, _WIDTH, break_on_hyphens=False) or [""]


def _last(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _literal(values: list[Any]) -> str:
    if len(values) > _LONG_ENUM:
        return "str"
    return f"Literal[{', '.join(map(repr, values))}]"


def _python(name: str) -> str:
    made = name.replace(".", "_").replace("-", "_")
    return f"{made}_" if keyword.iskeyword(made) else made


def _formatted(text: str) -> str:
    command = [sys.executable, "-m", "ruff", "--quiet"]
    for words in (["check", "--fix", "--select", "F401,I"], ["format"]):
        given = [*command, *words, "--stdin-filename", str(PACKAGE / "_commands.pyi"), "-"]
        text = subprocess.run(given, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    for name, text in files().items():
        (PACKAGE / name).write_text(text, "utf-8")
