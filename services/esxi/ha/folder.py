"""The HA agents' folder on the cluster's datastore: heartbeats, and the lists of protected VMs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from protocol.errors import DatastoreFault
from protocol.terms import NodeName, VmName
from services.esxi.vms.files import (
    add_checksum,
    release_lock,
    take_lock,
    verify_checksum,
    write_file,
)
from services.runtime.ports import Datastore

FOLDER: Final = ".vSphere-HA"


class PoweronList(msgspec.Struct, frozen=True, kw_only=True):
    """``orderly``: the host was shut down, and its VMs with it. ``isolated``: the host hears no
    other."""

    epoch: str
    vms: tuple[VmName, ...] = ()
    orderly: bool = False
    isolated: bool = False


def list_file(host: NodeName) -> str:
    """The name of that host's list in the folder."""
    return f"{host}-poweron"


def heartbeat_lock(host: NodeName) -> str:
    """The name of the lock that shows that this host lives."""
    return f"{FOLDER}-{host}"


_list = msgspec.msgpack.Decoder(PoweronList)


class ProtectedVms:
    """This host's list of protected VMs, and its heartbeat, on the datastore.

    ``epoch``: of the configuration in force; None without HA, when nothing is written.
    """

    def __init__(self, me: NodeName, epoch: Callable[[], str | None]) -> None:
        self._me, self._epoch = me, epoch
        self._written: PoweronList | None = None
        self._writing = asyncio.Lock()
        self._starting: list[VmName] = []
        self._beats = False

    async def beat(self, datastore: Datastore) -> None:
        """Hold the heartbeat; ``DatastoreFault`` when the datastore refuses."""
        if not self._beats:
            await take_lock(datastore, VmName(heartbeat_lock(self._me)))
            self._beats = True

    async def end(self, datastore: Datastore) -> None:
        """HA is off here: end the heartbeat. The list stays; without its epoch it means nothing.

        ``DatastoreFault`` when the heartbeat's lock cannot be released; the caller tries again.
        """
        if self._beats:
            await release_lock(datastore, VmName(heartbeat_lock(self._me)))
            self._beats, self._written = False, None

    @asynccontextmanager
    async def protecting(self, datastore: Datastore, vm: VmName) -> AsyncIterator[None]:
        """While inside, the VM is in the list: from now on another host starts it when this host
        fails.

        The VM is in the list durably before the block begins, even while ``hold`` writes, and stays
        there at least until the block has ended. ``DatastoreFault`` when the list cannot be
        written. No change without HA.
        """
        self._starting.append(vm)
        try:
            if self._epoch() is not None:
                async with self._writing:
                    written = self._written
                    there = () if written is None else written.vms
                    isolated = written is not None and written.isolated
                    if vm not in there:
                        names = tuple(sorted({*there, vm}))
                        await self._write(datastore, vms=names, isolated=isolated)
            yield
        finally:
            self._starting.remove(vm)

    async def write_list(
        self,
        datastore: Datastore,
        vms: Callable[[], Iterable[VmName]],
        *,
        isolated: bool,
        orderly: bool = False,
    ) -> None:
        """Write ``vms``, and those that are about to run, into the list; ``DatastoreFault`` when it
        cannot be written."""
        async with self._writing:
            names = tuple(sorted({*vms(), *self._starting}))
            await self._write(datastore, vms=names, isolated=isolated, orderly=orderly)

    async def _write(
        self,
        datastore: Datastore,
        *,
        vms: tuple[VmName, ...],
        isolated: bool = False,
        orderly: bool = False,
    ) -> None:
        epoch = self._epoch()
        if epoch is None:
            return
        new = PoweronList(epoch=epoch, vms=vms, isolated=isolated, orderly=orderly)
        if new != self._written:
            data = add_checksum(msgspec.msgpack.encode(new))
            await write_file(datastore, VmName(FOLDER), list_file(self._me), data)
            self._written = new


async def read_list(datastore: Datastore, host: NodeName, epoch: str) -> PoweronList | None:
    """That host's list of this epoch; None when there is none, or it is damaged.

    ``DatastoreFault`` when it cannot be read.
    """
    try:
        body = verify_checksum(await datastore.read(FOLDER, list_file(host)))
        listed = None if body is None else _list.decode(body)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, ValueError):
        return None
    except OSError as error:
        raise DatastoreFault(f"{FOLDER}: {error.strerror or error}") from None
    return listed if listed is not None and listed.epoch == epoch else None


async def is_heartbeat_held(datastore: Datastore, host: NodeName) -> bool | None:
    """Whether that host's datastore heartbeat is held; None when the datastore does not answer."""
    lock = heartbeat_lock(host)
    try:
        return lock in await datastore.holders([lock])
    except OSError:
        return None
