"""From a command line to a running lab and back, with its progress on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from lab.cli.output import say
from lab.state.state_folder import LabFolder

if TYPE_CHECKING:
    from lab.cli.asked import Asked
    from lab.schema.commands import Command
    from protocol.messages.base import Event

A = TypeVar("A")


def call(options: Asked, command: Command[A]) -> A:
    """Execute a command in a running lab; its answer. Progress of long commands is on stderr."""
    user: str = getattr(options, "user", "")
    if not command.changes:
        from lab.local.question import ask

        if (answer := ask(options.name, command, options.vcenter, user)) is not None:
            return answer
    # The control plane takes as long to import as the rest of the command line.
    import asyncio

    from lab.local.remote import Remote

    async def one() -> A:
        async with Remote(LabFolder(options.name), options.vcenter, user) as lab:
            if sys.stderr.isatty() and not options.quiet:
                await lab.follow(_progress)
            return await lab.do(command)

    return asyncio.run(one())


def _progress(event: Event) -> None:
    from lab.schema.wire import Progress

    if isinstance(event, Progress) and event.total > 1:
        say(f"[{event.step}/{event.total}] {event.text}")
