"""Knobs whose values show only in a whole lab."""

from __future__ import annotations

from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import SHIPPED
from protocol.vsan import VsanTransitionState

pytestmark = pytest.mark.sim


def two_clusters(limit: int) -> dict[str, Any]:
    """The lab of the trusted provider with a second cluster, which trusts nobody yet."""
    from chaos.yaml_file import read_yaml

    file = read_yaml((SHIPPED / "trusted.yaml").read_text()).data
    more = {"name": "cluster-b", "hosts": {"count": 1, "secure_boot": True}}
    return {**file, "clusters": [*file["clusters"], more], "knobs": {"max_trusted_clusters": limit}}


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 1])
async def test_how_many_trusted_clusters_there_may_be(limit: int) -> None:
    """C13."""
    async with Lab("sim", topology=two_clusters(limit), seed=7, vms=0, tpm="model") as lab:
        if limit == 0:
            await lab.do(c.TrustCluster("cluster-b"))
            return
        with pytest.raises(KeysteadError, match="at most 1, and there are cluster-a"):
            await lab.do(c.TrustCluster("cluster-b"))
        await lab.do(c.TrustCluster("cluster-a", off=True))
        await lab.do(c.TrustCluster("cluster-b"))  # there is room for another one now


async def test_vsan_is_rekeyed_without_a_host_that_makes_up_for_it() -> None:
    """C25."""
    knobs = {"vsan_rekey_with_absent_host": "leave"}
    async with Lab("sim", topology="vsan", seed=7, vms=0, tpm="model", knobs=knobs) as lab:
        before = (await lab.do(c.VsanDescribe("cluster-a"))).kek
        await lab.do(c.HostPowerOff(("esxi-003",)))
        await lab.sleep(60)
        await lab.do(c.VsanRekey("cluster-a"))
        now = await lab.do(c.VsanDescribe("cluster-a"))
        assert now.kek != before and now.transition_state is VsanTransitionState.SETTLED
        await lab.do(c.HostPowerOn(("esxi-003",)))
        await lab.sleep(400)
        groups = (await lab.do(c.VsanDescribe("cluster-a"))).groups
        assert all(group.mounted for group in groups)
        assert {group.host for group in groups} == {"esxi-001", "esxi-002", "esxi-003"}


async def test_a_provider_that_vsan_uses_is_deleted() -> None:
    """C26: the profile leaves the hosts, which find no KEK at their next boot."""
    knobs = {"vsan_provider_delete": "remove"}
    async with Lab("sim", topology="vsan", seed=7, vms=0, tpm="model", knobs=knobs) as lab:
        await lab.do(c.ProviderDelete("kms-provider"))
        await lab.sleep(30)
        await lab.do(c.HostReboot(("esxi-001",)))
        await lab.sleep(120)
        groups = (await lab.do(c.VsanDescribe("cluster-a"))).groups
        assert {group.host for group in groups if not group.mounted} == {"esxi-001"}
