"""A VM that an operation has for itself, with the model of what it must be.

A VM that is not as its answers say is told (``Wrong``); one that is in another state of power is
not (``Drifted``), for its host may have gone down. Looks at a lab do not write such VMs down
(``OWN``).
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from chaos.draws import Draws
from chaos.observe.guests import Guests
from chaos.observe.last_looks import NOT_ITS_KEYS
from chaos.observe.look import LabLook, all_events, all_key_status
from chaos.workload.base import WITHIN_S, Means, OperationOutcome
from protocol.errors import (
    AlreadyExists,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ProductError,
    ResourceInUse,
)
from protocol.events import EventTypeId
from protocol.messages.base import Request
from protocol.messages.host.vms import QueryVmConfig, VmConfigState
from protocol.messages.vcenter.inventory import VcEvent
from protocol.messages.vcenter.vms import VmInfo
from protocol.terms import ClusterName, CryptoKeyId, NodeName, PowerState, VmName

_OF_TASKS: Final = (
    *(EventTypeId.CRYPTO_OPERATION, EventTypeId.VM_DISKCHAIN_USING_MIXED_KEYS),
    *(EventTypeId.VM_RECONFIGURED, EventTypeId.VM_CLONED),
)


class Wrong(Exception):
    """A task did something else than it answered."""


class Drifted(Exception):
    """The VM is not on, or off, as it was left."""


async def conclude(work: Coroutine[Any, Any, None]) -> OperationOutcome:
    """What came of a trial: an outcome that is not as it must be is ``wrong``."""
    try:
        await work
    except Wrong as wrong:
        return OperationOutcome("ok", {"wrong": str(wrong)})
    except Drifted as drifted:
        return OperationOutcome("info", {"error": str(drifted)})
    return OperationOutcome("ok", {})


@dataclass(frozen=True)
class VmShape:
    """What a VM is expected to be; ``encrypted``: its disks, ``disks``: their numbers."""

    on: bool = False
    encrypted: bool = False
    vtpm: bool = False
    disks: tuple[int, ...] = (1,)


class ToldEvent(NamedTuple):
    """An event that vCenter's log must have of a task."""

    event: EventTypeId
    vm: VmName
    keys: tuple[CryptoKeyId, ...] = ()


@dataclass
class Trial:
    """Something that an operation has for itself at one vCenter; ``id`` begins the ids of its
    tasks."""

    means: Means
    vcenter: NodeName
    cluster: ClusterName
    id: str
    draws: Draws
    _asked: int = field(default=0, init=False)

    def next_id(self) -> str:
        """The id of one more task."""
        self._asked += 1
        return f"{self.id}-{self._asked}"

    async def ask(self, message: Request[Any]) -> Any:
        """Its vCenter's answer."""
        return await self.means.lab.ask(self.vcenter, message, within_s=WITHIN_S)

    async def refused(self, message: Request[Any], error: type[ProductError]) -> None:
        """``Wrong`` when a task is not refused so."""
        if told := await self.find_refusal(message, error):
            raise Wrong(told)

    async def find_refusal(self, message: Request[Any], error: type[ProductError]) -> str:
        """How a task that must be refused with this error was not; empty when it was."""
        task = type(message).__name__
        try:
            await self.ask(message)
        except error:
            return ""
        except _REFUSALS as other:
            return f"{task} is refused with {type(other).__name__}, and not {error.__name__}"
        return f"{task} is not refused"


_REFUSALS: Final = (
    *(AlreadyExists, InvalidArgument, InvalidPowerState, InvalidState, NotFound),
    *(EncryptionKeyRequired, ResourceInUse),
)


@dataclass
class VmLife(Trial):
    """One VM. ``kept``: what it was at each of its snapshots. ``told``: the events of its tasks, of
    those that vCenter has logged after the sequence ``since``. ``guests``: what is on its disk."""

    vm: VmName
    shape: VmShape = field(default_factory=VmShape)
    kept: dict[str, VmShape] = field(default_factory=dict)
    host: NodeName | None = None
    told: list[ToldEvent] = field(default_factory=list)
    since: int = 0
    guests: Guests = field(init=False)

    def __post_init__(self) -> None:
        self.guests = Guests(self.means.lab, self.draws)

    def hosts(self) -> list[NodeName]:
        """Those of its cluster."""
        nodes = self.means.lab.directory().nodes
        return [entry.node for entry in nodes if entry.cluster == self.cluster]

    async def do(self, message: Request[Any], shape: VmShape) -> Any:
        """A task that must leave it so. One with an id has the same outcome when it is asked for
        once more."""
        answer = await self.ask(message)
        self.shape, task = shape, type(message).__name__
        self.hold(answer.vm, task)
        if hasattr(message, "operation_id"):
            again = await self.ask(message)
            self.hold(again.vm, f"{task}, asked for once more,")
            if again.vm.key != answer.vm.key:
                raise Wrong(f"{task} has another key when it is asked for once more")
        return answer

    def expect(
        self, event: EventTypeId, *keys: CryptoKeyId | None, vm: VmName | None = None
    ) -> None:
        """The task that was answered has told so."""
        named = sorted((key for key in keys if key is not None), key=str)
        self.told.append(ToldEvent(event, vm or self.vm, tuple(named)))

    async def begin_log(self) -> None:
        """What vCenter logs from now on is of this VM's tasks."""
        self.since, self.told = 0, []
        self.since = max((one.sequence for one in await self.events()), default=0)

    async def events(self) -> list[VcEvent]:
        """What vCenter has logged since, oldest first."""
        ask = self.means.lab
        return list(await all_events(ask, self.vcenter, after=self.since, within_s=WITHIN_S))

    async def read_log(self) -> None:
        """``Wrong`` when the log has other events of the VM and its clones, or one whose text lacks
        what it is about."""
        names = {self.vm, self.clone_name}
        found = [one for one in await self.events() if one.vm in names and one.event in _OF_TASKS]
        seen = [
            ToldEvent(one.event, one.vm or self.vm, tuple(sorted(one.keys, key=str)))
            for one in found
        ]
        pairs = zip_longest(seen, self.told)
        for number, (there, due) in enumerate(pairs, 1):
            if there != due:
                raise Wrong(f"event {number} of its tasks is {there}, and must be {due}")
        for one in found:
            named = one.keys if one.event is EventTypeId.CRYPTO_OPERATION else ()
            for name in (one.vm, *named):
                if str(name) not in one.text:
                    raise Wrong(f"{one.event.value} does not name {name}: {one.text}")

    @property
    def clone_name(self) -> VmName:
        """Of its clone, while it has one."""
        return VmName(f"{self.vm}-clone")

    def hold(self, info: VmInfo, task: str) -> None:
        """``Wrong`` when vCenter shows something else."""
        self.host = info.host
        expected = (
            (info.vtpm is True, self.shape.vtpm, "virtual TPM"),
            (info.key is not None, self.shape.encrypted or self.shape.vtpm, "key"),
            (tuple(info.snapshots or ()), tuple(self.kept), "snapshots"),
        )
        for seen, due, what in expected:
            if seen != due:
                raise Wrong(f"after {task} vCenter shows {what} {seen}, and it must be {due}")
        if (info.power is PowerState.ON) is not self.shape.on:
            raise Drifted(f"after {task} it is {info.power.value}")

    async def config(self) -> VmConfigState:
        """What the files of the VM say."""
        if self.host is None:
            raise NotFound(f"nobody tells the host of {self.vm}")
        return await self.means.lab.ask(self.host, QueryVmConfig(vm=self.vm), within_s=WITHIN_S)

    async def listed(self) -> VmInfo | None:
        """What vCenter lists."""
        return (await LabLook(self.means.lab).vcenter_vms()).get(self.vm)

    async def look(self, task: str) -> None:
        """``Wrong`` when the files of the VM, its guest or the status of its keys say something
        else."""
        config = await self.config()
        encrypted = {disk.key is not None for disk in config.disks}
        expected = (
            (tuple(disk.disk for disk in config.disks), self.shape.disks, "disks"),
            (encrypted, {self.shape.encrypted}, "encryption of the disks"),
            (config.home_encrypted, self.shape.encrypted or self.shape.vtpm, "home's encryption"),
            (config.vtpm, self.shape.vtpm, "virtual TPM"),
        )
        for seen, due, what in expected:
            if seen != due:
                raise Wrong(f"after {task} its files have {what} {seen}, and it must be {due}")
        await self._look_at_keys(config, task)
        await self._look_at_guest(task)

    async def _look_at_keys(self, config: VmConfigState, task: str) -> None:
        """Each key of its disks can be had, and vCenter names the VM as one that uses it."""
        keys = tuple(dict.fromkeys(disk.key for disk in config.disks if disk.key is not None))
        found = await all_key_status(self.means.lab, self.vcenter, keys) if keys else ()
        if tuple(status.key for status in found) != keys:
            raise Wrong(f"after {task} vCenter has the status of {len(found)} of {len(keys)} keys")
        for status in found:
            if self.vm not in status.encrypted_vms:
                raise Wrong(f"after {task} vCenter says that {status.key} is not its key")
            if not status.available and status.reason not in NOT_ITS_KEYS:
                raise Drifted(f"after {task} {status.key} is not available: {status.reason}")

    async def _look_at_guest(self, task: str) -> None:
        """Disk and virtual TPM of a guest that runs are as it left them; what it has not filled yet
        is filled."""
        if not self.shape.on or self.host is None:
            return
        if self.vm not in self.guests.list_planted():
            why = await self.guests.plant(self.vm, self.host, vtpm=self.shape.vtpm)
        elif self.shape.vtpm and not self.guests.vtpms.knows(self.vm):
            why = await self.guests.vtpms.seal(self.vm, self.host)
        else:
            asked = await self.guests.read_back(self.vm, self.host)
            if asked.right is False:
                raise Wrong(f"after {task} {asked.detail}")
            why = "" if asked.right else asked.detail
        if why:
            raise Drifted(f"after {task} {why}")

    async def refused(self, message: Request[Any], error: type[ProductError]) -> None:
        """A task that must be refused so; whether the VM runs is nothing to rely on."""
        if told := await self.find_refusal(message, error):
            raise Drifted(told) if self.shape.on else Wrong(told)
