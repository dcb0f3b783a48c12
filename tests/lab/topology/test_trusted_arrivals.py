"""Hosts of a trusted cluster that come later: several at once, and one that does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lab.building.trust import TrustedArrivals
from lab.client import Lab
from lab.schema.commands import (
    FaultInject,
    GetHosts,
    GetHostView,
    GetTrustAuthority,
    GetTrustedHosts,
    Heal,
    HostAdd,
    HostPowerLoss,
    LinkCut,
)
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from protocol.errors import ProductError
from protocol.messages.vcenter.trust import SetTrustedState
from protocol.terms import ClusterName, HostCryptoState, NodeName, PowerState, ProviderHealth
from protocol.trust import TrustItem

pytestmark = pytest.mark.sim
LATER = ["esxi-002", "esxi-003", "esxi-004"]


async def arrive(lab: Any, hosts: list[str]) -> dict[str, str]:
    """All of them at once: why each is not trusted; and how many changes that were."""
    asked, ask = list[str](), lab.ask

    async def heard(node: NodeName, message: Any, **more: Any) -> Any:
        asked.append(type(message).__name__)
        return await ask(node, message, **more)

    lab.ask = heard
    arrivals = TrustedArrivals(lab, lab.topology.trust)

    async def one(host: str) -> str:
        try:
            await arrivals.trust(NodeName(host))
        except (KeysteadError, ProductError) as error:
            return str(error)
        return ""

    try:
        outcomes = await asyncio.gather(*map(one, hosts))
    finally:
        lab.ask = ask
    remediations = asked.count("RemediateTrustedCluster")
    return dict(zip(hosts, outcomes, strict=True)) | {"remediations": str(remediations)}


async def not_yet_trusted(lab: Any) -> None:
    """As the cluster of a pool is before its first host has come."""
    off = SetTrustedState(cluster=ClusterName("cluster-a"), trusted=False)
    await lab.ask(lab.topology.trust.workload, off)


async def healths(lab: Lab) -> dict[str, ProviderHealth]:
    return {str(host.host): host.health for host in (await lab.do(GetTrustedHosts())).items}


async def test_hosts_that_come_together_are_trusted_together() -> None:
    async with Lab(topology="trusted", hosts=1, vms=0, tpm="model", seed=7) as lab:
        for _ in LATER:
            await lab.do(HostAdd())
        told = await lab.beside(arrive, LATER)
        # One went ahead; those that waited for it are one change.
        assert told == dict.fromkeys(LATER, "") | {"remediations": "2"}
        assert set((await healths(lab)).values()) == {ProviderHealth.OK}
        items = (await lab.do(GetTrustAuthority())).items
        keys = [item.name for item in items if item.kind == TrustItem.ENDORSEMENT_KEY]
        images = [item.name for item in items if item.kind == TrustItem.BASE_IMAGE]
        assert keys == ["esxi-001", *LATER] and len(images) == 1
        again = await lab.beside(arrive, LATER)
        assert again == told, "repeating it converges"


@pytest.mark.slow
async def test_one_that_is_away_keeps_nobody_waiting_and_comes_later() -> None:
    async with Lab(topology="trusted", hosts=1, vms=0, tpm="model", seed=7) as lab:
        for _ in LATER:
            await lab.do(HostAdd())
        cut = (await lab.do(LinkCut("vcenter", "esxi-003"))).fault.id
        await lab.sleep(120)
        told = await lab.beside(arrive, LATER)
        assert (told["esxi-002"], told["esxi-004"]) == ("", "")
        assert "esxi-003 is not trusted yet: " in told["esxi-003"]
        await lab.do(Heal((cut,), False))
        await lab.sleep(120)
        assert (await lab.beside(arrive, ["esxi-003"]))["esxi-003"] == ""
        assert set((await healths(lab)).values()) == {ProviderHealth.OK}


async def test_the_first_host_makes_its_cluster_a_trusted_one() -> None:
    async with Lab(topology="trusted", hosts=1, vms=0, tpm="model", seed=7) as lab:
        await lab.beside(not_yet_trusted)
        assert (await lab.do(GetTrustedHosts())).clusters == ()
        told = await lab.beside(arrive, ["esxi-001"])
        assert told == {"esxi-001": "", "remediations": "0"}
        assert (await lab.do(GetTrustedHosts())).clusters == ("cluster-a",)
        assert await healths(lab) == {"esxi-001": ProviderHealth.OK}


async def test_host_keys_are_the_trusted_providers_where_another_one_is_the_default() -> None:
    """A host that came back waited for vCenter, which alone could bring it its host key."""
    file = load("trusted").model_dump(mode="json")
    file["providers"][0]["default"] = False
    file["providers"].append({"name": "other", "vcenter": "vcenter", "servers": ["kms"]})
    file["providers"][1]["default"] = True
    async with Lab(topology=file, hosts=1, vms=1, tpm="model", seed=7) as lab:
        (host,) = (await lab.do(GetHosts())).items
        await lab.do(FaultInject("vcenter.down", {}))
        await lab.do(HostPowerLoss((host.host,)))
        await lab.sleep(60)
        view = await lab.do(GetHostView(host.host))
        assert view.crypto_state is HostCryptoState.SAFE
        assert [vm.power for vm in view.vms] == [PowerState.ON]
