"""What a row outside of the grid makes different: what every twist is to a play."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from chaos.administration import back_up
from chaos.faults.base import Fault as LabFault
from chaos.faults.links import LinkCutFault
from chaos.lab import REFUSALS
from chaos.matrix import clock, provider_setup, setup
from chaos.matrix.events import EVENTS
from chaos.matrix.faults import StagedFault
from chaos.matrix.faults.base import DrivenFault
from chaos.matrix.faults.key_loss import KeyDestroyed
from chaos.matrix.faults.outages import KeyServersAway, OutsideAway, VcenterAway
from chaos.matrix.scene import (
    BACKUP,
    SERVERS_OF_P,
    SERVERS_OF_Q,
    P,
    Q,
    StagingScene,
    cluster_of,
    vm_of,
)
from chaos.matrix.setup import running_hosts
from chaos.matrix.terms import Actor, VmKind
from chaos.observe.look import all_hosts, all_vms
from chaos.oracle.terms import TableEvent, TableFault
from protocol.messages.host.session import QueryHost, SaveConfiguration
from protocol.messages.vcenter.vms import AddDisk, PowerOffVm, PowerOnVm, RemoveDisk
from protocol.terms import (
    HostConnectionState,
    HostCryptoState,
    NodeName,
    PowerState,
    ProviderId,
    VmConnectionState,
    VmCryptoState,
    VmName,
)
from services.runtime.each import for_each


class Twist:
    """Nothing is different. ``hosts``, ``knobs``: what the lab's file says of hosts, and as its
    knobs, that it does not say otherwise. ``in_order``: events of vCenter come in the order that
    is fixed for the cell. ``spare``: how many hosts more each cluster has, that play nobody.
    ``tpm_required``: P is a native provider that leaves out hosts without a TPM."""

    in_order: ClassVar[bool] = True
    spare: ClassVar[int] = 0
    tpm_required: ClassVar[bool] = False
    hosts: Mapping[str, object] = MappingProxyType({})
    knobs: Mapping[str, str] = MappingProxyType({})

    async def prepare(self, scene: StagingScene) -> str:
        """Before the fault, in a healthy lab: empty, or what was not as the row says."""
        return ""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        """What is made in the place of the row's fault; None: that itself."""
        return None

    async def find_deviation(self, scene: StagingScene) -> str:
        """While the fault holds, when letters are fixed: empty, or what is not as the row says."""
        return ""

    def over(self, found: str) -> str:
        """What the aftermath of an event has ``found``, as this row has it: empty when it is well
        there."""
        return found


# Clear twists ---------------------------------------------------------------------------------
#
# The row outside of the grid about VMs without encryption: no fault of keys is one of theirs.


class InClear(Twist):
    """The judged VMs are made anew without encryption, and so without a virtual TPM."""

    async def prepare(self, scene: StagingScene) -> str:
        for event in scene.casts:
            await setup.make_again(scene, EVENTS[event], clear=True)
        wrong = sorted(vm for vm in scene.judged if scene.keys[vm])
        return f"{', '.join(wrong)}: made without encryption, and under a key" if wrong else ""


# Late twists ----------------------------------------------------------------------------------
#
# Rows outside of the grid about keys that came too late for a host to keep them.

SAVED_S: Final = 60.0
"""Lab seconds from a save to the key that it does not have."""


class TargetWasOff(Twist):
    """Hosts that are to start a VM of a host without power were off themselves: C has the key of
    its VM from before; D was off while its VM was made, and boots when the fault holds (KP-15)."""

    async def prepare(self, scene: StagingScene) -> str:
        scene.asleep = frozenset(_targets(scene))
        for host in sorted(scene.asleep):
            await scene.lab.power_off(host, "stop")
        if TableEvent.E6 in scene.casts:
            await setup.make_again(scene, EVENTS[TableEvent.E6])
        return ""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        kind = _Outside if scene.fault is TableFault.F4 else _Servers
        return kind(scene)


class _WakesThem(StagedFault):
    """The hosts that were off are powered on as soon as the fault holds."""

    async def begin(self) -> None:
        await super().begin()
        hosts = _targets(self.scene)
        await for_each(hosts, self.scene.lab.power_on)
        self.write("host", "", "up", hosts=list(hosts))


class _Servers(_WakesThem, KeyServersAway):
    pass


class _Outside(_WakesThem, OutsideAway):
    pass


def _targets(scene: StagingScene) -> tuple[NodeName, ...]:
    wanted = ((TableEvent.E5, Actor.C), (TableEvent.E6, Actor.D))
    return tuple(scene.host(event, actor) for event, actor in wanted if event in scene.casts)


class HourlySaves(Twist):
    """The configuration of hosts is saved by the hour, and was a moment ago (DUR-02)."""

    knobs: Mapping[str, str] = MappingProxyType({"config_save": "hourly"})

    async def prepare(self, scene: StagingScene) -> str:
        for host in scene.hosts():
            await scene.lab.ask(host, SaveConfiguration())
        return ""


class ImmediateSaves(Twist):
    """The control: a new key forces the configuration to disk at once."""

    async def prepare(self, scene: StagingScene) -> str:
        return await _late(scene)


class LateKey(HourlySaves):
    """The judged VM is made on B after the save: its key, and nothing else, is not in the
    archive."""

    in_order = False  # its host has its own key, and is safe

    async def prepare(self, scene: StagingScene) -> str:
        await super().prepare(scene)
        return await _late(scene)

    async def find_deviation(self, scene: StagingScene) -> str:
        """What is in the archive that the boot has found."""
        vm, host = _vm_and_host(scene)
        archived = set(await scene.bench.read_archived_keys(host))
        if not archived.isdisjoint(scene.keys[vm]):
            return f"the archive of {host} has the key of {vm}"
        return "" if archived else f"the archive of {host} has no key at all"


async def _late(scene: StagingScene) -> str:
    """The VM of E4 is made anew, a minute after the save."""
    await scene.lab.sleep(SAVED_S)
    vm, _ = _vm_and_host(scene)
    before = set(scene.keys[vm])
    await setup.make_again(scene, EVENTS[TableEvent.E4])
    again = before.isdisjoint(scene.keys[vm])
    return "" if again else f"{vm} was made anew, and has its old key"


def _vm_and_host(scene: StagingScene) -> tuple[VmName, NodeName]:
    """The VM of E4, and its host."""
    play = EVENTS[TableEvent.E4]
    return vm_of(TableEvent.E4, play.vms[0].what), scene.host(TableEvent.E4, play.cast[0])


# Tpm twists -----------------------------------------------------------------------------------
#
# The row outside of the grid about a provider that requires a TPM, and a host that has none.
#
# Each cluster has one such host, the last (NKP-12): it is told of the provider, gets no key
# derivation key, and is not crypto-safe; what it refuses for that it refuses for ever, and
# nothing is locked by it.

SAID = "native.tpm_required"
"""The line in the log of a host that takes no part."""
DEVICE = "requires a TPM 2.0 device"


class OthersTakePart(Twist):
    """A host more in each cluster, which is left out: the others have what they have without it."""

    spare = 1
    tpm_required: ClassVar[bool] = True
    hosts: Mapping[str, object] = MappingProxyType({"without_tpm": 1})

    async def find_deviation(self, scene: StagingScene) -> str:
        """Every host without a TPM is left out, by what lies on it and by what it says."""
        for host in sorted(scene.left_out):
            if wrong := await _takes_part(scene, host):
                return f"{host}: {wrong}"
        return ""


class TargetLeftOut(OthersTakePart):
    """The host that is to take over a VM is one of these."""

    spare = 0

    def over(self, found: str) -> str:
        """Nothing that ends makes it take part."""
        if DEVICE in found:
            return ""
        return found or "what was refused for lack of a TPM is done"


class HostLeftOut(TargetLeftOut):
    """Something new is to be encrypted on one of these: the VM in clear lives there."""

    spare = 1

    async def prepare(self, scene: StagingScene) -> str:
        for event in scene.casts:
            await self.recast(scene, event)
        return ""

    async def recast(self, scene: StagingScene, event: TableEvent) -> None:
        """The host that is left out plays A, which the event is about."""
        play, host = EVENTS[event], _host_without_tpm(scene, event)
        for wanted in play.list_needed_vms(scene.block):
            if wanted.actor is Actor.A and self.moves(wanted.kind, judged=wanted.judged):
                await setup.make_in_clear(scene, play, wanted, host)
        scene.casts[event] = {**scene.casts[event], Actor.A: host}

    @staticmethod
    def moves(kind: VmKind, *, judged: bool) -> bool:
        """Whether a VM of A is made anew on the other host."""
        return kind is VmKind.CLEAR


class ClearOnLeftOut(HostLeftOut):
    """What is judged is made anew there without encryption: it misses nothing (BOOT-01)."""

    @staticmethod
    def moves(kind: VmKind, *, judged: bool) -> bool:
        return judged

    def over(self, found: str) -> str:
        return found


def _host_without_tpm(scene: StagingScene, event: TableEvent) -> NodeName:
    """The host of the event's cluster that has no TPM."""
    nodes = scene.lab.directory().nodes
    mine = (one.node for one in nodes if one.cluster == cluster_of(event))
    return next(host for host in mine if host in scene.left_out)


async def _takes_part(scene: StagingScene, host: NodeName) -> str:
    """Empty when the host is not safe, has no KDK of P in its memory or on its disk, locks no VM,
    and has told of the TPM that it lacks."""
    view = (await scene.lab.ask(host, QueryHost())).summary
    if view.crypto_state is not HostCryptoState.PREPARED:
        return f"without the TPM that {P} requires it is {view.crypto_state.value}"
    if locked := [one.vm for one in view.vms if one.crypto is VmCryptoState.LOCKED]:
        return f"it has locked {', '.join(locked)}"
    if (has := await provider_setup.kdk_at(scene, host, P)) != provider_setup.ABSENT:
        return f"the key derivation key of {P}: {has}"
    if P in await scene.bench.read_archived_kdks(host):
        return f"the key derivation key of {P} is in its archive"
    told = (one for one in scene.bench.records() if one.node == host and one.kind == SAID)
    named = any(DEVICE in str(one.fields.get("reason")) for one in told)
    return "" if named else "its log does not say that it lacks a TPM 2.0 device"


# Beside ---------------------------------------------------------------------------------------
#
# A fault that is none of the table's, in a lab of a row outside of the grid.


class Beside(StagedFault):
    """A lab in which one fault of ``chaos.faults`` holds, and nothing of the table's."""

    fault: ClassVar[TableFault] = TableFault.F0

    def __init__(self, scene: StagingScene, held: LabFault) -> None:
        super().__init__(scene, held)
        self._kind = held.kind

    async def begin(self) -> None:
        await super().begin()
        self.write("fault", self.scene.vcenter, self._kind)

    async def end(self) -> None:
        await super().end()
        self.write("heal", self.scene.vcenter, self._kind)


# Apart twists ---------------------------------------------------------------------------------
#
# Rows outside of the grid about a vCenter that does not reach one host, and reaches all others.

_CONNECTED = HostConnectionState.CONNECTED


class HostApart(Twist):
    """The hosts that reboot are cut off from vCenter, which goes on and reaches its key servers: to
    them it is as if it were down. When it reaches them again, its way to the keys is shut first."""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        return _FromHosts(scene)


class _FromHosts(VcenterAway):
    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        apart = LinkCutFault(id="X13", a=(scene.vcenter,), b=scene.hosts())
        self.held = DrivenFault(scene, apart)

    async def begin(self) -> None:
        await super().begin()
        self.scene.vcenter_cut = True  # what it shows of these hosts is of before

    async def return_shut(self) -> None:
        """A vCenter that goes on comes back to a host after a pause of up to three heartbeats: what
        it has to do after its first contact is looked for from then on."""
        await super().return_shut()
        until = self.scene.lab.monotonic() + clock.SETTLED_S
        while not await self._in_contact() and self.scene.lab.monotonic() < until:
            await self.scene.lab.sleep(clock.AGAIN_S)

    async def _in_contact(self) -> bool:
        shown = {one.host: one for one in await all_hosts(self.scene.lab, self.scene.vcenter)}
        up = await running_hosts(self.scene)
        return all(shown[host].connection is _CONNECTED for host in up if host in shown)


class OthersGoOn(Twist):
    """Each cluster has one more host, that vCenter does not reach: the others miss nothing."""

    spare = 1

    def fault(self, scene: StagingScene) -> StagedFault | None:
        return Beside(scene, LinkCutFault(id="X13", a=(scene.vcenter,), b=_spare(scene)))

    async def find_deviation(self, scene: StagingScene) -> str:
        await scene.until(clock.SETTLED_S)
        listed = {one.host: one.connection for one in await all_hosts(scene.lab, scene.vcenter)}
        heard = [host for host in _spare(scene) if listed[host] is _CONNECTED]
        return f"vCenter shows {', '.join(heard)} as connected" if heard else ""


def _spare(scene: StagingScene) -> tuple[NodeName, ...]:
    """Hosts that play nobody."""
    cast = {host for of in scene.casts.values() for host in of.values()}
    return tuple(host for host in scene.hosts() if host not in cast)


# Disk twists ----------------------------------------------------------------------------------
#
# Rows outside of the grid about VMs with a second disk under a key of its own.
#
# Such a VM is locked, and not invalid, when that key alone is missing: it starts without that
# disk (LOCK-03). What cells are compared for, the judged VM's keys, is the key of the second
# disk.

SECOND: Final = 2
LABEL: Final = f"Hard disk {SECOND}"


class _SecondDisk(Twist):
    """Each judged VM gets one, under a new key of ``provider``; None: of the default one."""

    provider: ProviderId | None = None

    async def prepare(self, scene: StagingScene) -> str:
        for info in await all_vms(scene.lab, scene.vcenter):
            if info.vm in scene.judged:
                runs = info.power is PowerState.ON
                if wrong := await self._add_disk(scene, info.vm, runs=runs):
                    return wrong
        scene.locked_as = VmConnectionState.CONNECTED
        return ""

    async def _add_disk(self, scene: StagingScene, vm: VmName, *, runs: bool) -> str:
        if runs:
            await scene.ask_vcenter(PowerOffVm(vm=vm))
        add = AddDisk(operation_id=f"matrix/{vm}/disk", vm=vm, provider=self.provider, own_key=True)
        disks = (await scene.ask_vcenter(add)).disks
        key = next(disk.key for disk in disks if disk.disk == SECOND)
        if key is None or key in scene.keys[vm]:
            return f"{LABEL} of {vm} has no key of its own"
        scene.keys[vm] = (key,)
        if runs:
            await scene.ask_vcenter(PowerOnVm(vm=vm))
        return ""


class KeysOfTwo(_SecondDisk):
    """The second disk is under a key of Q, whose server nobody reaches; P is well. A start needs
    both keys, and is refused for the one that is missing."""

    provider = Q
    in_order = False  # its host gets its own key of P, whoever is away

    def fault(self, scene: StagingScene) -> StagedFault | None:
        cut = LinkCutFault(id="X16", a=scene.clients_of_servers, b=SERVERS_OF_Q)
        return Beside(scene, cut)


class DiskKeyDestroyed(_SecondDisk):
    """The key of the second disk is destroyed at its key servers, and that of the home is not: a
    start is refused with the disk's name, and done when it is taken away."""

    async def prepare(self, scene: StagingScene) -> str:
        wrong = await super().prepare(scene)
        await back_up(scene.lab, SERVERS_OF_P, BACKUP)  # with the new key
        return wrong

    def fault(self, scene: StagingScene) -> StagedFault | None:
        return _OfDisk(scene)

    async def find_deviation(self, scene: StagingScene) -> str:
        for vm in sorted(scene.judged):
            if wrong := await _starts_without(scene, vm):
                return f"{vm}: {wrong}"
        return ""


class _OfDisk(KeyDestroyed):
    """The key is known when the disk has been added."""

    async def begin(self) -> None:
        self.know()
        await super().begin()


async def _starts_without(scene: StagingScene, vm: VmName) -> str:
    """Empty when a start is refused for the second disk by name, and done without it."""
    try:
        await scene.ask_vcenter(PowerOnVm(vm=vm))
        return "it starts without the key of a disk"
    except REFUSALS as error:
        if LABEL not in str(error):
            return f"what refuses its start does not name {LABEL}: {error}"
    host = next(info.host for info in await all_vms(scene.lab, scene.vcenter) if info.vm == vm)
    await scene.ask_vcenter(RemoveDisk(vm=vm, disk=SECOND))
    await scene.ask_vcenter(PowerOnVm(vm=vm))
    asked = await scene.guests.challenge(vm, host)
    await scene.ask_vcenter(PowerOffVm(vm=vm))
    return "" if asked.right else f"without {LABEL} its guest is not right: {asked.detail}"
