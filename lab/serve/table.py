"""Commands of a lab, executed: each way in to a running or a simulated lab ends here.

Which function executes a command is said at the function (``lab.serve.session``). A new file of
such functions is imported here.
"""

from __future__ import annotations

from typing import Any, TypeVar

from chaos.errors import ChaosError
from lab.schema.commands import Command, name_of
from lab.schema.refusal import refusal
from lab.schema.wire import CommandDone, RunCommand, decode_command, encode_answer
from lab.serve import (  # noqa: F401 - their functions are found by what they execute
    crypto,
    faults,
    hosts,
    look,
    machines,
    messages,
    trust,
    upgrade,
    vcenters,
    vsan,
)
from lab.serve.explaining import describe  # noqa: F401 - their functions are found by what they execute
from lab.serve.files import CommandFiles, open_contents, seal_contents
from lab.serve.keyservers import (  # noqa: F401 - their functions are found by what they execute
    keys,
    kmip_trust,
)
from lab.serve.machines import way_out
from lab.serve.session import COMMANDS, LabSession, Served
from lab.serve.vms import (  # noqa: F401 - their functions are found by what they execute
    inventory,
    vms,
)
from protocol.crypto.transfer import OneTimeKey
from protocol.errors import ProductError

B = TypeVar("B")

__all__ = ["COMMANDS", "Served", "carry_out", "perform"]


async def perform(
    session: LabSession,
    command: Command[B],
    vcenter: str = "",
    user: str = "",
    files: CommandFiles | None = None,
) -> B:
    """Do a command at ``vcenter`` (empty: its own choice) as ``user`` (empty: the administrator),
    with the ``files`` that came along; its answer. Every failure becomes a ``KeysteadError``."""
    session = session.at(vcenter).by(user).beside(files)
    try:
        answer: Any = await COMMANDS[type(command)].run(session, command)
    except ChaosError as error:
        raise refusal(error) from None
    except ProductError as error:
        raise refusal(error, await way_out(session, error)) from None
    done: B = answer
    return done


async def carry_out(session: LabSession, message: RunCommand, key: OneTimeKey) -> CommandDone:
    """Do a command that came from elsewhere, its files sealed to ``key``. Raises
    ``KeysteadError``, ``OSError``, and ``CryptographicFailure`` for files that do not open."""
    command = decode_command(message.command)
    files = CommandFiles(open_contents(name_of(command), key, message.files))
    answer = await perform(session, command, message.vcenter, message.user, files)
    written: dict[str, bytes] = {}
    if files.written:
        written = seal_contents(name_of(command), message.recipient, files.written)
    return CommandDone(answer=encode_answer(answer), files=written)
