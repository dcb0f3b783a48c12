"""A VM of an operation's own: made, taken through drawn tasks, and destroyed.

A model says what each task must lead to and what must be refused. A VM that is not as its answers
say is told (``wrong``); one that is in another state of power is not, for its host may have gone
down (``info``). Such VMs are not written down when a run looks at its lab (``OWN``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from chaos.draws import Draws
from chaos.observe.look import OWN, LabLook, all_events
from chaos.workload.base import WITHIN_S, Arrival, Means, OperationOutcome, WorkloadOperation
from chaos.workload.operations import other_hosts
from protocol.errors import (
    AlreadyExists,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ProductError,
)
from protocol.events import EventTypeId
from protocol.messages.base import Request
from protocol.messages.host import GuestTpmSeal, QueryVmConfig, TpmProvisionPolicy, VmConfigState
from protocol.messages.vcenter import (
    AddDisk,
    AddVtpm,
    CloneVm,
    CreateSnapshot,
    CreateVm,
    DecryptVm,
    DestroyVm,
    EncryptVm,
    MarkAsTemplate,
    MarkAsVirtualMachine,
    MigrateVm,
    PowerOffVm,
    PowerOnVm,
    RecryptVm,
    RegisterVm,
    RemoveDisk,
    RemoveSnapshot,
    RemoveVtpm,
    RevertToSnapshot,
    UnregisterVm,
    VcEvent,
    VmInfo,
)
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    NodeName,
    PowerState,
    VmName,
)

_OF_TASKS: Final = (
    *(EventTypeId.CRYPTO_OPERATION, EventTypeId.VM_DISKCHAIN_USING_MIXED_KEYS),
    *(EventTypeId.VM_RECONFIGURED, EventTypeId.VM_CLONED),
)
STEPS: Final = 6
"""Tasks of one life, beside its begin and its end."""


class Wrong(Exception):
    """A task did something else than it answered."""


class Drifted(Exception):
    """The VM is not on, or off, as it was left."""


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
class VmLife:
    """One VM. ``kept``: what it was at each of its snapshots. ``told``: the events of its tasks, of
    those that vCenter has logged after the sequence ``since``."""

    means: Means
    vcenter: NodeName
    cluster: ClusterName
    vm: VmName
    id: str
    draws: Draws
    shape: VmShape = field(default_factory=VmShape)
    kept: dict[str, VmShape] = field(default_factory=dict)
    host: NodeName | None = None
    told: list[ToldEvent] = field(default_factory=list)
    since: int = 0
    _asked: int = 0

    def next_id(self) -> str:
        """The id of one more task."""
        self._asked += 1
        return f"{self.id}-{self._asked}"

    def hosts(self) -> list[NodeName]:
        """Those of its cluster."""
        nodes = self.means.lab.directory().nodes
        return [entry.node for entry in nodes if entry.cluster == self.cluster]

    async def ask(self, message: Request[Any]) -> Any:
        """Its vCenter's answer."""
        return await self.means.lab.ask(self.vcenter, message, within_s=WITHIN_S)

    async def do(self, message: Request[Any], shape: VmShape) -> Any:
        """A task that must leave it so."""
        answer = await self.ask(message)
        self.shape = shape
        self.hold(answer.vm, type(message).__name__)
        return answer

    def expect(
        self, event: EventTypeId, *keys: CryptoKeyId | None, vm: VmName | None = None
    ) -> None:
        """The task that was answered has told so."""
        named = sorted((key for key in keys if key is not None), key=str)
        self.told.append(ToldEvent(event, vm or self.vm, tuple(named)))

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
        """``Wrong`` when the files of the VM say something else."""
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

    async def refused(self, message: Request[Any], error: type[ProductError]) -> None:
        """A task that must be refused so; whether it runs is nothing to rely on."""
        task = type(message).__name__
        try:
            await self.ask(message)
        except error:
            return
        except (InvalidPowerState, InvalidState, NotFound, AlreadyExists) as other:
            told = f"{task} is refused with {type(other).__name__}, and not {error.__name__}"
        else:
            told = f"{task} is not refused"
        raise Drifted(told) if self.shape.on else Wrong(told)


# ---- tasks ---------------------------------------------------------------------------------------


async def _power_on(life: VmLife) -> None:
    await life.do(PowerOnVm(vm=life.vm), replace(life.shape, on=True))
    if life.shape.vtpm and life.host is not None:
        marker = life.draws.token(16)
        sealed = GuestTpmSeal(vm=life.vm, marker=marker)
        await life.means.lab.ask(life.host, sealed, within_s=WITHIN_S)


async def _power_off(life: VmLife) -> None:
    await life.do(PowerOffVm(vm=life.vm), replace(life.shape, on=False))


async def _add_disk(life: VmLife) -> None:
    own = life.shape.encrypted and life.draws.unit() < 0.5
    number = max(life.shape.disks) + 1
    message = AddDisk(operation_id=life.next_id(), vm=life.vm, own_key=own)
    shape = replace(life.shape, disks=(*life.shape.disks, number))
    done = await life.do(message, shape)
    again = await life.do(message, shape)
    keys = {disk.key for disk in done.disks} | {done.vm.key}
    if own:
        [key] = [disk.key for disk in done.disks if disk.disk == done.disk]
        life.expect(EventTypeId.CRYPTO_OPERATION, key)
    if len(keys) > 1:
        life.expect(EventTypeId.VM_DISKCHAIN_USING_MIXED_KEYS, *keys)
    if (done.disk, again.disk) != (number, number):
        raise Wrong(f"the disk is {done.disk}, once more {again.disk}, and must be {number}")


async def _remove_disk(life: VmLife) -> None:
    number = life.shape.disks[-1]
    rest = tuple(disk for disk in life.shape.disks if disk != number)
    await life.do(RemoveDisk(vm=life.vm, disk=number), replace(life.shape, disks=rest))


async def _add_vtpm(life: VmLife) -> None:
    message = AddVtpm(operation_id=life.next_id(), vm=life.vm)
    clear = not life.shape.encrypted
    done = await life.do(message, replace(life.shape, vtpm=True))
    if clear:
        life.expect(EventTypeId.CRYPTO_OPERATION, done.vm.key)
    life.expect(EventTypeId.VM_RECONFIGURED)


async def _remove_vtpm(life: VmLife) -> None:
    await life.do(RemoveVtpm(vm=life.vm), replace(life.shape, vtpm=False))
    life.expect(EventTypeId.VM_RECONFIGURED)


async def _encrypt(life: VmLife) -> None:
    message = EncryptVm(operation_id=life.next_id(), vm=life.vm)
    done = await life.do(message, replace(life.shape, encrypted=True))
    life.expect(EventTypeId.CRYPTO_OPERATION, done.key)


async def _decrypt(life: VmLife) -> None:
    await life.do(DecryptVm(vm=life.vm), replace(life.shape, encrypted=False))
    life.expect(EventTypeId.CRYPTO_OPERATION)


async def _recrypt(life: VmLife, *, deep: bool = False) -> None:
    message = RecryptVm(operation_id=life.next_id(), vm=life.vm, deep=deep)
    done = await life.do(message, life.shape)
    life.expect(EventTypeId.CRYPTO_OPERATION, done.key)
    if done.key in done.old or not done.old:
        raise Wrong(f"it was under {len(done.old)} keys before, and is under one of them still")
    if done.vm.key != done.key:
        raise Wrong("vCenter shows another key than the task has answered")


async def _recrypt_deep(life: VmLife) -> None:
    await _recrypt(life, deep=True)


async def _snapshot(life: VmLife) -> None:
    name = f"at-{life.next_id()}"
    before, life.kept = life.kept, {**life.kept, name: life.shape}
    try:
        await life.do(CreateSnapshot(vm=life.vm, snapshot=name, memory=life.shape.on), life.shape)
    except ProductError:
        life.kept = before
        raise


async def _revert(life: VmLife) -> None:
    name = list(life.kept)[-1]
    await life.do(RevertToSnapshot(vm=life.vm, snapshot=name), life.kept[name])


async def _remove_snapshot(life: VmLife) -> None:
    name = next(iter(life.kept))
    left = {other: shape for other, shape in life.kept.items() if other != name}
    answer = await life.ask(RemoveSnapshot(vm=life.vm, snapshot=name))
    life.kept = left
    life.hold(answer.vm, "RemoveSnapshot")


async def _clone(life: VmLife) -> None:
    """Looked at, and destroyed again."""
    name = life.clone_name
    policies = (None, TpmProvisionPolicy.COPY, TpmProvisionPolicy.REPLACE)
    policy = policies[life.draws.below(3)] if life.shape.vtpm else None
    recrypt = life.shape.encrypted and life.draws.unit() < 0.5
    message = CloneVm(
        operation_id=life.next_id(), vm=name, source=life.vm, recrypt=recrypt, tpm=policy
    )
    shape = replace(life.shape, on=False)
    clone = replace(life, vm=name, shape=shape, kept={})
    made = (await clone.do(message, shape)).vm
    await clone.look("CloneVm")
    source = await life.config()
    copy = await clone.config()
    keys = {disk.key for disk in copy.disks} | {made.key}
    life.expect(EventTypeId.VM_CLONED, *keys, vm=name)
    if life.shape.vtpm and policy is not None:
        same = source.ek == copy.ek
        if same is not (policy is TpmProvisionPolicy.COPY):
            raise Wrong(f"with policy {policy.value} the clone has the same virtual TPM: {same}")
    before = {disk.key for disk in source.disks}
    if recrypt and (before & {disk.key for disk in copy.disks} or made.key in before):
        raise Wrong("the clone is under a key of its source, and was to be recrypted")
    await life.ask(DestroyVm(vm=name))


async def _template(life: VmLife) -> None:
    marked = (await life.ask(MarkAsTemplate(vm=life.vm))).vm
    if marked.template is not True:
        raise Wrong("it was marked as a template, and is none")
    await life.refused(PowerOnVm(vm=life.vm), InvalidState)
    marked = (await life.ask(MarkAsVirtualMachine(vm=life.vm))).vm
    if marked.template is True:
        raise Wrong("it was marked as a virtual machine, and is a template")


async def _migrate(life: VmLife) -> None:
    info = await life.listed()
    if info is None:
        raise NotFound(f"vCenter has no {life.vm}")
    hosts = await other_hosts(life.means.lab, info)
    host = hosts[life.draws.below(len(hosts))]
    await life.do(MigrateVm(vm=life.vm, host=host), life.shape)
    if life.host != host:
        raise Wrong(f"it was migrated to {host}, and is on {life.host}")


async def _register(life: VmLife) -> None:
    host = life.host
    await life.ask(UnregisterVm(vm=life.vm))
    if await life.listed() is not None:
        raise Wrong("it was taken out of the inventory, and is listed")
    answer = await life.ask(RegisterVm(vm=life.vm, cluster=life.cluster, host=host))
    life.hold(answer.vm, "RegisterVm")


async def _refusals(life: VmLife) -> None:
    """What must be refused, as the VM is now."""
    vm, shape = life.vm, life.shape
    await life.refused(
        CreateVm(operation_id=life.next_id(), vm=vm, cluster=life.cluster), AlreadyExists
    )
    itself = CloneVm(operation_id=life.next_id(), vm=vm, source=vm)
    await life.refused(itself, AlreadyExists)
    if shape.on:
        for message in (DestroyVm(vm=vm), UnregisterVm(vm=vm), RemoveDisk(vm=vm, disk=1)):
            await life.refused(message, InvalidPowerState)
        if not shape.vtpm:
            await life.refused(AddVtpm(operation_id=life.next_id(), vm=vm), InvalidPowerState)
        return
    if shape.vtpm:
        await life.refused(AddVtpm(operation_id=life.next_id(), vm=vm), AlreadyExists)
    if life.kept and shape.vtpm:
        await life.refused(RemoveVtpm(vm=vm), InvalidState)
    if life.kept and shape.encrypted:
        deep = RecryptVm(operation_id=life.next_id(), vm=vm, deep=True)
        await life.refused(deep, InvalidState)
        await life.refused(DecryptVm(vm=vm), InvalidState)
    if not shape.encrypted and not shape.vtpm:
        await life.refused(RecryptVm(operation_id=life.next_id(), vm=vm), InvalidState)
        own = AddDisk(operation_id=life.next_id(), vm=vm, own_key=True)
        await life.refused(own, InvalidState)


def _may_alter(life: VmLife) -> bool:
    return not life.shape.on and not life.kept


TASKS: Final[Mapping[str, tuple[Callable[[VmLife], Awaitable[None]], Callable[[VmLife], bool]]]] = (
    MappingProxyType(
        {
            "power_on": (_power_on, lambda life: not life.shape.on),
            "power_off": (_power_off, lambda life: life.shape.on),
            "add_disk": (
                _add_disk,
                lambda life: _may_alter(life) and life.shape.encrypted >= life.shape.vtpm,
            ),
            "remove_disk": (
                _remove_disk,
                lambda life: _may_alter(life) and len(life.shape.disks) > 1,
            ),
            "add_vtpm": (_add_vtpm, lambda life: _may_alter(life) and not life.shape.vtpm),
            "remove_vtpm": (_remove_vtpm, lambda life: _may_alter(life) and life.shape.vtpm),
            "encrypt": (_encrypt, lambda life: _may_alter(life) and not life.shape.encrypted),
            "decrypt": (
                _decrypt,
                lambda life: _may_alter(life) and life.shape.encrypted and not life.shape.vtpm,
            ),
            "recrypt": (_recrypt, lambda life: life.shape.encrypted),
            "recrypt_deep": (_recrypt_deep, lambda life: _may_alter(life) and life.shape.encrypted),
            "snapshot": (_snapshot, lambda life: len(life.kept) < 2),
            "revert": (_revert, lambda life: bool(life.kept)),
            "remove_snapshot": (_remove_snapshot, lambda life: bool(life.kept)),
            "clone": (_clone, lambda life: True),
            "template": (_template, _may_alter),
            "migrate": (_migrate, lambda life: len(life.hosts()) > 1),
            "register": (_register, lambda life: not life.shape.on),
            "refusals": (_refusals, lambda life: True),
        }
    )
)
"""Each task, and when it may be done."""


async def _live(means: Means, arrival: Arrival) -> OperationOutcome:
    """A VM beside ``target``'s from its creation to its end."""
    cluster = await means.cluster_of(VmName(arrival.target))
    life = VmLife(
        means,
        await means.vcenter(cluster),
        cluster,
        VmName(f"{OWN}{means.operation_id(arrival)}"),
        means.operation_id(arrival),
        Draws(arrival.number, f"life/{arrival.target}"),
    )
    steps = ["CreateVm"]
    try:
        await begin_life(life, encrypted=life.draws.unit() < 0.6)
        for _ in range(STEPS):
            possible = [name for name, (_, may_be) in TASKS.items() if may_be(life)]
            steps.append(possible[life.draws.below(len(possible))])
            await TASKS[steps[-1]][0](life)
            await life.look(steps[-1])
        await end_life(life)
    except Wrong as wrong:
        return OperationOutcome("ok", {"tasks": steps, "wrong": str(wrong)})
    except Drifted as drifted:
        return OperationOutcome("info", {"tasks": steps, "error": str(drifted)})
    except ProductError as error:
        told = f"{type(error).__name__} in {steps[-1]}"
        kind = "fail" if error.definite and life.host is None else "info"
        return OperationOutcome(kind, {"tasks": steps, "error": told})
    return OperationOutcome("ok", {"tasks": steps})


async def begin_life(life: VmLife, *, encrypted: bool) -> None:
    """The VM is made."""
    message = CreateVm(
        operation_id=life.next_id(), vm=life.vm, cluster=life.cluster, encrypted=encrypted
    )
    life.since = max((one.sequence for one in await life.events()), default=0)
    made = await life.do(message, VmShape(encrypted=encrypted))
    if encrypted:
        life.expect(EventTypeId.CRYPTO_OPERATION, made.vm.key)
    await life.look("CreateVm")


async def end_life(life: VmLife) -> None:
    """The VM is destroyed."""
    if life.shape.on:
        await _power_off(life)
    await life.ask(DestroyVm(vm=life.vm))
    if await life.listed() is not None:
        raise Wrong("it was destroyed, and vCenter lists it")
    await life.read_log()


OPERATIONS: Final = (
    WorkloadOperation(
        "vm.live",
        "vms",
        "make a VM beside another one, take it through tasks and destroy it",
        _live,
    ),
)
