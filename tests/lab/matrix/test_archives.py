"""A host's archive opened from outside: what it holds is not what the host says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.client import Lab, Owned
from lab.forensics.forensics import archive_of, open_archive, recovery_key_of
from protocol.errors import CryptographicFailure
from protocol.messages.host.crypto import GetCryptoKeyStatus, RemoveKeys
from protocol.messages.host.session import Esxcli
from protocol.messages.vcenter.vms import ListVms
from protocol.terms import CryptoKeyId, NodeName, ProtectionMode
from services.esxi.configuration.archive import FILE
from services.runtime.tpm.backends import missing_for_libtpms
from tests.chaos.worlds import World

HOST = NodeName("esxi-001")
ROTATE = ("system", "settings", "encryption", "recovery", "rotate")


def world_of(**changes: Any) -> Iterator[World]:
    made = World(hosts=2, vms=2, **changes)
    yield made
    made.close()


@pytest.fixture
def world() -> Iterator[World]:
    yield from world_of(key_persistence=True)


@pytest.fixture
def keeps() -> Iterator[World]:
    """The store does not follow the cache: what leaves one stays in the other."""
    yield from world_of(key_persistence=True, knobs={"store_follows_cache": False})


@pytest.fixture
def bare() -> Iterator[World]:
    yield from world_of(tpm="none")


def keys_of(world: World) -> tuple[CryptoKeyId, ...]:
    world.run(world.lab.sleep(10))
    vms = world.run(world.lab.ask(world.lab.vcenter, ListVms())).vms
    return tuple(vm.key for vm in vms if vm.key is not None)


@pytest.mark.sim
def test_a_key_that_was_removed_at_the_host_is_not_in_its_archive(world: World) -> None:
    keys = keys_of(world)
    before = world.run(archive_of(world.lab, HOST))
    assert before.persistence and before.mode is ProtectionMode.TPM
    assert {*keys, before.host_key} == set(before.stored) and before.vms == ("vm-01",)
    world.run(world.lab.ask(HOST, RemoveKeys(keys=keys[:1])))
    after = world.run(archive_of(world.lab, HOST))
    assert set(before.stored) - set(after.stored) == {keys[0]}


@pytest.mark.sim
def test_a_store_that_keeps_it_is_seen(keeps: World) -> None:
    """The reader tells what the host's own answer about its cache does not."""
    keys = keys_of(keeps)
    keeps.run(keeps.lab.ask(HOST, RemoveKeys(keys=keys)))
    status = keeps.run(keeps.lab.ask(HOST, GetCryptoKeyStatus(keys=keys))).keys
    assert not any(key.present for key in status)
    assert set(keys) < set(keeps.run(archive_of(keeps.lab, HOST)).stored)


@pytest.mark.sim
def test_without_a_tpm_what_lies_beside_it_opens_it(bare: World) -> None:
    keys_of(bare)
    found = bare.run(archive_of(bare.lab, HOST))
    assert (found.mode, found.stored, found.vms) == (ProtectionMode.NONE, (), ("vm-01",))


@pytest.mark.sim
def test_only_the_recovery_key_in_force_opens_a_sealed_one(world: World) -> None:
    key = world.run(recovery_key_of(world.lab, HOST))
    data = world.run(world.lab.disk_file(HOST, FILE))
    assert open_archive(data, key).host_key is not None
    wrong = "1" + key[1:] if key[0] != "1" else "2" + key[1:]
    for given in ("", "no digits", wrong):
        with pytest.raises(CryptographicFailure):
            open_archive(data, given)
    with pytest.raises(CryptographicFailure):
        open_archive(data[:100] + bytes([data[100] ^ 1]) + data[101:], key)
    world.run(world.lab.ask(HOST, Esxcli(arguments=ROTATE)))
    with pytest.raises(CryptographicFailure):
        world.run(archive_of(world.lab, HOST, key))


@pytest.mark.sim
def test_a_host_that_is_off_is_opened_with_the_key_that_was_read_before(world: World) -> None:
    key = world.run(recovery_key_of(world.lab, HOST))
    there = world.run(archive_of(world.lab, HOST))
    world.run(world.lab.power_off(HOST, "power_loss"))
    assert world.run(archive_of(world.lab, HOST, key)) == there


@pytest.mark.lab
@pytest.mark.skipif(bool(missing_for_libtpms()), reason="no real TPM")
async def test_on_real_processes_too(tmp_path: Path) -> None:
    async with Lab("lab", seed=3, hosts=1, vms=1, key_persistence=True, tpm="libtpms") as made:
        assert isinstance(made.way, Owned)
        lab = made.way.lab
        found = await archive_of(lab, HOST)
        key = (await lab.ask(lab.vcenter, ListVms())).vms[0].key
        assert key is not None and key in found.stored and found.mode is ProtectionMode.TPM
        await lab.ask(HOST, RemoveKeys(keys=(key,)))
        assert key not in (await archive_of(lab, HOST)).stored
