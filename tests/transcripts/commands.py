"""Every command of the command line with its examples and options; what a typed line gives."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from cyclopts import App

from lab.cli.program import build

_EXAMPLE = re.compile(r"^ *(keystead .+)$", re.M)
EVERYWHERE = frozenset({"--name", "--output", "--vcenter", "--user", "--quiet", "--help"})
"""Options of every command that has ``Options``; ``transcripts`` need not give each to each."""


@dataclass(frozen=True)
class Command:
    """``options``: every spelling of an option, with its first one."""

    words: tuple[str, ...]
    examples: tuple[str, ...]
    options: Mapping[str, str]
    prints_documents: bool

    @property
    def name(self) -> str:
        return " ".join(self.words)


@cache
def commands() -> Mapping[tuple[str, ...], Command]:
    """Every command by its words."""
    program = build()
    return MappingProxyType({made.words: made for made in _walk(program, (), program)})


def _walk(app: App, above: tuple[str, ...], program: App) -> Iterator[Command]:
    for name in app:
        if name.startswith("-"):
            continue
        words, made = (*above, name), app[name]
        if made.default_command is not None:
            text = inspect.cleandoc(made.default_command.__doc__ or "")
            options = _options(made, program)
            yield Command(words, tuple(_EXAMPLE.findall(text)), options, "--output" in options)
        yield from _walk(made, words, program)


def _options(app: App, program: App) -> Mapping[str, str]:
    usual = program.default_parameter
    found: dict[str, str] = {}
    for one in app.assemble_argument_collection(default_parameter=usual):
        long = [name for name in one.names if name.startswith("--")]
        if not long or one.field_info.is_positional:
            continue
        first = long[0]
        found |= {name: first for name in one.names if name.startswith("-")}
    return found


def command_of(line: str) -> Command | None:
    """The command of a typed line, that with the most words; None for one that there is not."""
    tokens = shlex.split(line)[1:]
    for length in range(min(len(tokens), 3), 0, -1):
        if found := commands().get(tuple(tokens[:length])):
            return found
    return None


def given(line: str) -> frozenset[str]:
    """The options that a typed line gives, each by its first spelling."""
    command = command_of(line)
    if command is None:
        return frozenset()
    words = (token.partition("=")[0] for token in shlex.split(line))
    return frozenset(command.options[word] for word in words if word in command.options)
