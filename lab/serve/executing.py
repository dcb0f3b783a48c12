"""Which function executes a command: ``@executes`` says so where the function stands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from lab.schema import commands
from lab.schema.commands import Command, answer_type, name_of
from lab.serve.session import LabSession

Function = Callable[[LabSession, Any], Awaitable[msgspec.Struct]]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True)
class Served:
    """A command as the lab serves it."""

    command: type[Command[Any]]
    run: Function

    @property
    def name(self) -> str:
        """The command's name on the wire."""
        return name_of(self.command)

    @property
    def answer(self) -> type[msgspec.Struct]:
        """The struct that answers it."""
        return answer_type(self.command)

    @property
    def changes(self) -> bool:
        """Whether the lab may be another one afterwards."""
        return self.command.changes


COMMANDS: dict[type[Command[Any]], Served] = {}
"""Every command that a lab serves, once ``lab.serve.table`` is imported."""


def executes(function: F) -> F:
    """Let ``async def function(session, command: commands.VmOn)`` execute that command, or each
    command of a kind, such as ``commands.LinkFault``.

    Raises ``TypeError`` for a command that another function executes.
    """
    named = getattr(commands, function.__annotations__["command"].rpartition(".")[2])
    for kind in commands.all_commands(named):
        if kind in COMMANDS:
            other = COMMANDS[kind].run
            raise TypeError(f"{kind.__name__} is executed by {other.__qualname__} already")
        COMMANDS[kind] = Served(kind, function)
    return function
