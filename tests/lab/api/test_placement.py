"""Where vCenter lets encrypted VMs go by itself: never to a host that may not be safe (HA-03)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.terms import HostCryptoState, PowerState
from tests.lab.api.refusals import refused

A, B, C = "esxi-001", "esxi-002", "esxi-003"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """Two encrypted VMs that run on A, and nothing elsewhere."""
    async with Lab(mode="sim", seed=4, hosts=3, vms=2) as made:
        for vm in await made.vms():
            await made.do(c.VmMigrate(str(vm.vm), A))
        yield made


async def test_an_evacuation_passes_over_hosts_that_are_kept_off(lab: Lab) -> None:
    """B is the emptiest by its place in the list, and first pending, then off for good."""
    await lab.do(c.HostDisableCrypto(B))
    for state in (HostCryptoState.PENDING_INCAPABLE, HostCryptoState.INCAPABLE):
        assert (await lab.host(B)).crypto_state is state
        await lab.do(c.HostEnterMaintenance((A,), evacuate=True))
        assert {(vm.host, vm.power) for vm in await lab.vms()} == {(C, PowerState.ON)}
        await lab.do(c.HostExitMaintenance((A,)))
        for vm in await lab.vms():
            await lab.do(c.VmMigrate(str(vm.vm), A))
        await lab.reboot(B)
        await lab.sleep(30)
    assert (await lab.host(B)).crypto_state is HostCryptoState.INCAPABLE, "nobody turned it on"


async def test_with_no_host_to_go_to_they_stay_and_run(lab: Lab) -> None:
    for host in (B, C):
        await lab.do(c.HostDisableCrypto(host))
    error = await refused(lab, c.HostEnterMaintenance((A,), evacuate=True))
    assert "no connected host of cluster cluster-a takes encrypted VMs" in str(error)
    assert {(vm.host, vm.power) for vm in await lab.vms()} == {(A, PowerState.ON)}


async def test_new_encrypted_vms_are_made_where_they_can_be(lab: Lab) -> None:
    await lab.do(c.HostDisableCrypto(B))
    assert (await lab.do(c.VmCreate("secret", encrypted=True))).host == C
    assert (await lab.do(c.VmClone("secret", "copy"))).host == C
    assert (await lab.do(c.VmCreate("clear"))).host == B
    assert "until it reboots" in str(
        await refused(lab, c.VmCreate("named", host=B, encrypted=True))
    )
    await lab.reboot(B)
    await lab.do(c.HostEnableCrypto(B))
    assert (await lab.do(c.VmCreate("later", encrypted=True))).host == B
