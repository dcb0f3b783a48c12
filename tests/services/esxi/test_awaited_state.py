"""What a host knew before it waited, and what has become of it meanwhile.

In each test a port or a peer keeps a flow waiting while another one changes what the first has
looked at.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Any

import msgspec
import pytest

from protocol.errors import InvalidState, NotSent, ProductError
from protocol.messages.host.crypto import CryptoManagerHostDisable, WriteDump
from protocol.messages.host.session import HostEnterMaintenanceMode
from protocol.messages.host.vms import HostEndMigration
from protocol.messages.host.vsan import (
    ApplyVsanEncryption,
    PrepareVsanEncryption,
    QueryVsan,
    QueryVsanEncryptionHealth,
)
from protocol.terms import CryptoKeyId, HostCryptoState, NodeName
from protocol.vsan import VsanEncryption, VsanKeyServer
from services.esxi.config import VsanClaim
from services.esxi.vsan import mounting
from services.esxi.vsan.disk_groups import UnsyncedObjects
from services.runtime.sim.datastore import SimDatastore
from services.runtime.sim.disk import SimDisk
from tests.services.esxi.rig import PROVIDER, VM, A, B, Rig, key
from tests.services.esxi.test_migration import migrate, pair, prepare
from tests.services.esxi.test_vtpm import running as running_with_vtpm

KMS = VsanKeyServer(name="kms-1", node=NodeName("kms-1"))


def encryption(kek: CryptoKeyId, host_key: CryptoKeyId) -> VsanEncryption:
    return VsanEncryption(
        encryption_enabled=True,
        kms_provider_id=PROVIDER,
        kek_id=kek,
        host_key_id=host_key,
        dek_generation_id=1,
    )


OLD = encryption(key("kek-1"), key("host-1"))
NEW = encryption(key("kek-2"), key("host-2"))
NEXT = msgspec.structs.replace(NEW, dek_generation_id=2)


def vsan_host(rig: Rig) -> None:
    """A safe host whose two disks are encrypted; it has the keys of both configurations."""
    rig.up(vsan=VsanClaim())
    rig.make_safe()
    rig.add_keys(*(k for one in (OLD, NEW) for k in (one.kek_id, one.host_key_id) if k))
    rig.command(ApplyVsanEncryption(encryption=OLD))


def slow(monkeypatch: pytest.MonkeyPatch, rig: Rig, part: str, seconds: float = 1.0) -> None:
    """Each write of that file on a host's disk takes so long."""
    real = SimDisk.write

    async def slowly(self: SimDisk, path: str, *rest: Any, **more: Any) -> Any:
        if part in path:
            await rig.host().clock.sleep(seconds)
        return await real(self, path, *rest, **more)

    monkeypatch.setattr(SimDisk, "write", slowly)


def test_what_is_prepared_while_another_configuration_is_applied_stays_prepared(rig: Rig) -> None:
    """Applying ends with a new host key, whose save lets the next command about keys begin; the
    next one about vSAN waits."""
    vsan_host(rig)
    applied, prepared = rig.accepted(
        [ApplyVsanEncryption(encryption=NEW), PrepareVsanEncryption(encryption=NEXT)]
    )
    assert not isinstance(applied, ProductError) and not isinstance(prepared, ProductError)
    state = rig.console(QueryVsan())
    assert (state.encryption, state.preparing) == (NEW, True)


def test_a_host_that_is_disabled_while_vsan_changes_its_key_stays_disabled(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new host key has to take a dump along, which takes a while."""
    vsan_host(rig)
    rig.console(WriteDump(dump="d1", marker=b"m"))
    slow(monkeypatch, rig, "d1.zdump")
    outcomes: list[Any] = [None]
    rig.accept([ApplyVsanEncryption(encryption=NEW)], outcomes)
    rig.sleep(0.5)
    rig.command(CryptoManagerHostDisable())
    rig.sleep(5)
    assert outcomes != [None]
    assert rig.summary().crypto_state is HostCryptoState.PENDING_INCAPABLE


def test_health_compares_disks_with_the_configuration_of_the_same_moment(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key server is slow to answer, and another configuration is applied meanwhile."""
    vsan_host(rig)
    rig.command(ApplyVsanEncryption(encryption=_asking(OLD)))

    async def look(host: Any, profile: Any, server: Any) -> None:
        await host.clock.sleep(5)
        raise NotSent("no answer")

    monkeypatch.setattr(mounting, "check_server", look)
    outcomes: list[Any] = [None]
    rig.accept([QueryVsanEncryptionHealth()], outcomes)
    rig.sleep(1)
    rig.command(ApplyVsanEncryption(encryption=_asking(NEW)))
    rig.sleep(6)
    (found,) = outcomes
    assert (found.encryption, found.issues) == (_asking(NEW), ())


def _asking(one: VsanEncryption) -> VsanEncryption:
    return msgspec.structs.replace(one, servers=(KMS,))


def test_an_object_that_fell_behind_again_while_it_was_looked_at_is_looked_at_again() -> None:
    behind = UnsyncedObjects()
    behind.note(["a", "b"])
    seen = asyncio.run(behind.wait())
    behind.note(["a"])
    for name, note in seen.items():
        behind.mark_settled(name, note)
    assert list(asyncio.run(behind.wait())) == ["a"]


# ---- migration -----------------------------------------------------------------------------------


def test_no_guest_comes_to_a_host_that_has_entered_maintenance_mode_meanwhile() -> None:
    rig = pair()
    rig.command(prepare(), B)
    rig.command(HostEnterMaintenanceMode(), B)
    refused = rig.refused_command(migrate(), A)
    assert isinstance(refused, InvalidState)
    assert rig.works(node=A) and rig.host(B).vms[VM].guest is None
    rig.close()


def test_a_vm_that_was_registered_for_a_migration_alone_leaves_with_the_next_one() -> None:
    """The end of the first one was lost; the second one found its registration."""
    rig = pair()
    rig.command(prepare("m-1"), B)
    rig.command(prepare("m-2"), B)
    rig.command(HostEndMigration(vm=VM, migration="m-2"), B)
    assert VM not in rig.host(B).vms and rig.works(node=A)
    rig.close()


def test_a_host_outlives_a_datastore_that_refuses_while_it_gives_a_migration_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = pair()
    rig.command(prepare(), B)
    real = SimDatastore.holders

    async def broken(self: SimDatastore, vms: list[str]) -> dict[str, NodeName]:
        if vms == [VM]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return await real(self, vms)

    monkeypatch.setattr(SimDatastore, "holders", broken)
    rig.sleep(600.0)
    assert rig.kinds("vm.migration_given_up", B)
    assert rig.status(B).state.value == "running" and rig.status(B).boot == 1
    monkeypatch.setattr(SimDatastore, "holders", real)
    rig.close()


def test_a_host_outlives_a_full_datastore_on_which_a_virtual_tpm_works(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.up(knobs={"workload_period_s": 5.0})
    running_with_vtpm(rig)
    real = SimDatastore.write

    async def full(self: SimDatastore, vm: str, file: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SimDatastore, "write", full)
    rig.sleep(30.0)
    monkeypatch.setattr(SimDatastore, "write", real)
    assert rig.status().state.value == "running" and rig.status().boot == 1
    assert rig.kinds("vm.work_failed") and rig.vm().power.value == "poweredOn"
