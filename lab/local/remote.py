"""A running lab of this user: what the command line uses.

A lab of real processes is commanded over its control broker, a simulated one that ``keystead
serve --sim`` has over a socket of that process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from lab.brokers.configuration import BrokerKind
from lab.brokers.control_plane import ControlClient
from lab.brokers.identities import CLI, SUPERVISOR, Identities
from lab.brokers.server import Broker
from lab.machines.attached import Access, find_access
from lab.schema.commands import Command, GetStatus, name_of
from lab.schema.errors import KeysteadError
from lab.schema.wire import CommandDone, OpenFiles, RunCommand, decode_answer, encode_command
from lab.serve.files import Carried, carry_files
from lab.state.state_folder import LabFolder
from lab.supervise.launching import LabState, not_running, state_of
from protocol.crypto.transfer import OneTimeKey
from protocol.errors import Disconnected, NotSent, ProductError, Refused, TimedOut
from protocol.messages.base import Event

if TYPE_CHECKING:
    from lab.simulation.workers import Simulated

# Real seconds.
COMMAND_LIMIT_S = 900.0  # experiments and boots of many hosts take their time
OPEN_LIMIT_S = 5.0
LOOK_EVERY_S = 0.5
A = TypeVar("A")
R = TypeVar("R")


class Remote:
    """``async with Remote(LabFolder("default")) as lab: await lab.do(GetVms())``.

    Commands go to ``vcenter``; empty: each to the one of its own choice; ``user`` gives them there,
    empty: its administrator. Entering raises
    ``KeysteadError`` KS-LAB-001 or KS-LAB-002 when the lab does not run, KS-LAB-010 when
    it runs and does not answer, KS-AGENT-006 when one that is attached is not reached, KS-AGENT-011
    when what is reached refuses.
    """

    def __init__(self, folder: LabFolder, vcenter: str = "", user: str = "") -> None:
        self._folder, self._vcenter, self._user = folder, vcenter, user
        self._client: ControlClient | None = None
        self._access: Access | None = None
        self._simulated: Simulated | None = None

    async def __aenter__(self) -> Remote:
        folder = self._folder
        if folder.record() is None:
            if (access := find_access(folder.name)) is not None:
                await self._reach(access)
                return self
            if await self._reach_simulation():
                return self
        if folder.record() is None or state_of(folder) is not LabState.RUNNING:
            raise not_running(folder)
        try:
            identities = Identities.load(folder.path)
            url = Broker(folder.path, identities, BrokerKind.CONTROL).url
            self._client = ControlClient(url, identities.control(CLI).seed, CLI)
            async with asyncio.timeout(OPEN_LIMIT_S):
                await self._client.open()
        except (NotSent, RuntimeError, TimeoutError):
            raise not_running(folder) from None
        return self

    async def _reach(self, access: Access) -> None:
        from lab.machines.access import away, client_of  # certificates: a lab beside needs none

        self._access, self._client = access, client_of(access)
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                await self._client.open()
        except (NotSent, OSError, TimeoutError):
            raise away(access, self._client.trouble) from None

    async def _reach_simulation(self) -> bool:
        from lab.local import simulation_socket

        found = await simulation_socket.find_simulation(self._folder.path)
        if found is not None:
            from lab.simulation.workers import Simulated

            self._simulated = Simulated(found)
        return found is not None

    @property
    def virtual(self) -> bool:
        """Whether the lab is simulated: its time passes in commands and in ``sleep`` only."""
        return self._simulated is not None

    async def sleep(self, seconds: float) -> None:
        """Let this many lab seconds pass; a lab of real processes takes its time."""
        if self._simulated is not None:
            await self._simulated.sleep(seconds)
            return
        await asyncio.sleep(seconds / (await self.do(GetStatus())).pace)

    def _unreachable_error(self) -> KeysteadError:
        if self._access is None:
            return not_running(self._folder)
        from lab.machines.access import away

        return away(self._access, self.client.trouble)

    async def __aexit__(self, *error: object) -> None:
        if self._client is not None:
            await self._client.close()
        if self._simulated is not None:
            await self._simulated.close()

    @property
    def client(self) -> ControlClient:
        """The connection to the control broker; KS-LAB-001 outside of the block."""
        if self._client is None:
            raise KeysteadError("KS-LAB-001")
        return self._client

    async def follow(self, callback: Callable[[Event], None]) -> None:
        """``callback`` for each event of the lab from now on: progress, records of nodes. A
        simulated lab has none: a command is over before they could be read."""
        if self._simulated is not None:
            return
        await self.client.subscribe_events(lambda _, event: callback(event))

    async def do(self, command: Command[A], vcenter: str = "", user: str = "") -> A:
        """Do a command; its answer. Every failure is a ``KeysteadError``. ``vcenter`` and ``user``
        stand in for those of this object.

        Besides those of the command: KS-LAB-007 when the lab goes away meanwhile, so that nobody
        knows what became of it.
        """
        if self._simulated is not None:
            return await self._simulated.do(command, vcenter or self._vcenter, user or self._user)
        try:
            async with carry_files(command) as files:
                return await self._do(command, files, vcenter, user)
        except (NotSent, Refused):
            raise self._unreachable_error() from None
        except (Disconnected, TimedOut) as error:
            raise KeysteadError("KS-LAB-007", f"{name_of(command)}: {error}") from None
        except ProductError as error:
            raise KeysteadError("KS-INT-001", f"{name_of(command)}: {error}") from None

    async def _do(self, command: Command[A], files: Carried, vcenter: str, user: str) -> A:
        message = RunCommand(
            command=encode_command(command),
            vcenter=vcenter or self._vcenter,
            user=user or self._user,
        )
        mine: OneTimeKey | None = None
        if files:
            opening = self.client.request(SUPERVISOR, OpenFiles(), within_s=OPEN_LIMIT_S)
            public, mine = (await self._while_it_runs(opening)).public_key, OneTimeKey()
            message = msgspec.structs.replace(
                message, files=files.seal(public), recipient=mine.public
            )
        done = await self._while_it_runs(ask(self.client, message))
        if done.error_id:
            raise KeysteadError(done.error_id, done.error, done.fix, done.fault, done.keys)
        if mine is not None:
            await files.fill(files.open_boxes(mine, done.files))
        return decode_answer(command, done.answer)

    async def _while_it_runs(self, work: Coroutine[Any, Any, R]) -> R:
        """The client would dial a lab that has gone for as long as the request may take."""
        task = asyncio.get_running_loop().create_task(work)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_EVERY_S))[0]:
                if self._access is not None:
                    continue  # nothing of it is here that one could look at
                if not self._folder.locked():
                    raise KeysteadError("KS-LAB-007", f"the lab {self._folder.name} has gone")
                if self._folder.suspended():
                    raise not_running(self._folder)
            return task.result()
        finally:
            task.cancel()


async def ask(client: ControlClient, message: RunCommand) -> CommandDone:
    """Send a command to the supervisor and wait for what became of it; ``ProductError``s of the
    control plane are raised as they are."""
    return await client.request(SUPERVISOR, message, within_s=COMMAND_LIMIT_S)
