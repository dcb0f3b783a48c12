"""Commands of a person that end a key server and start it again."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import suppress
from typing import Final

from lab.schema.errors import KeysteadError
from protocol.printable import one_line

WITHIN_S: Final = 120.0
_SAID: Final = 200


def split(option: str, command: str) -> list[str]:
    """The words of a command, as a shell has them; KS-USE-003 when it has none, or a quote does
    not end."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise KeysteadError("KS-USE-003", f"{option}: {error}") from None
    if not words:
        raise KeysteadError("KS-USE-003", f"{option}: a command is wanted")
    return words


async def run(command: str) -> str:
    """Run it without a shell; why it failed, empty when it did not."""
    words = shlex.split(command)
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        return f"{words[0]}: {error.strerror or error}"
    try:
        async with asyncio.timeout(WITHIN_S):
            said, _ = await process.communicate()
    except TimeoutError:
        return f"{words[0]} did not end within {WITHIN_S:g} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return ""
    told = one_line(said.decode(errors="replace").strip()[-_SAID:])
    return f"{words[0]} ended with {process.returncode}: {told or 'it said nothing'}"
