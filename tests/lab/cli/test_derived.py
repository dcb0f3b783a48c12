"""Every command that is derived of its struct: what a line gives arrives in the field it is for."""

from __future__ import annotations

import shlex
import types
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

from lab.cli.derived import function_of, list_derived
from lab.cli.grammar import COMMANDS, GROUPS
from lab.cli.pages import PAGES
from lab.cli.program import build
from lab.schema import commands as c
from lab.schema.commands.base import Argument, arguments_of, doc
from lab.schema.errors import KeysteadError
from lab.schema.tables import table_of
from protocol.authorization import Privilege

KINDS = [kind for kind in c.all_commands() if c.words_of(kind) not in ("", *COMMANDS)]
program = cache(build)


def sample(hint: Any, field: str) -> Any:
    """A value that no other field has, and that is not the default."""
    if get_origin(hint) in (Union, types.UnionType):
        return sample(get_args(hint)[0], field)
    if get_origin(hint) is Literal:
        return get_args(hint)[-1]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return list(hint)[-1]
    return 7 if hint is int else f"{field.replace('_', '-')}-1"


def given(one: Argument) -> tuple[Any, list[str]]:
    """A value of the field, and the words that give it on a line."""
    option = one.name if one.name.startswith("--") else "--" + one.field.replace("_", "-")
    value: Any
    match one.reads:
        case "duration" | "lease":
            value, texts = 90.0, ["90s"]
        case "share":
            value, texts = 0.2, ["20%"]
        case "path":
            value, texts = f"/folder/{one.field}", [f"/folder/{one.field}"]
        case "certificate":
            value, texts = b"/own.pem", ["/own.pem"]
        case "certificates":
            value, texts = (b"/own.pem",), ["/own.pem"]
        case "kind":
            value, texts = "host.tpm_disabled", ["host.tpm-disabled"]
        case "bytes":
            value, texts = b"some text", ["some text"]
        case "privileges":
            value, texts = tuple(Privilege)[:2], [str(each) for each in tuple(Privilege)[:2]]
        case "assignments":
            value, texts = {"on": "esxi-001", "n": 2}, ["on=esxi-001", "n=2"]
        case "words":
            value, texts = ("a", "--b", "-c"), ["a", "--b", "-c"]
        case _ if one.type is bool:
            value = not one.default if not one.required else True
            return value, [option]
        case _ if one.several:
            value = (sample(get_args(one.type)[0], one.field),)
            texts = [str(each) for each in value]
        case _:
            value = sample(one.type, one.field)
            texts = [value.value if isinstance(value, Enum) else str(value)]
    if one.word:
        return value, texts
    return value, [word for text in texts for word in (option, text)]


def lines(kind: type[c.Command[Any]]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """What is given, and the line that gives it: what must be, with each other field, with all."""
    arguments = [one for one in arguments_of(kind) if not one.nested]
    needed = [one for one in arguments if one.required]
    others = [one for one in arguments if not one.required]
    for chosen in ([], *([one] for one in others), others):
        values, words = {}, c.words_of(kind).split()
        for one in (*needed, *chosen):
            values[one.field], more = given(one)
            words += more
        yield values, words


def outcome(make: Any) -> Any:
    """The command, or the text of its refusal."""
    try:
        return make()
    except KeysteadError as error:
        return str(error)


@pytest.mark.parametrize("kind", KINDS, ids=c.name_of)
def test_each_argument_of_a_line_is_a_field_of_the_command(
    kind: type[c.Command[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.cli.arguments.certificates", lambda file: (str(file).encode(),))
    monkeypatch.setattr("lab.cli.derived.run", lambda command, options: command)
    monkeypatch.setattr("lab.cli.derived.look", lambda command, *rest: command)
    for values, words in lines(kind):
        made = outcome(
            lambda words=words: program()(
                words, print_error=False, exit_on_error=False, result_action="return_value"
            )
        )
        assert made == outcome(lambda values=values: kind(**values)), shlex.join(words)


@pytest.mark.parametrize("kind", KINDS, ids=c.name_of)
def test_each_answer_has_a_table_or_a_page(kind: type[c.Command[Any]]) -> None:
    answer = c.answer_type(kind)
    assert answer in PAGES or kind.table or table_of(answer) is not None


def test_each_command_belongs_to_a_group_that_is_explained() -> None:
    for words in list_derived():
        group = words.rpartition(" ")[0]
        assert group == "" or group in GROUPS, words


def test_a_field_says_how_it_is_given() -> None:
    """A struct alone is a command: words, options, names of their own, texts that become values."""

    class Probe(c.Command["Vm"], frozen=True, tag="probe.it"):  # type: ignore[name-defined]
        """Probe ``target`` within ``limit_s``, as ``VmRemoveDisk`` does; see ``text``.

        keystead probe it a
        """

        target: str
        limit_s: Annotated[float, doc("Lab time.", name="--within", reads="duration")] = 0.0
        deep: Annotated[bool, doc("Deeper.")] = False

    probe = function_of(Probe)
    assert probe.__doc__ == (
        "Probe TARGET within --within, as `vm remove-disk` does; see `text`.\n\nkeystead probe it a"
    )
    target, limit, deep = arguments_of(Probe)
    assert target.word and target.required and not limit.word and not deep.word
    assert (limit.name, limit.help, deep.default) == ("--within", "Lab time.", False)


def test_a_fault_and_a_disk_are_given_as_words() -> None:
    """The lines of the test above are those that people type."""
    [_, words], *_ = lines(c.VmRemoveDisk)
    assert words == ["vm", "remove-disk", "vm-1", "7"]
    [_, words], *_ = lines(c.FaultInject)
    assert words == ["fault", "host.tpm-disabled"]
