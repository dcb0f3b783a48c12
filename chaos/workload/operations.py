"""The operations of the workload.

VMs: power off and on, back to back too; migrated, or taken out of the inventory and registered
elsewhere. Keys: made, used by new VMs and in the place of others, given up with them. Hosts:
stored keys removed and enabled again, connections to vCenter made anew. Guests: challenged to
prove that they read their disk.
"""

from __future__ import annotations

from typing import Any, Final

from chaos.draws import Draws
from chaos.lab import LabUnderTest
from chaos.observe.look import LabLook, leaders, nodes_of
from chaos.workload.base import WITHIN_S, Arrival, Means, OperationOutcome, WorkloadOperation
from protocol.errors import DatastoreFault, InvalidState, NotFound, ProductError
from protocol.messages.base import Request
from protocol.messages.host.session import Esxcli
from protocol.messages.vcenter import vms as vm_messages
from protocol.messages.vcenter.inventory import DisconnectHost, ReconnectHost
from protocol.messages.vcenter.providers import GenerateKey
from protocol.terms import HostConnectionState, NodeName, PowerState, Role, VmName
from services.runtime.each import try_each

PAIR_GAP_S: Final = 0.001
"""Lab seconds: enough that the first is accepted first, and is not done yet."""


async def _power_cycle(means: Means, arrival: Arrival) -> OperationOutcome:
    vm = VmName(arrival.target)
    vcenter = await means.vcenter(vm)
    await means.lab.ask(vcenter, vm_messages.PowerOffVm(vm=vm), within_s=WITHIN_S)
    try:
        await means.lab.ask(vcenter, vm_messages.PowerOnVm(vm=vm), within_s=WITHIN_S)
    except ProductError as error:
        # The first half had its effect, so this is no clean failure.
        return OperationOutcome("info", {"off": True, "error": type(error).__name__})
    return OperationOutcome("ok", {})


async def _off_on(means: Means, arrival: Arrival) -> OperationOutcome:
    """Both commands are accepted before the first is done: the second one has the last word."""
    vm = VmName(arrival.target)
    vcenter = await means.vcenter(vm)

    async def give(place: int) -> vm_messages.VmPowered:
        await means.lab.sleep(place * PAIR_GAP_S)
        command = vm_messages.PowerOnVm(vm=vm) if place else vm_messages.PowerOffVm(vm=vm)
        return await means.lab.ask(vcenter, command, within_s=WITHIN_S)

    ends = await try_each(range(2), give, name="pair")
    errors = [end for end in ends if isinstance(end, ProductError)]
    powered = [end for end in ends if isinstance(end, vm_messages.VmPowered)]
    if errors:
        neither = len(errors) == 2 and all(error.definite for error in errors)
        return OperationOutcome("fail" if neither else "info", {"error": type(errors[0]).__name__})
    seen = await LabLook(means.lab).vm(vm, powered[-1].vm.host)
    if seen is None:
        return OperationOutcome("info", {"error": "no host answers for it"})
    return OperationOutcome("ok", {"wanted": PowerState.ON.value, "left": seen[1].power.value})


async def _unlock(means: Means, arrival: Arrival) -> OperationOutcome:
    """CryptoUnlock_Task, whether the VM is locked or not (LOCK-05)."""
    vm = VmName(arrival.target)
    await means.lab.ask(await means.vcenter(vm), vm_messages.CryptoUnlock(vm=vm), within_s=WITHIN_S)
    return OperationOutcome("ok", {})


POWER_OPERATIONS: Final = (
    WorkloadOperation(
        "vm.power_cycle", "vms", "power a VM off and on through vCenter", _power_cycle
    ),
    WorkloadOperation("vm.off_on", "vms", "power a VM off and on, sent back to back", _off_on),
    WorkloadOperation("vm.unlock", "vms", "have vCenter bring the keys of a VM", _unlock),
)


_RELOCATED: Final = 0.5  # of the migrations in a lab with several vCenters
LOCK_PATIENCE_S: Final = 15.0
"""Lab seconds after which a lock that nobody needs is given back."""


async def _ask(means: Means, about: str, message: Request[Any]) -> Any:
    """Of the vCenter of ``about``, a host or a cluster."""
    return await means.lab.ask(await means.vcenter(about), message, within_s=WITHIN_S)


async def fetch_vm(lab: LabUnderTest, vm: VmName) -> vm_messages.VmInfo:
    """What vCenter says of it; ``NotFound`` when it does not say."""
    found = (await LabLook(lab).vcenter_vms()).get(vm)
    if found is None:
        raise NotFound(f"vCenter has no {vm}")
    return found


async def other_hosts(lab: LabUnderTest, info: vm_messages.VmInfo) -> tuple[NodeName, ...]:
    """Hosts of its cluster that are connected, and not its own, by name; ``NotFound``: none is."""
    of_cluster = {entry.node for entry in lab.directory().nodes if entry.cluster == info.cluster}
    hosts = [
        host
        for host, seen in (await LabLook(lab).vcenter_hosts()).items()
        if host in of_cluster
        and host != info.host
        and seen.connection is HostConnectionState.CONNECTED
    ]
    if not hosts:
        raise NotFound(f"no other host of {info.cluster} is connected")
    return tuple(sorted(hosts))


async def hosts_of_vcenter(lab: LabUnderTest, vcenter: NodeName) -> tuple[NodeName, ...]:
    """Hosts of that vCenter that are connected to it, by name; ``NotFound``: none is."""
    of_it = {entry.node for entry in lab.directory().nodes if entry.vcenter == vcenter}
    seen = await LabLook(lab).vcenter_hosts()
    connected = HostConnectionState.CONNECTED
    hosts = [host for host in sorted(of_it & set(seen)) if seen[host].connection is connected]
    if not hosts:
        raise NotFound(f"no host of {vcenter} is connected")
    return tuple(hosts)


async def _elsewhere(means: Means, info: vm_messages.VmInfo, arrival: Arrival) -> NodeName:
    hosts = await other_hosts(means.lab, info)
    return hosts[Draws(arrival.number, f"move/{arrival.target}").below(len(hosts))]


def migration_outcome(done: vm_messages.VmRelocated) -> OperationOutcome:
    """Where a VM is by the answer to a migration, and whether its guest went along."""
    return OperationOutcome(
        "ok", {"host": str(done.vm.host), "ran": done.vm.power is PowerState.ON}
    )


async def _migrate(means: Means, arrival: Arrival) -> OperationOutcome:
    """vMotion of one that runs; one that is off is registered elsewhere. Where the lab has several
    vCenters, every other one goes to a host of another (MOB-07)."""
    vm = VmName(arrival.target)
    others = [one for one in leaders(means.lab) if one != await means.vcenter(vm)]
    draws = Draws(arrival.number, f"relocate/{arrival.target}")
    if others and draws.unit() < _RELOCATED:
        return await _relocate(means, vm, others[draws.below(len(others))], draws)
    host = await _elsewhere(means, await fetch_vm(means.lab, vm), arrival)
    return migration_outcome(await _ask(means, host, vm_messages.MigrateVm(vm=vm, host=host)))


async def _relocate(means: Means, vm: VmName, vcenter: NodeName, draws: Draws) -> OperationOutcome:
    hosts = await hosts_of_vcenter(means.lab, vcenter)
    message = vm_messages.RelocateVm(
        vm=vm,
        service=vm_messages.ServiceLocator(vcenter=vcenter),
        host=hosts[draws.below(len(hosts))],
    )
    return migration_outcome(
        await means.lab.ask(await means.vcenter(vm), message, within_s=WITHIN_S)
    )


async def _move(means: Means, arrival: Arrival) -> OperationOutcome:
    """Off, out of the inventory, into it on another host, and on."""
    vm = VmName(arrival.target)
    info = await fetch_vm(means.lab, vm)
    host = await _elsewhere(means, info, arrival)
    await _ask(means, host, vm_messages.PowerOffVm(vm=vm))
    try:
        await _ask(means, host, vm_messages.UnregisterVm(vm=vm))
        await _ask(means, host, vm_messages.RegisterVm(vm=vm, cluster=info.cluster, host=host))
    except ProductError as error:
        return OperationOutcome("info", {"off": True, "error": type(error).__name__})
    return await _start_vm(means, vm, host)


async def _restart(means: Means, arrival: Arrival) -> OperationOutcome:
    """What high availability does: the VM of a host that vCenter has lost runs elsewhere."""
    vm = VmName(arrival.target)
    info = await fetch_vm(means.lab, vm)
    hosts = await LabLook(means.lab).vcenter_hosts()
    there = hosts.get(info.host)
    if there is None or there.connection is HostConnectionState.CONNECTED:
        return OperationOutcome("fail", {"error": "its host is connected"})
    host = await _elsewhere(means, info, arrival)
    await _ask(means, host, vm_messages.RegisterVm(vm=vm, cluster=info.cluster, host=host))
    return await _start_vm(means, vm, host)


async def _start_vm(means: Means, vm: VmName, host: NodeName) -> OperationOutcome:
    """Power it on; where its lock is in the way, a while later once more."""
    about: dict[str, Any] = {"host": str(host)}
    for attempt in range(2):
        idle = attempt and await _runs_nowhere(means, vm)
        try:
            await _ask(means, host, vm_messages.PowerOnVm(vm=vm))
        except DatastoreFault as error:
            if attempt and idle and await _runs_nowhere(means, vm):
                return OperationOutcome("info", {**about, "off": True, "kept": str(error)})
            about["error"] = type(error).__name__
            await means.lab.sleep(0 if attempt else LOCK_PATIENCE_S)
        except ProductError as error:
            return OperationOutcome("info", {**about, "off": True, "error": type(error).__name__})
        else:
            return OperationOutcome("ok", {"host": str(host)})
    return OperationOutcome("info", {**about, "off": True})


async def _runs_nowhere(means: Means, vm: VmName) -> bool:
    """Whether every host there is answers, and none of them runs it."""
    hosts = await LabLook(means.lab).hosts()
    running = [
        seen
        for summary in hosts.values()
        for seen in summary.vms
        if seen.vm == vm and seen.power is PowerState.ON
    ]
    return len(hosts) == len(nodes_of(means.lab, Role.ESXI)) and not running


MOVE_OPERATIONS: Final = (
    WorkloadOperation("vm.migrate", "vms", "migrate a VM to another host while it runs", _migrate),
    WorkloadOperation(
        "vm.move", "vms", "power a VM off, register it on another host, power it on", _move
    ),
    WorkloadOperation(
        "vm.restart",
        "vms",
        "register a VM whose host is not connected on another one, and power it on",
        _restart,
    ),
)


async def _key_create(means: Means, arrival: Arrival) -> OperationOutcome:
    message = GenerateKey(operation_id=means.operation_id(arrival))
    made = await means.lab.ask(await means.vcenter(), message, within_s=WITHIN_S)
    if made.success and made.key is not None:
        return OperationOutcome(
            "ok", {"key": str(made.key.key_id), "provider": str(made.key.provider_id)}
        )
    # vCenter's answer does not say whether the key server had made the key already.
    return OperationOutcome("info", {"error": made.reason})


async def _vm_encrypt(means: Means, arrival: Arrival) -> OperationOutcome:
    """A new VM beside ``target``'s, encrypted under a new key of the default provider."""
    name = VmName(means.operation_id(arrival))
    cluster = await means.cluster_of(VmName(arrival.target))
    vcenter = await means.vcenter(cluster)
    operation_id = means.operation_id(arrival)
    made = vm_messages.CreateVm(operation_id=f"{operation_id}-vm", vm=name, cluster=cluster)
    await means.lab.ask(vcenter, made, within_s=WITHIN_S)
    try:
        message = vm_messages.EncryptVm(operation_id=operation_id, vm=name)
        done = await means.lab.ask(vcenter, message, within_s=WITHIN_S)
    except ProductError as error:
        return OperationOutcome("info", {"vm": str(name), "error": type(error).__name__})
    key = done.key
    data = {"vm": str(name), "key": str(key.key_id), "provider": str(key.provider_id)}
    return OperationOutcome("ok", data)


async def _come_and_go(means: Means, arrival: Arrival) -> OperationOutcome:
    """A new VM beside ``target``'s, encrypted, and destroyed as soon as that is answered: its key
    is on its way to the other hosts of the cluster while it has to leave them."""
    operation_id = means.operation_id(arrival)
    name = VmName(operation_id)
    cluster = await means.cluster_of(VmName(arrival.target))
    vcenter = await means.vcenter(cluster)
    made = vm_messages.CreateVm(
        operation_id=f"{operation_id}-vm", vm=name, cluster=cluster, encrypted=True
    )
    created = False
    try:
        answer = await means.lab.ask(vcenter, made, within_s=WITHIN_S)
        created = True
        await means.lab.ask(vcenter, vm_messages.DestroyVm(vm=name), within_s=WITHIN_S)
    except ProductError as error:
        kind = "fail" if error.definite and not created else "info"
        return OperationOutcome(kind, {"made": str(name), "error": type(error).__name__})
    gone = {} if answer.vm.key is None else {"gone": str(answer.vm.key.key_id)}
    return OperationOutcome("ok", {"made": str(name), **gone})


async def _recrypt(means: Means, arrival: Arrival) -> OperationOutcome:
    """Shallow: the VM goes on, under a new key of one of the providers that vCenter lists."""
    return await _recrypt_vm(means, arrival, deep=False)


async def _recrypt_deep(means: Means, arrival: Arrival) -> OperationOutcome:
    """Off, recrypted with new data keys, and on."""
    vm = VmName(arrival.target)
    vcenter = await means.vcenter(vm)
    await means.lab.ask(vcenter, vm_messages.PowerOffVm(vm=vm), within_s=WITHIN_S)
    try:
        done = await _recrypt_vm(means, arrival, deep=True)
        await means.lab.ask(vcenter, vm_messages.PowerOnVm(vm=vm), within_s=WITHIN_S)
    except ProductError as error:
        return OperationOutcome("info", {"off": True, "error": type(error).__name__})
    return done


async def _recrypt_vm(means: Means, arrival: Arrival, *, deep: bool) -> OperationOutcome:
    vcenter = await means.vcenter(arrival.target)
    seen = await LabLook(means.lab).providers()
    drawn = Draws(arrival.number, f"recrypt/{arrival.target}")
    message = vm_messages.RecryptVm(
        operation_id=means.operation_id(arrival),
        vm=VmName(arrival.target),
        provider=seen[drawn.below(len(seen))].provider if seen else None,
        deep=deep,
    )
    key = (await means.lab.ask(vcenter, message, within_s=WITHIN_S)).key
    return OperationOutcome("ok", {"key": str(key.key_id), "provider": str(key.provider_id)})


KEY_OPERATIONS: Final = (
    WorkloadOperation("key.create", "", "create a key of the default provider", _key_create),
    WorkloadOperation("vm.encrypt", "vms", "create a VM and encrypt it", _vm_encrypt),
    WorkloadOperation(
        "vm.come_and_go",
        "vms",
        "create an encrypted VM and destroy it at once, so that its key comes and goes",
        _come_and_go,
    ),
    WorkloadOperation(
        "vm.recrypt",
        "vms",
        "put a VM under a new key of any provider, while it runs",
        _recrypt,
    ),
    WorkloadOperation(
        "vm.recrypt_deep",
        "vms",
        "power a VM off, rewrite its data under new keys, power it on",
        _recrypt_deep,
    ),
)


BARE_S: Final = 15.0
"""Lab seconds that a host is without stored keys."""
RECONNECT_S: Final = 2.0
RECONNECT_WITHIN_S: Final = 300.0
"""Lab seconds from one try to connect a host anew to the next, and in which it is tried."""


async def _persistence_off_on(means: Means, arrival: Arrival) -> OperationOutcome:
    """At the console of the VM's host; the host has no stored keys for a while."""
    seen = await LabLook(means.lab).vms()
    if arrival.target not in seen:
        return OperationOutcome("fail", {"error": "no host answers for it"})
    host, remains = seen[VmName(arrival.target)][0], means.remains
    if remains is None or host in remains.bare:
        return OperationOutcome("fail", {"error": "the host has no stored keys already"})
    await remains.look(host, "before")
    remains.bare[host] = None
    try:
        await _persistence(means, host, "disable", "--remove-all-stored-keys")
    except ProductError as error:
        del remains.bare[host]
        kind = "fail" if error.definite else "info"
        return OperationOutcome(kind, {"host": str(host), "error": type(error).__name__})
    await remains.look(host, "answered")
    await means.lab.sleep(BARE_S)
    await remains.look(host, "held")
    del remains.bare[host]
    try:
        await _persistence(means, host, "enable")
    except ProductError as error:
        return OperationOutcome("info", {"host": str(host), "error": type(error).__name__})
    return OperationOutcome("ok", {"host": str(host)})


async def _persistence(means: Means, host: NodeName, *words: str) -> None:
    """One command of esxcli; ``InvalidState`` with what the console shows when it is refused."""
    command = Esxcli(arguments=("system", "security", "keypersistence", *words))
    done = await means.lab.ask(host, command, within_s=WITHIN_S)
    if done.exit_code:
        raise InvalidState(done.output)
    if means.look is not None:
        await means.look()


async def _reconnect(means: Means, arrival: Arrival) -> OperationOutcome:
    """vCenter ends its session with the VM's host, whatever is under way in it, and opens another.

    It would leave the host alone for good, so that it is asked until it has done it.
    """
    listed = await LabLook(means.lab).vcenter_vms()
    if arrival.target not in listed:
        return OperationOutcome("fail", {"error": "vCenter does not tell its host"})
    host = listed[VmName(arrival.target)].host
    vcenter = await means.vcenter(host)
    try:
        await means.lab.ask(vcenter, DisconnectHost(host=host), within_s=WITHIN_S)
    except ProductError as error:
        kind = "fail" if error.definite else "info"
        return OperationOutcome(kind, {"host": str(host), "error": type(error).__name__})
    tries, until = 0, means.lab.monotonic() + RECONNECT_WITHIN_S
    while means.lab.monotonic() < until:
        tries += 1
        try:
            await means.lab.ask(vcenter, ReconnectHost(host=host), within_s=WITHIN_S)
        except ProductError:
            await means.lab.sleep(RECONNECT_S)
        else:
            return OperationOutcome("ok", {"host": str(host), "tries": tries})
    return OperationOutcome("info", {"host": str(host), "error": "it stays disconnected"})


HOST_OPERATIONS: Final = (
    WorkloadOperation(
        "esx.persistence.off_on",
        "vms",
        "remove all stored keys at the console of a VM's host, and enable persistence again",
        _persistence_off_on,
    ),
    WorkloadOperation("host.reconnect", "vms", "reconnect vCenter to the host of a VM", _reconnect),
)


async def _challenge(means: Means, arrival: Arrival) -> OperationOutcome:
    asked = await means.guests.challenge_found(VmName(arrival.target))
    if asked is None:
        return OperationOutcome("fail", {"error": "no host answers for it"})
    host = {"host": asked.host}
    if asked.right is None:
        return OperationOutcome(
            "fail" if asked.definite else "info", {**host, "error": asked.detail}
        )
    return OperationOutcome("ok", host if asked.right else {**host, "wrong": asked.detail})


GUEST_OPERATIONS: Final = (
    WorkloadOperation(
        "guest.challenge", "vms", "have a guest prove that it reads its disk", _challenge
    ),
)
