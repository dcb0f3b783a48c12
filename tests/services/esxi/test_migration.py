"""vMotion between two hosts: what travels, who has the VM when, and what a fall in it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from protocol.crypto.stream import StreamCipher
from protocol.errors import (
    CryptographicFailure,
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    ProductError,
)
from protocol.messages.base import Sealed
from protocol.messages.host.session import HostEnterMaintenanceMode
from protocol.messages.host.vms import (
    GuestChallenge,
    HostEndMigration,
    HostMigrateVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostPrepareMigration,
    HostRecryptVm,
    SendMemory,
    StreamKey,
    SwitchOver,
    VmMigrated,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, PowerState
from services.esxi.migration.vmotion import part_aad, parts
from services.esxi.vms.file_formats import MigrationOffer
from services.esxi.vms.files import read_config, write_config
from services.esxi.vms.guest import PAGES, pack_memory
from services.runtime.incarnation import WayDown
from services.runtime.sim.database import Charge
from tests.services.esxi.rig import VCENTER, VM, A, B, Rig, key

STREAM, SECRET = StreamKey(nonce_base=b"8 bytes."), KeyMaterial(b"k" * 32)


def pair(seed: int = 1) -> Rig:
    """Two safe hosts that have the key of an encrypted VM, which runs on the first."""
    rig = Rig(seed)
    rig.generations = {}
    rig.up(A)
    rig.up(B)
    for host in (A, B):
        rig.make_safe(host)
        rig.add_keys(key("kek-1"), node=host)
    rig.encrypted_vm()
    return rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = pair()
    yield made
    made.close()


def prepare(migration: str = "m-1", source: NodeName = A) -> HostPrepareMigration:
    return HostPrepareMigration(
        vm=VM, migration=migration, source=source, stream=STREAM, material=Sealed.of(SECRET)
    )


def migrate(migration: str = "m-1", target: NodeName = B) -> HostMigrateVm:
    return HostMigrateVm(
        vm=VM, migration=migration, target=target, stream=STREAM, material=Sealed.of(SECRET)
    )


def move(rig: Rig) -> VmMigrated:
    rig.command(prepare(), B)
    return rig.command(migrate(), A)


def run_of(rig: Rig, node: NodeName) -> bytes:
    challenge = GuestChallenge(vm=VM, nonce=b"n", blocks=(7,))
    return rig.console(challenge, node).run


def running(rig: Rig) -> list[NodeName]:
    """Live hosts that run it now: never two."""
    found = []
    for node in (A, B):
        host = rig.host(node)
        vm = host.vms.get(VM)
        if host.node.life.alive and vm is not None and vm.guest is not None:  # type: ignore[attr-defined]
            found.append(node)
    return found


# ---- it moves ----------------------------------------------------------------------------------


def test_the_guest_goes_on_and_is_the_same_run(rig: Rig) -> None:
    """MOB-01: its memory came along; that its disk is read tells nothing of that."""
    before = run_of(rig, A)
    done = move(rig)
    assert rig.works(node=B)
    assert run_of(rig, B) == before
    assert 0 < done.gap_s < 2 and done.size > PAGES
    assert not rig.summary(A).vms and rig.vm(node=B).power is PowerState.ON
    assert rig.run(rig.host(B).datastore.holders([VM])) == {VM: B}


def test_a_guest_that_is_started_anew_is_another_run(rig: Rig) -> None:
    before = run_of(rig, A)
    rig.command(HostPowerOffVm(vm=VM), A)
    rig.command(HostPowerOnVm(vm=VM), A)
    assert run_of(rig, A) != before


def test_nothing_of_its_memory_is_in_clear_on_the_way(rig: Rig) -> None:
    heard: list[bytes] = []
    rig.broker.tap = lambda subject, reply, payload: heard.append(payload)
    vm = rig.host(A).vms[VM]
    assert vm.guest is not None
    memory = vm.guest.freeze()
    secret = memory.pages[0][:16]
    move(rig)
    whole = b"".join(heard)
    assert b"SendMemory" in whole or any(len(one) > len(memory.pages[0]) for one in heard)
    assert secret not in whole


def test_and_back(rig: Rig) -> None:
    before = run_of(rig, A)
    move(rig)
    rig.command(prepare("m-2", source=B), A)
    rig.command(migrate("m-2", target=A), B)
    assert run_of(rig, A) == before and rig.works(node=A)


def test_a_repeat_is_told_how_it_went_and_sends_nothing(rig: Rig) -> None:
    first = move(rig)
    assert rig.command(migrate(), A) == first
    assert len(rig.kinds("vm.migrated_out", A)) == 1


# ---- who may, and what is refused ---------------------------------------------------------------


def test_a_target_without_the_key_refuses_and_the_vm_runs_on(rig: Rig) -> None:
    """MOB-04, and what was asked leaves nothing: it is not registered there, nor locked."""
    rig.reboot(B)
    rig.connect(B)
    refused = rig.refused_command(prepare(), B)
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (key("kek-1"),)
    assert not rig.summary(B).vms
    assert rig.works()


def test_a_target_in_maintenance_mode_refuses(rig: Rig) -> None:
    rig.command(HostEnterMaintenanceMode(), B)
    assert isinstance(rig.refused_command(prepare(), B), InvalidState)
    assert rig.works()


def test_without_a_target_that_expects_it_the_vm_runs_on(rig: Rig) -> None:
    assert isinstance(rig.refused_command(migrate(), A), InvalidArgument)
    assert rig.works()
    assert rig.run(rig.host(A).datastore.holders([VM])) == {VM: A}


def test_a_migration_that_failed_is_not_begun_again(rig: Rig) -> None:
    """A second try under the same key would use its nonces twice."""
    rig.refused_command(migrate(), A)
    rig.command(prepare(), B)
    assert isinstance(rig.refused_command(migrate(), A), InvalidState)
    assert rig.works()


def test_a_vm_that_is_off_has_no_memory_to_send(rig: Rig) -> None:
    rig.command(HostPowerOffVm(vm=VM), A)
    assert isinstance(rig.refused_command(migrate(), A), InvalidPowerState)


@pytest.mark.parametrize(
    "message",
    [
        SendMemory(vm=VM, migration="m-1", number=0, data=b"", last=True),
        SwitchOver(vm=VM, migration="m-1"),
    ],
)
def test_another_host_than_the_named_source_is_refused(
    rig: Rig, message: SendMemory | SwitchOver
) -> None:
    other = NodeName("esxi-003")
    rig.up(other)
    rig.command(prepare(), B)
    asked = rig.host(other).ports.bus.request(B, message, within_s=5)
    assert isinstance(rig.refusal(asked), InvalidArgument)
    rig.command(migrate(), A)
    assert rig.works(node=B)


def test_a_part_that_was_altered_or_moved_is_refused(rig: Rig) -> None:
    rig.command(prepare(), B)
    box = StreamCipher(SECRET, STREAM.nonce_base).seal_part(
        0, b"memory", part_aad(VM, "m-1", 0, last=True)
    )
    flipped = bytes([box[0] ^ 1]) + box[1:]
    bus = rig.host(A).ports.bus
    for data, last in ((flipped, True), (box, False)):
        part = SendMemory(vm=VM, migration="m-1", number=0, data=data, last=last)
        refused = rig.refusal(bus.request(B, part, within_s=5))
        assert isinstance(refused, CryptographicFailure)
    assert rig.works()


def test_a_switch_over_without_an_offer_starts_nothing(rig: Rig) -> None:
    """The source's lock is in the way, and without it the configuration: nobody gave the VM up."""
    rig.command(prepare(), B)
    host = rig.host(A)
    guest = host.vms[VM].guest
    assert guest is not None
    cipher, memory = StreamCipher(SECRET, STREAM.nonce_base), pack_memory(guest.freeze())
    for number, part, last in parts(memory):
        box = cipher.seal_part(number, part, part_aad(VM, "m-1", number, last=last))
        sent = SendMemory(vm=VM, migration="m-1", number=number, data=box, last=last)
        rig.run(host.ports.bus.request(B, sent, within_s=5))
    switch = SwitchOver(vm=VM, migration="m-1")
    held = rig.refusal(host.ports.bus.request(B, switch, within_s=5))
    assert isinstance(held, DatastoreFault)
    rig.command(HostPowerOffVm(vm=VM), A)
    refused = rig.refusal(host.ports.bus.request(B, switch, within_s=5))
    assert isinstance(refused, InvalidState)
    assert not running(rig)


def test_a_power_on_makes_an_old_offer_void(rig: Rig) -> None:
    """What was frozen before the VM was started anew never goes on."""
    rig.command(HostPowerOffVm(vm=VM), A)
    host = rig.host(A)
    config = rig.run(read_config(host.datastore, VM))
    offered = msgspec.structs.replace(config, offer=MigrationOffer("m-0", B))
    rig.run(write_config(host.datastore, offered))
    rig.command(HostPowerOnVm(vm=VM), A)
    assert rig.run(read_config(host.datastore, VM)).offer is None


# ---- what nobody heard of -----------------------------------------------------------------------


def test_a_target_that_is_away_leaves_the_guest_here(rig: Rig) -> None:
    rig.command(prepare(), B)
    rig.cut((A, B))
    rig.refused_command(migrate(), A)
    assert rig.works() and running(rig) == [A]
    rig.heal()
    ended = rig.command(HostEndMigration(vm=VM, migration="m-1"), B)
    assert ended.summary is None and not rig.summary(B).vms


def test_a_vm_that_does_not_come_is_not_waited_for_for_ever(rig: Rig) -> None:
    rig.command(prepare(), B)
    assert rig.summary(B).vms
    rig.sleep(200)
    assert not rig.summary(B).vms and rig.kinds("vm.migration_given_up", B)
    assert rig.works()


@pytest.mark.parametrize("lost", ["question", "answer"])
def test_a_switch_over_nobody_heard_of_has_one_outcome(rig: Rig, lost: str) -> None:
    """The lock and the offer say which: the guest goes on here, or it does there."""
    before = run_of(rig, A)
    rig.command(prepare(), B)
    inside = rig.host(B).datastore
    cut = (A, B)

    async def lock(vm: str) -> None:
        await type(inside).lock(inside, vm)
        rig.cut(cut)

    async def unlock(vm: str) -> None:
        rig.cut(cut)
        await type(inside).unlock(rig.host(A).datastore, vm)

    if lost == "answer":
        inside.lock = lock  # type: ignore[method-assign]
        rig.command(migrate(), A)
        assert running(rig) == [B] and not rig.summary(A).vms
    else:
        rig.host(A).datastore.unlock = unlock  # type: ignore[method-assign]
        assert isinstance(rig.refused_command(migrate(), A), InvalidState)
        assert running(rig) == [A]
    rig.heal()
    where = running(rig)[0]
    assert rig.works(node=where) and run_of(rig, where) == before


def test_a_source_that_goes_on_takes_its_offer_back(rig: Rig) -> None:
    """A target that hears of the switch-over too late finds none, though the VM is off by then."""
    rig.command(prepare(), B)

    async def unlock(vm: str) -> None:
        rig.cut((A, B))
        await type(rig.host(B).datastore).unlock(rig.host(A).datastore, vm)

    source = rig.host(A)
    source.datastore.unlock = unlock  # type: ignore[method-assign]
    assert isinstance(rig.refused_command(migrate(), A), InvalidState)
    del source.datastore.unlock
    assert rig.run(read_config(source.datastore, VM)).offer is None
    rig.heal()
    rig.command(HostPowerOffVm(vm=VM), A)
    late = source.ports.bus.request(B, SwitchOver(vm=VM, migration="m-1"), within_s=5)
    assert isinstance(rig.refusal(late), InvalidState) and not running(rig)


def test_a_vm_that_came_under_another_key_meanwhile_goes_on_at_its_source(rig: Rig) -> None:
    """The target opened the configuration of before: with those keys the guest reads nothing."""
    rig.command(prepare(), B)
    rig.add_keys(key("kek-2"))
    old = rig.vm(node=A).keys
    rig.command(
        HostRecryptVm(vm=VM, old=old, provider=key("kek-2").provider_id, key=key("kek-2")), A
    )
    refused = rig.refused_command(migrate(), A)
    assert isinstance(refused, InvalidState) and "was changed since" in str(refused)
    assert running(rig) == [A] and rig.works()


def test_a_target_that_has_the_lock_and_not_yet_the_vm_is_waited_for(rig: Rig) -> None:
    """The lock alone does not say that the guest goes on there: the offer does, once it is gone."""
    rig.sleep(5)  # both hosts have looked through their VMs' disks
    before = run_of(rig, A)
    rig.command(prepare(), B)
    inside = rig.host(B).datastore

    async def lock(vm: str) -> None:
        await type(inside).lock(inside, vm)
        rig.cut((A, B))

    async def read(vm: str, file: str) -> bytes:
        await rig.host(B).clock.sleep(2 * rig.host(A).node.knobs.request_timeout_s)
        raise OSError(5, "Input/output error")

    inside.lock = lock  # type: ignore[method-assign]
    inside.read = read  # type: ignore[method-assign]
    assert isinstance(rig.refused_command(migrate(), A), InvalidState)
    assert running(rig) == [A]
    rig.heal()
    assert rig.works() and run_of(rig, A) == before


def test_a_target_that_took_it_and_fell_leaves_it_startable(rig: Rig) -> None:
    """The guest has gone on since: what stands still at the source is of the past."""
    rig.command(prepare(), B)
    inside = rig.host(B).datastore

    async def write(vm: str, file: str, data: bytes) -> None:
        rig.cut((A, B))
        await type(inside).write(inside, vm, file, data)

    inside.write = write  # type: ignore[method-assign]
    outcomes: list[object] = [None]
    rig.accept((migrate(),), outcomes, A)
    rig.sleep(2)
    assert rig.host(B).vms[VM].guest is not None
    rig.agent.machine(B).end_life_now(WayDown.CRASH)
    rig.sleep(20)
    assert running(rig) == []
    rig.command(HostPowerOnVm(vm=VM), A)
    assert rig.works()


# ---- who falls ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("way", ["crash", "power_loss"])
@pytest.mark.parametrize("fallen", [A, B])
def test_a_fall_at_any_step_leaves_it_on_one_host_or_startable(way: str, fallen: NodeName) -> None:
    """Before each storage call of the migration one of the two falls; the VM is never on both,
    and runs on one, or is started by whoever is asked next."""
    for nth in range(1, 40):
        rig = pair(seed=nth)
        twice: list[list[NodeName]] = []
        fall = Fall(rig, nth, WayDown(way), fallen, twice)
        try:
            rig.command(prepare(), B)
            rig.command(migrate(), A)
        except ProductError:
            assert fall.happened
        assert not twice
        if not fall.happened:
            rig.close()
            assert nth > 6
            return
        rig.sleep(60)  # the other one notices, and gives up what it waits for
        rig.power_on(fallen)
        rig.connect(fallen)
        rig.add_keys(key("kek-1"), node=fallen)
        rig.sleep(30)  # autostart, and what is waited for in vain
        assert len(running(rig)) <= 1
        if not running(rig):
            host = next(node for node in (A, B) if VM in rig.host(node).vms)
            rig.make_safe(host)
            rig.command(HostPowerOnVm(vm=VM), host)
        (where,) = running(rig)
        assert rig.works(node=where)
        rig.close()
    raise AssertionError("the migration has more storage calls than that")


class Fall:
    """Before the n-th storage call of either host, the one falls; before each, both are looked at:
    ``twice`` gets what was found of a VM that runs on both."""

    def __init__(
        self, rig: Rig, nth: int, way: WayDown, of: NodeName, twice: list[list[NodeName]]
    ) -> None:
        self.happened, self._left = False, nth
        self._rig, self._way, self._of, self._twice = rig, way, of, twice
        for kept in (rig.store(A), rig.store(B), rig.array):
            kept.charge = self._charged(kept.charge)

    def _charged(self, charge: Charge) -> Charge:
        async def fallible(label: str) -> None:
            found = running(self._rig)
            if len(found) > 1:
                self._twice.append(found)
            self._left -= 1
            if self._left == 0:
                self.happened = True
                self._rig.agent.machine(self._of).end_life_now(self._way)
            await charge(label)

        return fallible


def test_vcenter_is_not_needed_any_more_once_the_source_has_begun(rig: Rig) -> None:
    rig.command(prepare(), B)
    outcomes: list[object] = [None]
    rig.accept((migrate(),), outcomes, A)

    async def soon() -> None:
        await asyncio.sleep(0)

    rig.run(soon())
    rig.power_off(VCENTER, "crash")
    rig.sleep(10)
    assert running(rig) == [B]
