"""The public shape of commands and answers: each change of it is seen here."""

from __future__ import annotations

import json
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from lab.cli.main import run
from lab.local.schema import schema
from lab.schema import answers
from lab.schema.answers.base import Answer
from lab.serve.table import COMMANDS
from tests.lab.api.json_schema import faults_of

RENEW = (
    "the public shape of commands or answers changed; if that is meant, renew the golden file: "
    "./keystead test tests/lab/api/test_schema.py --snapshot-update"
)


class _Text(SingleFileSnapshotExtension):
    file_extension = "txt"
    _write_mode = WriteMode.TEXT

    def serialize(self, data: Any, **_: Any) -> str:
        return str(data)


def shape(made: dict[str, Any]) -> str:
    """What a program that reads the schema may rely on, without texts: a line for each command,
    answer, struct and field. A field that must be there ends with ``!``."""
    rows = [
        f"command {name} {_type(it['command'])} -> {_type(it['answer'])}"
        + (" changes the lab" if it["changes"] else "")
        for name, it in made["commands"].items()
    ]
    rows += [f"answer {name} {_type(it)}" for name, it in made["answers"].items()]
    for name, struct in made["$defs"].items():
        rows.append(f"{name} {_type(struct)}")
        needed = struct.get("required", ())
        rows += [
            f"  {field}{'!' if field in needed else ''} {_type(it)}"
            for field, it in struct.get("properties", {}).items()
        ]
    rows += [f"{key} {_type(it)}" for key, it in made.items() if key not in _PARTS]
    return "\n".join(rows) + "\n"


_PARTS = ("commands", "answers", "$defs", "oneOf")
_APART = ("description", "title", "properties", "required")
"""Told in lines of their own, or only for people."""


def _type(it: Any) -> str:
    """A schema in short: ``string``, ``[Vm]``, ``integer|null = 3``; what is rare as JSON."""
    if not isinstance(it, dict):
        return json.dumps(it)
    left = {key: value for key, value in it.items() if key not in _APART}
    words = []
    if "$ref" in left:
        words.append(left.pop("$ref").removeprefix("#/$defs/").removeprefix("#/answers/"))
    if "anyOf" in left:
        words.append("|".join(_type(one) for one in left.pop("anyOf")))
    if "items" in left and left.get("type") == "array":
        del left["type"]
        words.append(f"[{_type(left.pop('items'))}]")
    if "type" in left:
        words.append(left.pop("type"))
    default = left.pop("default", _NONE)
    words += [f"{key}={json.dumps(value, sort_keys=True)}" for key, value in sorted(left.items())]
    if default is not _NONE:
        words.append(f"= {json.dumps(default)}")
    return " ".join(words)


_NONE = object()


def test_the_public_shape_is_as_it_was(snapshot: SnapshotAssertion) -> None:
    same = snapshot.use_extension(_Text) == shape(schema())
    assert same, RENEW


def test_a_changed_field_changes_the_shape_and_a_changed_text_does_not() -> None:
    made, other = schema(), schema()
    other["$defs"]["Vm"]["description"] = "Another text."
    assert shape(other) == shape(made)
    for key, value in (("type", "odd"), ("default", "odd"), ("maxLength", 3)):
        other = schema()
        other["$defs"]["Vm"]["properties"]["host"][key] = value
        assert shape(other) != shape(made)
    other = schema()
    del other["$defs"]["Vm"]["properties"]["host"]
    assert shape(other) != shape(made)
    other = schema()
    other["$defs"]["Vm"]["required"].remove("host")
    assert shape(other) != shape(made)


def test_every_document_that_is_printed_is_in_it() -> None:
    """Also those that come as lines: events, logs, progress; and the plan of an experiment."""
    answers = schema()["answers"]
    assert {"Host", "VmList", "LoggedEvent", "LogLine", "Progress", "Plan", "Verdict"} <= {*answers}


def test_every_kind_of_answer_is_in_it() -> None:
    for module in iter_modules(answers.__path__, f"{answers.__name__}."):
        import_module(module.name)
    kinds = list(Answer.__subclasses__())
    for kind in kinds:
        kinds += kind.__subclasses__()
    told = {kind.__name__ for kind in kinds if kind.__module__.startswith("lab.schema.answers.")}
    assert len(told) > 50 and told - {*schema()["answers"]} == set()


def test_it_is_a_schema_whose_references_lead_somewhere_and_whose_defaults_fit() -> None:
    made = schema()
    assert faults_of(made, more=("apiVersion", "commands", "answers")) == []
    for answer in made["answers"].values():
        assert faults_of(answer, made) == []
    for command in made["commands"].values():
        assert faults_of({"oneOf": [command["command"], command["answer"]]}, made) == []


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"$ref": "#/$defs/Nothing"}, "#/$defs/Nothing leads nowhere"),
        ({"type": "text"}, "'text' is no value for it"),
        ({"type": "string", "default": 1.0}, "1.0 is no string"),
        ({"pattern": "("}, "unterminated subpattern"),
        ({"properties": {"a": {}}, "required": ["b"]}, "b is no property"),
        ({"items": {"minimum": "1"}}, "'1' is no value for it"),
        ({"colour": "red"}, "an unknown keyword"),
    ],
)
def test_what_is_wrong_in_a_schema_is_noticed(planted: dict[str, Any], said: str) -> None:
    (fault,) = faults_of({"$defs": {"A": planted}, "$ref": "#/$defs/A"})
    assert said in fault


def test_every_struct_says_what_it_is() -> None:
    """Not in the words that msgspec makes up for a struct without a text."""
    made = schema()["$defs"]
    mute = [n for n, d in made.items() if d.get("type") == "object" and not d.get("description")]
    assert mute == []


@pytest.mark.slow
def test_it_is_printed_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == run(["schema", "-o", "json"]) == 0
    first, second = capsys.readouterr().out.split("\n}\n")[:2]
    assert first == second and json.loads(first + "\n}") == schema()
    run(["schema", "-o", "yaml"])
    assert yaml.safe_load(capsys.readouterr().out) == schema()
    run(["schema", "-o", "name"])
    assert capsys.readouterr().out.split() == sorted(served.name for served in COMMANDS.values())
