"""vCenter keeps ids only (A09): no key bytes in its storage, nor in memory after a push."""

from __future__ import annotations

import gc
import sqlite3
import sys
from types import FunctionType, ModuleType
from typing import Any

import pytest

from protocol.messages.vcenter.providers import UnregisterKmsCluster
from protocol.messages.vcenter.vms import EncryptVm
from protocol.secret import KeyMaterial
from protocol.terms import VmName
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import KMS, VM, A, B, P, Rig

VM2 = VmName("vm-02")


def values(rig: Rig) -> list[bytes]:
    return [value for record in rig.servers.values() for value, _ in record.keys.values()]


def at_rest(rig: Rig) -> bytes:
    """Every byte of vCenter's disk."""
    return b"".join(data for _, data in rig.world.stores[VCENTER].images())


def reachable(rig: Rig) -> list[object]:
    """Everything vCenter can reach: its objects, closures, and what its running flows have in
    their local variables. A fence keeps the search from its node, ports, loop and modules,
    behind which lie the peers and this test."""
    service: Any = rig.service
    runner: Any = service.node
    fence = [runner, service.bus, service.clock, service.rng, service.disk, service._ports]
    fence += [service.streams]
    fence += [service.vcenter.inventory._database, rig, rig.world, rig.broker]
    fence += [rig.loop, *(vars(module) for module in list(sys.modules.values()))]
    stop = {id(thing) for thing in fence}
    seen: dict[int, object] = {}
    queue: list[object] = [service, *(task.get_coro() for task in runner._background)]
    while queue:
        thing = queue.pop()
        if id(thing) in seen or id(thing) in stop or isinstance(thing, type | ModuleType):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, FunctionType):  # a closure may hold keys; its globals are a module
            queue.extend(cell.cell_contents for cell in thing.__closure__ or ())
        else:
            queue.extend(gc.get_referents(thing))
    return list(seen.values())


def keys_held(rig: Rig) -> list[str]:
    """What a look into vCenter's memory finds of the key servers' values."""
    secret = values(rig)
    found: list[str] = []
    for thing in reachable(rig):
        if isinstance(thing, KeyMaterial) and thing.reveal() in secret:
            found.append("KeyMaterial")
        elif isinstance(thing, bytes) and any(value in thing for value in secret):
            found.append("bytes")
    return found


def busy_life(rig: Rig) -> None:
    """Everything that moves keys: encryption, push after reboots, faults, cures."""
    rig.up(A, B)
    rig.vm(VM)
    rig.vm(VM2, B)
    rig.reboot(A)
    rig.sleep(30)
    rig.cut((VCENTER, KMS))
    rig.reboot(B)
    rig.sleep(60)
    rig.refused(EncryptVm(operation_id="x", vm=VM))
    rig.heal()
    rig.sleep(330)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.provider(P)
    rig.sleep(30)


@pytest.mark.slow
def test_no_key_bytes_in_storage_or_memory(rig: Rig) -> None:
    busy_life(rig)
    assert len(values(rig)) >= 3
    image = at_rest(rig)
    assert rig.key_of(VM).key_id.encode() in image  # ids are there: the scan reads the right file
    assert not [value for value in values(rig) if value in image or value.hex().encode() in image]
    gc.collect()
    assert keys_held(rig) == []


def test_no_key_bytes_in_records(rig: Rig) -> None:
    busy_life(rig)
    text = repr([record.fields for record in rig.records])
    assert rig.key_of(VM2).key_id in text  # it was locked for a while: ids are there
    for value in values(rig):
        assert value.hex() not in text and repr(value)[2:-1] not in text


def test_a_vcenter_that_keeps_a_key_in_memory_is_caught(rig: Rig) -> None:
    """Planted: a cache of values that one line of ``fetch`` fills."""
    rig.up(A)
    kept: dict[str, Any] = {}
    providers: Any = rig.vcenter.providers
    inner = providers.fetch

    async def fetch(provider: Any, keys: Any, *, fresh: bool) -> Any:
        bundle = await inner(provider, keys, fresh=fresh)
        kept.update({str(key): value for key, value in bundle.values})
        return bundle

    providers.fetch = fetch
    providers.cache = kept
    rig.vm(VM)
    rig.reboot(A)
    rig.sleep(30)
    assert "KeyMaterial" in keys_held(rig)


def test_a_vcenter_that_stores_a_key_is_caught(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    canary = values(rig)[0]
    database: Any = rig.vcenter.inventory
    assert canary not in at_rest(rig)

    def plant(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE kept (value BLOB)")
        connection.execute("INSERT INTO kept VALUES (?)", (canary,))

    rig.run(database._database.transact(plant))
    assert canary in at_rest(rig)
