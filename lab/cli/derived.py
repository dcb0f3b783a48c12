"""Commands of the command line that are made of their structs alone.

``lab.schema.commands`` has the words, the help, the arguments and the table of each. A command with
a terminal flow of its own has a function in another module here, and a line in ``grammar``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from inspect import BoundArguments, Signature, cleandoc
from inspect import Parameter as Place
from typing import Annotated, Any, get_args, get_origin

import msgspec
from cyclopts import Parameter

from lab.cli.arguments import COMPLETERS, READERS
from lab.cli.options import DEFAULTS, VIEW, Options, View
from lab.cli.results import look, run, table_for
from lab.schema import commands
from lab.schema.commands import Command, words_of
from lab.schema.commands.base import Argument, arguments_of

Function = Callable[..., int]
_SHARED = {"name", "vcenter", "user", "output", "quiet"}
"""Options of every command: a word of such a name is known by its place alone."""
_MARKED = re.compile(r"``([^`]+)``")
_RULES = re.compile(r"\s\[[A-Z]+-?\d+(?:, [A-Z]+-?\d+)*\]")


def list_derived() -> dict[str, str]:
    """Words -> ``module:function`` of each command that is made of its struct."""
    kinds = commands.all_commands()
    return {words_of(kind): f"derived:{kind.__name__}" for kind in kinds if words_of(kind)}


def __getattr__(name: str) -> Function:
    """The function of the command whose struct has this name."""
    kind = getattr(commands, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Command)):
        raise AttributeError(name)
    return function_of(kind)


def function_of(kind: type[Command[Any]]) -> Function:
    """A function that cyclopts parses a command line for: it gives the command and prints what
    came of it. Its ``made_of`` is the command alone, of arguments that were parsed."""
    arguments = arguments_of(kind)
    listing = words_of(kind).startswith("get ")
    places = [_place(one) for one in _flat(arguments)]
    if listing:
        places.append(_place_names(kind))
        places.append(_keyword("view", View, VIEW))
    places.append(_keyword("options", Options, DEFAULTS))
    signature = Signature(sorted(places, key=lambda place: place.kind), return_annotation=int)

    def make_command(bound: BoundArguments) -> Command[Any]:
        bound.apply_defaults()
        made: Command[Any] = _build(kind, arguments, bound.arguments)
        return made

    def command(*words: Any, **options: Any) -> int:
        bound = signature.bind(*words, **options)
        made, given = make_command(bound), bound.arguments
        if listing:
            return look(made, given["names"], given["options"], given["view"])
        return run(made, given["options"])

    command.made_of = make_command  # type: ignore[attr-defined]
    command.__name__ = kind.__name__
    command.__doc__ = help_of(kind)
    command.__annotations__ = {place.name: place.annotation for place in places}
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command


def help_of(kind: type[Command[Any]]) -> str:
    """Its docstring, with the words of the command line for fields and other commands. The ids of
    rules are left out of the first paragraph, which lists of commands show."""
    said = {one.field: _name_in_help(one) for one in _flat(arguments_of(kind))}

    def spell(found: re.Match[str]) -> str:
        word = found[1]
        other = getattr(commands, word, None)
        if isinstance(other, type) and issubclass(other, Command):
            return f"`{words_of(other)}`"
        return said.get(word, f"`{word}`")

    first, *more = cleandoc(kind.__doc__ or "").split("\n\n")
    return _MARKED.sub(spell, "\n\n".join([_RULES.sub("", first), *more]))


def _label(one: Argument) -> str:
    """What an error calls it."""
    return one.name or (one.field if one.word else "--" + one.field.replace("_", "-"))


def _name_in_help(one: Argument) -> str:
    """What the help calls it."""
    return _label(one).upper() if one.word else _label(one)


def _flat(arguments: tuple[Argument, ...]) -> list[Argument]:
    """With those of structs inside of the command in their place."""
    return [each for one in arguments for each in (_flat(one.nested) if one.nested else [one])]


def _name(one: Argument) -> str:
    """Of the function's parameter, from which cyclopts makes that of a word or an option."""
    return one.name if one.name and not one.name.startswith("--") else one.field


def _place(one: Argument) -> Place:
    reader = READERS.get(one.reads)
    hint, default = one.type, Place.empty if one.required else one.default
    if reader is not None:
        hint, default = reader.hint, Place.empty if one.required else reader.default
    several = get_origin(hint) is tuple
    notes: dict[str, Any] = {"help": one.help or None, "completer": COMPLETERS.get(one.completes)}
    kind = _kind_of(one, several)
    if kind is Place.VAR_POSITIONAL:
        hint, default = get_args(hint)[0], Place.empty
    elif several and one.required:
        default, notes["show_default"] = (), False  # the struct refuses one that names none
    if one.reads == "words":
        notes["allow_leading_hyphen"] = True
    if one.name.startswith("--"):
        notes["name"] = one.name
    if one.type is bool and not one.negated:
        notes["negative"] = ""
    annotation: Any = Annotated[hint, Parameter(**notes)]
    return Place(_name(one), kind, default=default, annotation=annotation)


def _kind_of(one: Argument, several: bool) -> Any:
    """The kind of its parameter."""
    if not one.word:
        return Place.KEYWORD_ONLY
    if several:
        return Place.VAR_POSITIONAL
    by_place_alone = _name(one) in _SHARED
    return Place.POSITIONAL_ONLY if by_place_alone else Place.POSITIONAL_OR_KEYWORD


def _place_names(kind: type[Command[Any]]) -> Place:
    """Which rows of a list are shown."""

    def complete(context: Any) -> list[str]:
        names = COMPLETERS.get(table_for(kind).key)
        return names(context) if names else []

    note = Parameter(help="Only these; all when left out.", completer=complete)
    return Place("names", Place.VAR_POSITIONAL, annotation=Annotated[str, note])


def _keyword(name: str, kind: type, default: Any) -> Place:
    return Place(name, Place.KEYWORD_ONLY, default=default, annotation=kind)


def _build(
    kind: type[msgspec.Struct], arguments: tuple[Argument, ...], given: Mapping[str, Any]
) -> Any:
    """The struct for what was given; raises ``KeysteadError`` KS-USE-003."""
    values: dict[str, Any] = {}
    for one in arguments:
        if one.nested:
            values[one.field] = _build(one.type, one.nested, given)
            continue
        value = given[_name(one)]
        if one.reads:
            value = READERS[one.reads].read(_label(one), value)
        elif value == () and not one.required:
            value = one.default
        values[one.field] = value
    return kind(**values)
