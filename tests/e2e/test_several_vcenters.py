"""Labs with several vCenters: each has hosts, VMs and providers of its own, and is down alone."""

from __future__ import annotations

from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from protocol.terms import HostCryptoState, PowerState, VmCryptoState
from tests.e2e.modes import needs_tpm

WEST, EAST = "west", "east"
TWO: dict[str, Any] = {
    "apiVersion": "keystead/v1",
    "kind": "Lab",
    "name": "two",
    "vcenters": [{"name": WEST}, {"name": EAST}],
    "kms": [{"name": "kms-w"}, {"name": "kms-e"}],
    "providers": [
        {"name": "keys", "vcenter": WEST, "servers": ["kms-w"]},
        {"name": "keys", "vcenter": EAST, "servers": ["kms-e"]},
    ],
    "clusters": [
        {
            "name": f"cluster-{vcenter}",
            "vcenter": vcenter,
            "hosts": {"count": 1, "tpm": "model"},
            "vms": {"count": 1, "provider": "keys"},
        }
        for vcenter in (WEST, EAST)
    ],
}
MODES = [
    pytest.param({"mode": "sim"}, id="sim", marks=pytest.mark.sim),
    pytest.param({"mode": "lab"}, id="lab", marks=[needs_tpm, pytest.mark.lab, pytest.mark.slow]),
]


@pytest.mark.parametrize("how", MODES)
async def test_each_vcenter_has_what_is_its_own(how: dict[str, Any]) -> None:
    async with Lab(topology=TWO, seed=5, **how) as lab:
        hosts = (await lab.do(c.GetHosts())).items
        assert [(h.host, h.vcenter) for h in hosts] == [("esxi-001", WEST), ("esxi-002", EAST)]
        assert {h.crypto_state for h in hosts} == {HostCryptoState.SAFE}
        vms = (await lab.do(c.GetVms())).items
        assert [(v.vm, v.vcenter) for v in vms] == [("vm-01", WEST), ("vm-02", EAST)]
        providers = (await lab.do(c.GetProviders())).items
        assert [(p.provider, p.vcenter, p.servers) for p in providers] == [
            ("keys", EAST, ("kms-e",)) if v == EAST else ("keys", WEST, ("kms-w",))
            for v in [p.vcenter for p in providers]
        ]
        only = (await lab.do(c.GetVms(), vcenter=EAST)).items
        assert [(v.vm, v.vcenter) for v in only] == [("vm-02", None)]
        await lab.do(c.VmOff(("vm-02",)))
        assert (await lab.do(c.DescribeVm("vm-02"))).vcenter is not None
        events = (await lab.do(c.GetEvents(), vcenter=EAST)).items
        assert {e.vm for e in events if e.vm} == {"vm-02"}
        with pytest.raises(KeysteadError, match="there is no vCenter wst"):
            await lab.do(c.GetVms(), vcenter="wst")


@pytest.mark.parametrize("how", MODES)
async def test_one_that_is_down_is_down_for_its_own_hosts_only(how: dict[str, Any]) -> None:
    async with Lab(topology=TWO, seed=5, **how) as lab:
        await lab.do(c.FaultInject("vcenter.down", {"on": EAST}))
        await lab.do(c.HostReboot(("esxi-001", "esxi-002")))
        for _ in range(60):  # keys are pushed, then the VM starts by itself
            west = (await lab.do(c.GetVms(), vcenter=WEST)).items
            if all(vm.power is PowerState.ON for vm in west):
                break
            await lab.sleep(1)
        assert [(v.power, v.crypto) for v in west] == [(PowerState.ON, VmCryptoState.UNLOCKED)]
        alone = await lab.do(c.GetHostView("esxi-002"))
        assert alone.crypto_state is HostCryptoState.PREPARED and alone.cached_keys == 0
        with pytest.raises(KeysteadError, match="east"):
            await lab.do(c.GetVms())
        await lab.do(c.Heal(all=True))
        await lab.wait_for("vm.running=all")
