"""Encrypting: five requests and five replies, keys everywhere, and repeats after crashes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import pytest

from protocol.errors import (
    Busy,
    DatastoreFault,
    Disconnected,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    KeyProviderUnreachable,
    NotFound,
    TimedOut,
)
from protocol.events import EventTypeId
from protocol.messages.agent import PowerOff
from protocol.messages.base import Event, Request
from protocol.messages.host.crypto import AddKeys
from protocol.messages.vcenter.providers import GenerateKey
from protocol.messages.vcenter.vms import CreateVm, EncryptVm, PowerOnVm
from protocol.terms import (
    HostCryptoState,
    NodeName,
    ProviderId,
    Role,
    VmName,
)
from services.runtime.ports import Bus, Database, Disk, Ports
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, C, Rig

R = TypeVar("R")
T = TypeVar("T")
VM2 = VmName("vm-02")


def test_an_operation_that_failed_is_not_done_by_another_one(rig: Rig) -> None:
    """The VM was encrypted since, with another key: the first operation's is not in use."""
    rig.up(A)
    rig.vm(encrypted=False)
    rig.hosts[A].errors["ReconfigureVm"] = DatastoreFault("no space")
    rig.refused(EncryptVm(operation_id="first", vm=VM))
    rig.hosts[A].errors.clear()
    rig.do(EncryptVm(operation_id="second", vm=VM))
    assert isinstance(rig.refused(EncryptVm(operation_id="first", vm=VM)), InvalidState)


def test_five_requests_and_five_replies(rig: Rig) -> None:
    rig.up(A)
    rig.vm()  # the first one also makes the host safe
    rig.vm(VM2, encrypted=False)
    rig.sleep(1)
    before, answered = len(rig.sent), len(rig.replies)
    done = rig.do(EncryptVm(operation_id="op", vm=VM2))
    # The client's own request and reply pass the node's door and make one more of each.
    assert rig.requests(before) == [
        (VCENTER, A, "QueryHost"),
        (VCENTER, KMS, "CreateKey"),
        (VCENTER, A, "AddKeys"),
        (VCENTER, A, "ReconfigureVm"),
    ]
    replies = [(A, VCENTER), (KMS, VCENTER), (A, VCENTER), (A, VCENTER)]
    assert rig.replies[answered:] == replies
    assert rig.hosts[A].vms[VM2].keys == (done.key,)
    assert done.vm.key == done.key


def test_the_other_hosts_get_the_key_without_being_waited_for(rig: Rig) -> None:
    rig.up(A, B, C)
    rig.vm()
    rig.cut((VCENTER, C))
    before = rig.loop.time()
    rig.vm(VM2, encrypted=False)
    key = rig.do(EncryptVm(operation_id="op", vm=VM2)).key
    assert rig.loop.time() - before < 1, "nobody waits for a host that is cut off"
    rig.sleep(2)
    assert key in rig.hosts[B].cache
    assert key not in rig.hosts[C].cache
    rig.heal()
    rig.sleep(60)
    assert key in rig.hosts[C].cache


def test_keys_made_together_reach_every_other_host_together(rig: Rig) -> None:
    """A message for each key and host would grow with the square of a cluster."""
    rig.up(A, B, C)
    rig.vm()
    names = [VmName(f"vm-{number:02}") for number in range(2, 22)]
    for name in names:
        rig.vm(name, encrypted=False)

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(rig.ask(EncryptVm(operation_id=f"encrypt {name}", vm=name)))

    rig.sleep(5)
    before = len(rig.sent)
    rig.run(all_of_them())
    rig.sleep(3)
    sent = [host for _, host, name in rig.requests(before) if name == AddKeys.__name__]
    assert sent.count(A) == len(names), "the host in charge has each before its VM is encrypted"
    assert 1 <= sent.count(B) <= 3 and 1 <= sent.count(C) <= 3
    keys = {rig.key_of(name) for name in names}
    assert keys <= set(rig.hosts[B].cache) and keys <= set(rig.hosts[C].cache)
    rig.healthy()


def test_a_silent_host_does_not_keep_new_keys_from_the_others() -> None:
    rig = Rig(config={"shares_at_once": 1}, key_gather_s=5)
    rig.up(A, B, C)
    rig.vm()
    rig.vm(VM2, encrypted=False)
    rig.sleep(10)  # B and C are safe
    rig.cut((VCENTER, B))
    key = rig.do(EncryptVm(operation_id="op", vm=VM2)).key
    rig.sleep(4)
    assert key not in rig.hosts[C].cache, "it is gathered"
    rig.sleep(4)
    assert key in rig.hosts[C].cache and key not in rig.hosts[B].cache
    rig.sleep(60)
    rig.heal()
    rig.sleep(60)
    assert key in rig.hosts[B].cache
    rig.healthy()
    rig.close()


def test_a_host_that_was_too_busy_for_a_shared_key_gets_it_at_its_next_heartbeat(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    rig.sleep(30)
    rig.hosts[B].errors[AddKeys.__name__] = Busy()
    rig.vm(VM2)
    rig.hosts[B].errors.clear()
    assert rig.key_of(VM2) not in rig.hosts[B].cache
    rig.sleep(25)
    assert rig.key_of(VM2) in rig.hosts[B].cache


def test_first_encryption_makes_all_hosts_of_the_cluster_safe(rig: Rig) -> None:
    rig.up(A, B)
    assert {h.crypto_state for h in rig.hosts.values()} == {HostCryptoState.INCAPABLE}
    rig.vm()
    rig.vm(VM2)
    rig.sleep(5)
    keys = {rig.key_of(VM), rig.key_of(VM2)}
    for record in rig.hosts.values():
        assert record.crypto_state is HostCryptoState.SAFE
        assert keys < set(record.cache)
    assert rig.hosts[A].host_key == rig.hosts[B].host_key  # C2: one per cluster
    enabled = [e.host for e in rig.events() if e.event is EventTypeId.HOST_CRYPTO_ENABLED]
    assert sorted(str(h) for h in enabled) == [A, B]


def test_hosts_that_become_safe_at_once_have_one_key_made_for_them(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm(encrypted=False)
    rig.vm(VM2, B, encrypted=False)

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            for vm in (VM, VM2):
                group.create_task(rig.ask(EncryptVm(operation_id=f"encrypt {vm}", vm=vm)))

    before = len(rig.sent)
    rig.run(both())
    assert rig.hosts[A].host_key == rig.hosts[B].host_key is not None
    assert [name for _, _, name in rig.requests(before)].count("CreateKey") == 3
    assert len([record for record in rig.records if record.kind == "hostkey.created"]) == 1
    rig.healthy()


def test_one_host_key_per_host_by_knob() -> None:
    rig = Rig(host_key_scope="host")
    rig.up(A, B)
    rig.vm()
    rig.sleep(5)
    assert rig.hosts[A].crypto_state is rig.hosts[B].crypto_state is HostCryptoState.SAFE
    assert rig.hosts[A].host_key != rig.hosts[B].host_key
    rig.healthy()
    rig.close()


def test_refusals_leave_nothing_behind(rig: Rig) -> None:
    assert isinstance(rig.refused(EncryptVm(operation_id="1", vm=VM)), NotFound)
    rig.add(KMS, Role.KMS)
    rig.host(A)
    rig.vm(encrypted=False)
    assert isinstance(rig.refused(EncryptVm(operation_id="1", vm=VM)), InvalidState)  # no default
    rig.provider()
    unknown = EncryptVm(operation_id="1", vm=VM, provider=ProviderId("nowhere"))
    assert isinstance(rig.refused(unknown), NotFound)
    rig.do(PowerOnVm(vm=VM))
    assert isinstance(rig.refused(EncryptVm(operation_id="1", vm=VM)), InvalidPowerState)
    assert rig.servers[KMS].keys == {}
    assert rig.vm_info().key is None


def test_no_key_server_no_encryption_and_the_same_request_works_afterwards(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.vm(VM2, encrypted=False)
    rig.cut((VCENTER, KMS))
    mark = rig.mark()
    request = EncryptVm(operation_id="op", vm=VM2)
    assert isinstance(rig.refused(request), KeyProviderUnreachable)
    assert rig.ids(mark) == [EventTypeId.KMS_UNREACHABLE, EventTypeId.KMS_KEY_GENERATE_FAIL]
    assert rig.vm_info(VM2).key is None
    rig.heal()
    key = rig.do(request).key
    assert rig.hosts[A].vms[VM2].keys == (key,)


def test_repeats_are_told_again_and_others_are_refused(rig: Rig) -> None:
    rig.up(A)
    rig.vm(encrypted=False)
    rig.vm(VM2, encrypted=False)
    first = rig.do(EncryptVm(operation_id="op", vm=VM))
    made = len(rig.servers[KMS].keys)
    assert rig.do(EncryptVm(operation_id="op", vm=VM)) == first
    assert isinstance(rig.refused(EncryptVm(operation_id="op-2", vm=VM)), InvalidState)
    assert isinstance(rig.refused(EncryptVm(operation_id="op", vm=VM2)), InvalidArgument)
    assert isinstance(rig.refused(EncryptVm(operation_id="", vm=VM2)), InvalidArgument)
    assert len(rig.servers[KMS].keys) == made
    generated = rig.do(GenerateKey(operation_id="g"))
    assert generated.success and generated == rig.do(GenerateKey(operation_id="g"))
    assert len(rig.servers[KMS].keys) == made + 1


# ---- crashes -----------------------------------------------------------------------------------


class Guillotine:
    """Ends vCenter's life at the n-th point: before or after a call of Bus or Database."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.points, self.at = rig, 0, 0
        self.fell = False

    async def point(self) -> None:
        self.points += 1
        if self.points == self.at:
            self.fell = True
            self.rig.world.spawn(None, "crash", self._crash())
            await asyncio.Event().wait()

    async def _crash(self) -> None:
        await self.rig.agent.power_off(PowerOff(node=VCENTER, way="crash"))

    def around(self, ports: Ports) -> Ports:
        return replace(ports, bus=_Bus(ports.bus, self), disk=cast(Disk, _Disk(ports.disk, self)))


class _Bus:
    def __init__(self, inner: Bus, blade: Guillotine) -> None:
        self._inner, self._blade = inner, blade

    @property
    def me(self) -> NodeName:
        return self._inner.me

    async def request(self, to: NodeName, message: Request[R], *, within_s: float) -> R:
        await self._blade.point()
        reply = await self._inner.request(to, message, within_s=within_s)
        await self._blade.point()
        return reply

    def publish(self, event: Event) -> None:
        self._inner.publish(event)

    def count(self, name: str, by: int = 1) -> None:
        self._inner.count(name, by)


class _Disk:
    def __init__(self, inner: Disk, blade: Guillotine) -> None:
        self._inner, self._blade = inner, blade

    async def read(self, path: str) -> bytes:
        return await self._inner.read(path)

    async def database(
        self, name: str, schema: Sequence[str] = (), *, ledger: bool = False
    ) -> Database:
        return _Database(await self._inner.database(name, schema), self._blade)


class _Database:
    def __init__(self, inner: Database, blade: Guillotine) -> None:
        self._inner, self._blade = inner, blade

    async def transact(
        self, fn: Callable[[sqlite3.Connection], T], applied: Callable[[T], None] | None = None
    ) -> T:
        await self._blade.point()
        result = await self._inner.transact(fn, applied)
        await self._blade.point()
        return result

    async def query(self, fn: Callable[[sqlite3.Connection], T], *, long: bool = False) -> T:
        return await self._inner.query(fn, long=long)


def crash_in_the_middle(at: int, *, first: bool, again: str) -> tuple[int, bool]:
    """Encrypt with a crash at point ``at``; start again, ask as operation ``again``."""
    rig = Rig()
    blade = Guillotine(rig)
    rig.wrap = blade.around
    rig.reboot(VCENTER)
    rig.up(A)
    if not first:
        rig.vm(VM2)
    rig.vm(encrypted=False)
    rig.sleep(2)
    blade.points, blade.at = 0, at

    async def try_it() -> None:
        try:
            await rig.ask(EncryptVm(operation_id="op", vm=VM), within_s=30)
        except (TimedOut, Disconnected):
            pass

    rig.world.spawn(None, "client", try_it())
    rig.sleep(5)
    points = blade.points
    blade.at = 0
    if blade.fell:
        rig.power_on(VCENTER)
        rig.sleep(30)
    if again == "op" or not rig.hosts[A].vms[VM].keys:
        key = rig.do(EncryptVm(operation_id=again, vm=VM)).key
    else:
        assert isinstance(rig.refused(EncryptVm(operation_id=again, vm=VM)), InvalidState)
        key = rig.key_of()
    assert rig.hosts[A].vms[VM].keys == (key,)
    assert rig.key_of() == key
    server = rig.servers[KMS]
    assert key.key_id in server.keys
    if again == "op":
        made = [k for o, k in server.operations.items() if o.endswith("/encrypt/op")]
        assert made == [key.key_id], "one operation, one key"
    assert rig.do(PowerOnVm(vm=VM)).vm.lock_event is None
    rig.healthy()
    rig.close()
    return points, blade.fell


@pytest.mark.slow
@pytest.mark.parametrize("again", ["op", "another"])
@pytest.mark.parametrize("first", [False, True], ids=["warm", "first-of-cluster"])
def test_repeat_after_a_crash_at_each_await(first: bool, again: str) -> None:
    total, fell = crash_in_the_middle(0, first=first, again="op")
    assert not fell
    assert total >= (10 if not first else 16)
    for at in range(1, total + 1):
        _, fell = crash_in_the_middle(at, first=first, again=again)
        assert fell, f"point {at} of {total} was not reached"


def test_a_vm_half_made_by_a_crash_does_not_block_its_name() -> None:
    def play(at: int) -> tuple[int, bool]:
        rig = Rig()
        blade = Guillotine(rig)
        rig.wrap = blade.around
        rig.reboot(VCENTER)
        rig.up(A, B)
        rig.sleep(2)
        blade.points, blade.at = 0, at
        request = CreateVm(operation_id="op", vm=VM, cluster=CLUSTER)

        async def try_it() -> None:
            try:
                await rig.ask(request, within_s=30)
            except (TimedOut, Disconnected):
                pass

        rig.world.spawn(None, "client", try_it())
        rig.sleep(3)
        points, blade.at = blade.points, 0
        if blade.fell:
            rig.power_on(VCENTER)
            rig.sleep(30)
        made = rig.do(request).vm
        assert [host for host, record in rig.hosts.items() if VM in record.vms] == [made.host]
        rig.healthy()
        rig.close()
        return points, blade.fell

    total, _ = play(0)
    assert total >= 6
    for at in range(1, total + 1):
        assert play(at)[1]
