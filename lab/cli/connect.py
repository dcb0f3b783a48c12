"""From a command line to a running lab and back, with its progress on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from lab.state.state_folder import LabFolder

if TYPE_CHECKING:
    from lab.cli.asked import Asked
    from lab.schema.commands import Command

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

    from lab.cli.progress import Latest, showing_progress
    from lab.local.remote import Remote
    from lab.schema.commands import words_of

    async def one() -> A:
        async with Remote(LabFolder(options.name), options.vcenter, user) as lab:
            if not sys.stderr.isatty() or options.quiet:
                return await lab.do(command)
            told = Latest(words_of(type(command)))
            await lab.follow(told.hear)
            return await showing_progress(lab.do(command), told.text)

    return asyncio.run(one())
