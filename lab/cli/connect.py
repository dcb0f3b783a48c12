"""The way from the command line to a running lab: its control broker, as ``cli``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from lab.cli.options import Options
from lab.cli.output import say
from lab.errors import KeysteadError
from lab.supervise.launching import LabState, state_of
from lab.supervise.state_folder import LabFolder

if TYPE_CHECKING:
    from lab.api.commands import Command
    from lab.brokers.control_plane import ControlClient
    from protocol.messages.base import Event

# Real seconds.
COMMAND_LIMIT_S = 900.0  # experiments and boots of many hosts take their time
OPEN_LIMIT_S = 5.0
LOOK_EVERY_S = 0.5
A = TypeVar("A")
R = TypeVar("R")


def not_there(folder: LabFolder) -> KeysteadError:
    """Why a lab cannot be commanded now, and what to do."""
    again = "" if folder.name == "default" else f" --name {folder.name}"
    match state_of(folder):
        case None:
            return KeysteadError("KS-LAB-001", f"there is no lab {folder.name}")
        case LabState.STOPPED:
            return KeysteadError(
                "KS-LAB-001",
                f"the lab {folder.name} is stopped; its state is in {folder.path}",
                f"keystead up{again}",
            )
        case LabState.KILLED:
            return KeysteadError(
                "KS-LAB-001",
                f"the supervisor of the lab {folder.name} was killed; its state is in "
                f"{folder.path}",
                f"`keystead up{again}` goes on from it",
            )
        case LabState.RUNNING | LabState.BUSY:
            return KeysteadError("KS-LAB-002", f"the lab {folder.name} is being started or stopped")


class Connection:
    """``async with Connection(options) as lab: await lab.do(GetVms())``."""

    def __init__(self, options: Options) -> None:
        self._folder = LabFolder(options.name)
        self._client: ControlClient | None = None

    async def __aenter__(self) -> Connection:
        folder = self._folder
        if folder.record() is None or state_of(folder) is not LabState.RUNNING:
            raise not_there(folder)
        # The control plane takes as long to import as the rest of the command line.
        from lab.brokers.configuration import BrokerKind
        from lab.brokers.control_plane import ControlClient
        from lab.brokers.identities import CLI, Identities
        from lab.brokers.server import Broker
        from protocol.errors import NotSent

        try:
            identities = Identities.load(folder.path)
            url = Broker(folder.path, identities, BrokerKind.CONTROL).url
            self._client = ControlClient(url, identities.control(CLI).seed, CLI)
            async with asyncio.timeout(OPEN_LIMIT_S):
                await self._client.open()
        except (NotSent, RuntimeError, TimeoutError):
            raise not_there(folder) from None
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def follow(self, callback: Callable[[Event], None]) -> None:
        """``callback`` for each event of the lab from now on."""
        if self._client is not None:
            await self._client.subscribe_events(lambda _, event: callback(event))

    async def do(self, command: Command[A]) -> A:
        """Do a command; its answer. Every failure is a ``KeysteadError``."""
        from lab.api.commands import name_of
        from lab.api.wire import RunCommand, decode_answer, encode_command
        from lab.brokers.identities import SUPERVISOR
        from protocol.errors import Disconnected, NotSent, ProductError, Refused, TimedOut

        if self._client is None:
            raise KeysteadError("KS-LAB-001")
        message = RunCommand(command=encode_command(command))
        try:
            done = await self._while_it_runs(
                self._client.request(SUPERVISOR, message, within=COMMAND_LIMIT_S)
            )
        except (NotSent, Refused):
            raise not_there(self._folder) from None
        except (Disconnected, TimedOut) as error:
            raise KeysteadError("KS-LAB-007", f"{name_of(command)}: {error}") from None
        except ProductError as error:
            raise KeysteadError("KS-INT-001", f"{name_of(command)}: {error}") from None
        if done.error_id:
            raise KeysteadError(done.error_id, done.error, done.fix)
        return decode_answer(command, done.answer)

    async def _while_it_runs(self, work: Coroutine[Any, Any, R]) -> R:
        """The client would dial a lab that has gone for as long as the request may take."""
        task = asyncio.get_running_loop().create_task(work)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_EVERY_S))[0]:
                if not self._folder.locked():
                    raise KeysteadError("KS-LAB-007", f"the lab {self._folder.name} has gone")
            return task.result()
        finally:
            task.cancel()


def call(options: Options, command: Command[A]) -> A:
    """Do one command of a running lab; its answer. Long steps are told on stderr."""

    async def one() -> A:
        async with Connection(options) as lab:
            if sys.stderr.isatty():
                await lab.follow(_progress)
            return await lab.do(command)

    return asyncio.run(one())


def _progress(event: Event) -> None:
    from lab.api.wire import Progress

    if isinstance(event, Progress) and event.total > 1:
        say(f"[{event.step}/{event.total}] {event.text}")
