"""A staging before its fault: VMs made, everything healthy, one host made to lack a key."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.lab import REFUSALS
from chaos.matrix import clock, provider_setup
from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.looks import Looks, plain
from chaos.matrix.scene import P, StagingScene, Void, cluster_of, vm_of
from chaos.matrix.stored import write_dump
from chaos.matrix.terms import VmKind
from chaos.observe.look import LabLook, all_events, all_hosts, all_vms
from chaos.oracle.terms import TableEvent
from protocol.messages.agent import NodeRunState
from protocol.messages.host.crypto import GetCryptoKeyStatus, RemoveKeys
from protocol.messages.vcenter.vms import AddVtpm, CreateVm, DestroyVm, PowerOffVm, PowerOnVm
from protocol.terms import HostConnectionState, HostCryptoState, NodeName, VmName
from services.runtime.each import for_each


async def make_vms(scene: StagingScene, plays: Sequence[type[EventPlay]]) -> None:
    """Every VM of these events: encrypted ones under P, with a disk and a virtual TPM that
    only we can check."""
    await for_each(plays, lambda play: _make_of(scene, play))
    await _learn_keys(scene)
    for play in plays:
        scene.judged |= {
            vm_of(play.event, wanted.what)
            for wanted in play.list_needed_vms(scene.block)
            if wanted.judged and wanted.kind is not VmKind.CLEAR
        }


async def make_again(scene: StagingScene, play: type[EventPlay], *, clear: bool = False) -> None:
    """The VMs of the event go, and are made anew: under other keys, and nothing is as before.
    ``clear``: those that cells are about without encryption."""
    event = play.event
    for wanted in play.list_needed_vms(scene.block):
        vm = vm_of(event, wanted.what)
        await _destroy(scene, vm)
        in_clear = clear and vm in scene.judged
        await _make(scene, event, wanted, operation="again", encrypted=not in_clear)
    await _learn_keys(scene)
    await _log_so_far(scene)


async def make_in_clear(
    scene: StagingScene, play: type[EventPlay], wanted: WantedVm, host: NodeName
) -> None:
    """This VM of the event goes, and is made anew on that host, without encryption."""
    vm = vm_of(play.event, wanted.what)
    await _destroy(scene, vm)
    await _make(scene, play.event, wanted, operation="again", encrypted=False, on=host)
    await _log_so_far(scene)


async def _destroy(scene: StagingScene, vm: VmName) -> None:
    await scene.ask_vcenter(PowerOffVm(vm=vm))
    await scene.ask_vcenter(DestroyVm(vm=vm))
    scene.keys[vm] = ()
    scene.guests.forget(vm)


async def _learn_keys(scene: StagingScene) -> None:
    for info in await all_vms(scene.lab, scene.vcenter):
        if info.key is not None:
            scene.keys[info.vm] = (info.key,)


async def write_dumps(scene: StagingScene, plays: Sequence[type[EventPlay]]) -> None:
    """An encrypted dump on each host whose key is judged: who reads it back has that key."""
    for play in plays:
        if play.dumps is not None:
            await write_dump(scene, scene.host(play.event, play.dumps))


async def _make_of(scene: StagingScene, play: type[EventPlay]) -> None:
    for wanted in play.list_needed_vms(scene.block):
        await _make(scene, play.event, wanted)


async def _make(
    scene: StagingScene,
    event: TableEvent,
    wanted: WantedVm,
    *,
    operation: str = "made",
    encrypted: bool = True,
    on: NodeName | None = None,
) -> None:
    vm, host = vm_of(event, wanted.what), on or scene.host(event, wanted.actor)
    encrypted = encrypted and wanted.kind is not VmKind.CLEAR
    made = CreateVm(
        operation_id=f"matrix/{vm}/{operation}",
        vm=vm,
        cluster=cluster_of(event),
        host=host,
        encrypted=encrypted,
        provider=P if encrypted else None,
    )
    await scene.ask_vcenter(made)
    if encrypted:
        vtpm = AddVtpm(operation_id=f"matrix/{vm}/vtpm/{operation}", vm=vm)
        await scene.ask_vcenter(vtpm)
    else:
        scene.clear.add(vm)
    if wanted.kind is not VmKind.CLEAR:
        await scene.ask_vcenter(PowerOnVm(vm=vm))
        if wrong := await scene.guests.plant(vm, host, vtpm=encrypted):
            raise Void(f"the disk of {vm} could not be filled: {wrong}")
    if wanted.kind is VmKind.OFF:
        await scene.ask_vcenter(PowerOffVm(vm=vm))
    if scene.keyed_by_use and encrypted:
        await _use_elsewhere(scene, event, wanted)
    if wanted.cold and wanted.kind is VmKind.OFF:
        scene.cold[vm] = scene.host(event, wanted.actor)
    scene.book.write("note", host, "made", vm=vm, kind=wanted.kind.value)


async def _use_elsewhere(scene: StagingScene, event: TableEvent, wanted: WantedVm) -> None:
    """The other host that has used the key of a VM that runs uses it."""
    if wanted.used_on is None:
        return
    vm = vm_of(event, wanted.what)
    home, other = scene.host(event, wanted.actor), scene.host(event, wanted.used_on)
    await scene.ask_vcenter(PowerOffVm(vm=vm))
    await provider_setup.use_key_on(scene, event, vm, other, home)
    await scene.ask_vcenter(PowerOnVm(vm=vm))


async def use_keys(scene: StagingScene, plays: Sequence[type[EventPlay]]) -> None:
    """Hosts that have booted use again the keys that they had used: of VMs that are off."""
    for play in plays:
        for wanted in play.list_needed_vms(scene.block):
            await _use(scene, play.event, wanted)


async def _use(scene: StagingScene, event: TableEvent, wanted: WantedVm) -> None:
    vm = vm_of(event, wanted.what)
    if wanted.kind is VmKind.OFF:
        await scene.ask_vcenter(PowerOnVm(vm=vm))
        await scene.ask_vcenter(PowerOffVm(vm=vm))
    await _use_elsewhere(scene, event, wanted)


async def wait_until_healthy(scene: StagingScene, plays: Sequence[type[EventPlay]]) -> None:
    """``wait_for_pass`` and ``check_healthy``. Where messages take real time, what a busy machine
    is late with is waited for, pass by pass; and a pass that was under way while a VM was between
    two hosts may have taken its key away only now: its hosts use it once more then."""
    for left in reversed(range(provider_setup.USE_TRIES if scene.patience else 1)):
        await wait_for_pass(scene)
        try:
            await check_healthy(scene, plays)
        except Void:
            if not left:
                raise
        else:
            return
        if scene.keyed_by_use:
            await _use_what_is_lacking(scene, plays)


async def _use_what_is_lacking(scene: StagingScene, plays: Sequence[type[EventPlay]]) -> None:
    for play in plays:
        for wanted in play.list_needed_vms(scene.block):
            if wanted.kind is not VmKind.CLEAR and await _is_lacking(scene, play.event, wanted):
                await _use(scene, play.event, wanted)


async def _is_lacking(scene: StagingScene, event: TableEvent, wanted: WantedVm) -> bool:
    """Whether a host that has used the VM's key has it no longer."""
    actors = (wanted.actor, wanted.used_on)
    users = [scene.host(event, actor) for actor in actors if actor is not None]
    lacks = [
        await provider_setup.lacks_a_key(scene, vm_of(event, wanted.what), host)
        for host in users
        if host not in scene.left_out
    ]
    return any(lacks)


async def check_healthy(scene: StagingScene, plays: Sequence[type[EventPlay]]) -> None:
    """``Void`` unless everybody can be reached, every host is connected and safe and has the keys
    of its cluster's VMs, and every VM that runs works."""
    if wrong := await scene.find_unreachable():
        raise Void(f"{wrong} before the fault")
    looks = Looks(scene, scene.book.trail("healthy"))
    for info in await all_hosts(scene.lab, scene.vcenter):
        if info.connection is not HostConnectionState.CONNECTED:
            raise Void(f"{info.host} is {info.connection.value} before the fault")
        safe = info.crypto_state is HostCryptoState.SAFE
        if not safe and info.host not in scene.left_out:
            raise Void(f"{info.host} is {info.crypto_state} before the fault")
    for play in plays:
        for wanted in play.list_needed_vms(scene.block):
            vm, host = vm_of(play.event, wanted.what), scene.host(play.event, wanted.actor)
            seen = await looks.vm(vm, host)
            if wanted.kind is VmKind.RUN and seen.works.right is not True:
                raise Void(f"{vm} does not work before the fault: {seen.works.detail}")
            if wanted.kind is not VmKind.CLEAR:
                await _has_keys(scene, play, wanted, vm)
    for play in plays:
        await play.check_ready(scene)
    await _log_so_far(scene)


def _whole(scene: StagingScene, host: NodeName) -> HostCryptoState:
    """What a host is to which nothing is done: safe, unless P leaves it out."""
    return HostCryptoState.PREPARED if host in scene.left_out else HostCryptoState.SAFE


async def _log_so_far(scene: StagingScene) -> None:
    """What vCenter has told by now is of before the fault."""
    events = await all_events(scene.lab, scene.vcenter)
    scene.first_event = max((event.sequence for event in events), default=0)


async def _has_keys(
    scene: StagingScene, play: type[EventPlay], wanted: WantedVm, vm: VmName
) -> None:
    keys, hosts = scene.keys[vm], tuple(scene.casts[play.event].values())
    if scene.native:
        for host in hosts:
            if host not in scene.left_out:
                await provider_setup.check_has_kdks(scene, host)
    if scene.keyed_by_use:
        used = (wanted.actor, wanted.used_on)
        hosts = tuple(scene.host(play.event, actor) for actor in used if actor is not None)
    for host in hosts:
        found = await scene.lab.ask(host, GetCryptoKeyStatus(keys=keys))
        if not all(key.present for key in found.keys):
            raise Void(f"{host} lacks the key of {vm} before the fault")


async def take_key(scene: StagingScene, play: EventPlay) -> None:
    """The host that must lack the key loses it by its own administrator; vCenter is not told."""
    if play.without_key is None or scene.trusted:
        return  # a host that never asked for a trusted key has it not (KPS-02)
    host = play.host(play.without_key)
    if host in scene.asleep or host in scene.left_out:
        return  # it was off while the key was made, or gets none
    keys = tuple(key for vm in _vms(scene, play) for key in scene.keys.get(vm, ()))
    if scene.native:
        await provider_setup.take_provider(scene, host)
    await scene.lab.ask(host, RemoveKeys(keys=keys))
    play.trail.write("note", host, "keys removed", keys=[str(key) for key in keys])


async def lacks_key(scene: StagingScene, play: EventPlay) -> None:
    """``Void`` unless the host still lacks the key just before the event, on its disk too. Where
    nobody has taken it away, because hosts get keys by asking for them, it is ``odd`` instead."""
    if play.without_key is None:
        return
    host = play.host(play.without_key)
    archived = await scene.bench.read_archived_keys(host)
    if scene.native and host not in scene.left_out:
        await provider_setup.check_lacks_provider(scene, host)
    for vm in _vms(scene, play):
        keys = scene.keys.get(vm, ())
        found = await play.looks.keys_at(host, keys)
        wrong = ""
        if found is None or any(key.present or key.stored for key in found):
            wrong = f"{host} has the key of {vm}: {plain(found)}"
        elif not set(archived).isdisjoint(keys):
            wrong = f"the archive of {host} has the key of {vm}"
        if wrong and (found is None or not scene.trusted):
            raise Void(wrong)
        play.odd = play.odd or wrong


def _vms(scene: StagingScene, play: EventPlay) -> tuple[VmName, ...]:
    """Every VM of the event."""
    return tuple(play.vm(wanted.what) for wanted in play.list_needed_vms(scene.block))


async def wait_for_pass(scene: StagingScene) -> None:
    """Return when a reconcile pass of vCenter has ended and its work on hosts is done."""
    before = _passes(scene)
    for _ in range(PASS_WITHIN_S):
        await scene.lab.sleep(1.0)
        if _passes(scene) > before:
            await scene.lab.sleep(PASS_TAKES_S)
            return
    raise Void("vCenter makes no reconcile pass")


PASS_TAKES_S = 5.0
PASS_WITHIN_S = 700


def _passes(scene: StagingScene) -> int:
    return sum(1 for r in scene.bench.records() if r.kind == "reconcile.pass")


async def running_hosts(scene: StagingScene) -> tuple[NodeName, ...]:
    """Hosts that are up: those that lost their power in an event stay off."""
    seen = await scene.lab.statuses(counters=False)
    hosts = scene.hosts()
    return tuple(h for h in hosts if h in seen and seen[h].state is NodeRunState.RUNNING)


async def hosts_settle(scene: StagingScene, nodes: Sequence[NodeName], limit_s: float) -> None:
    """Return when all of them are connected and safe, by their own word and by vCenter's, and no
    VM is locked; at the latest after ``limit_s`` seconds."""
    until = scene.lab.monotonic() + limit_s
    while scene.lab.monotonic() < until:
        if await _settled(scene, nodes):
            return
        await scene.lab.sleep(clock.AGAIN_S)


async def _settled(scene: StagingScene, nodes: Sequence[NodeName]) -> bool:
    """Whether all of them are connected, and safe if they can be, for themselves and for vCenter,
    which has seen their last boot, and no VM is locked."""
    try:
        hosts = await all_hosts(scene.lab, scene.vcenter)
        vms = await all_vms(scene.lab, scene.vcenter)
    except REFUSALS:
        return False
    shown = {one.host: one for one in hosts}
    own = await LabLook(scene.lab).hosts()
    well = all(
        node in shown
        and node in own
        and shown[node].connection is HostConnectionState.CONNECTED
        and shown[node].boot == own[node].boot
        and {shown[node].crypto_state, own[node].crypto_state} == {_whole(scene, node)}
        for node in nodes
    )
    return well and not any(vm.lock_event for vm in vms)
