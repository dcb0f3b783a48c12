"""What each command does, in a line."""

from __future__ import annotations

from importlib import import_module
from inspect import cleandoc

from lab.cli.derived import help_of
from lab.cli.grammar import COMMANDS, GROUPS
from lab.schema import commands
from lab.schema.commands import words_of


def command_texts() -> dict[str, str]:
    """Words of every command and group -> the first paragraph of its help."""
    made = dict(GROUPS)
    for kind in commands.all_commands():
        if words_of(kind):
            made[words_of(kind)] = _first(help_of(kind))
    for words, place in COMMANDS.items():
        module, _, name = place.partition(":")
        function = getattr(import_module(f"lab.cli.{module}"), name)
        made[words] = _first(getattr(function, "help", "") or function.__doc__ or "")
    return made


def _first(text: str) -> str:
    return " ".join(cleandoc(text).split("\n\n")[0].split())
