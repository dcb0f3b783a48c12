"""A KEK for each disk group (C3), hosts that a rekey has left out (C25), and key status."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lab.schema import commands as c
from lab.schema.answers import Vsan
from lab.simulation.sim_lab import SimLab
from protocol.messages.vcenter.vsan import RekeyEncryptedCluster, VsanHost
from protocol.vsan import ComponentState, VsanTransitionState
from tests.e2e import test_vsan_kills as kills
from tests.e2e.test_vsan import (
    CLUSTER,
    HOSTS,
    A,
    B,
    C,
    lab_file,
    mark,
    now,
    refused,
    restart,
    unmounted,
    vsan,
    works,
)

lab = kills.lab
pytestmark = pytest.mark.sim
PER_GROUP = {"vsan_kek_scope": "diskGroup"}
LEAVE = {"vsan_rekey_with_absent_host": "leave"}


def keks(found: Vsan) -> dict[tuple[str, str], set[str]]:
    """The KEKs that the labels of each disk group name."""
    return {(str(g.host), g.group): {str(d.key) for d in g.disks} for g in found.groups}


def one_each(found: Vsan) -> bool:
    """Whether each disk group has one KEK, and no two have the same."""
    of = list(keks(found).values())
    return all(len(each) == 1 for each in of) and len(set().union(*of)) == len(of)


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["kms-provider", "nkp"])
async def test_each_disk_group_has_a_key_of_its_own_from_rekey_to_rekey(provider: str) -> None:
    """C3: a shallow and a deep rekey make new ones, and a host mounts with its own."""
    file = lab_file(groups=2, provider=provider)
    async with vsan(topology=file, knobs=PER_GROUP) as lab:
        replicas = await mark(lab)
        seen = [await now(lab)]
        seen.append(await lab.do(c.VsanRekey(CLUSTER)))
        seen.append(await lab.do(c.VsanRekey(CLUSTER, deep=True)))
        assert all(found.kek is None and one_each(found) for found in seen)
        every = [kek for found in seen for of in keks(found).values() for kek in of]
        assert len(set(every)) == 3 * 2 * len(HOSTS)
        await restart(lab, *HOSTS)
        assert unmounted(await now(lab)) == []
        for host in replicas:
            assert await works(lab, host)
        assert (await lab.do(c.VsanHealth(CLUSTER))).health.value == "green"


async def test_a_host_is_told_of_the_keys_of_its_own_groups_alone() -> None:
    """C3: what one host can get at does not open the disks of another."""
    async with vsan(topology=lab_file(groups=2), knobs=PER_GROUP) as lab:
        audit = (await lab.do(c.GetAudit("kms"))).items
        got = {(row.who, row.key_id) for row in audit if row.operation == "Get"}
        for (host, _), (kek,) in keks(await now(lab)).items():
            assert {who for who, key in got if kek.endswith(str(key))} == {host}


async def test_a_group_that_is_made_anew_has_a_key_of_its_own() -> None:
    async with vsan(topology=lab_file(groups=2, objects=0), knobs=PER_GROUP) as lab:
        old = keks(await now(lab))[A, "group-2"]
        for disk in ("disk-1", "disk-2"):
            await lab.do(c.VsanDiskRemove(A, "group-2", disk))
        await lab.do(c.VsanRekey(CLUSTER))
        found = await lab.do(c.VsanDiskAdd(A, "group-2", "disk-1"))
        assert one_each(found) and keks(found)[A, "group-2"] != old


async def test_the_next_rekey_follows_the_knob() -> None:
    """C3: one key for all becomes one for each, without a disk that is lost between."""
    async with vsan(topology=lab_file(groups=2), knobs=PER_GROUP) as lab:
        await mark(lab)
        assert (await lab.do(c.VsanEnable(CLUSTER, "second"))).kek is None
        assert one_each(await now(lab))
        off = await lab.do(c.VsanDisable(CLUSTER))
        assert not any(d.encrypted for g in off.groups for d in g.disks)


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [LEAVE, {**LEAVE, **PER_GROUP}], ids=["cluster", "diskGroup"])
@pytest.mark.parametrize("groups", [1, 2])
async def test_a_host_that_a_rekey_has_left_out_makes_up_for_it(
    groups: int, knobs: dict[str, Any]
) -> None:
    """C25."""
    async with vsan(topology=lab_file(groups=groups), knobs=knobs) as lab:
        replicas = await mark(lab)
        away, old = replicas[0], keks(await now(lab))
        await lab.do(c.HostPowerOff((away,)))
        await lab.sleep(60)
        why = await refused(lab, c.VsanRekey(CLUSTER, deep=True, allow_reduced_redundancy=True))
        assert "would be inaccessible" in why
        found = await lab.do(c.VsanRekey(CLUSTER))
        assert found.transition_state is VsanTransitionState.SETTLED
        await lab.do(c.HostPowerOn((away,)))
        await lab.sleep(700)
        found = await now(lab)
        assert unmounted(found) == [] and {str(g.host) for g in found.groups} == set(HOSTS)
        new = keks(found)
        assert not {k for of in new.values() for k in of} & {k for of in old.values() for k in of}
        for host in replicas:
            assert await works(lab, host)


@pytest.mark.parametrize(
    "lab", [{"topology": lab_file(objects=3), "tpm": "model", "knobs": LEAVE}], indirect=True
)
def test_one_that_fell_in_a_deep_rekey_without_room_makes_up_for_it_when_it_is_back(
    lab: SimLab,
) -> None:
    """C25: with the redundancy that the rekey was allowed to take; else it waited for ever."""
    lab.run(_falls_last(lab))


async def _falls_last(lab: SimLab) -> None:
    places = await kills.mark(lab)
    message = RekeyEncryptedCluster(
        operation_id="test/deep",
        cluster=kills.CLUSTER,
        deep_rekey=True,
        allow_reduced_redundancy=True,
    )
    task = asyncio.ensure_future(lab.ask(kills.VCENTER, message, within_s=3600.0))
    while True:
        found = await kills.seen(lab)
        old = [host for host in found.hosts if _is_of_generation(host, 1)]
        parts = [c for h in found.hosts for g in h.groups for c in g.components if h not in old]
        if len(old) == 1 and all(part.state is ComponentState.ACTIVE for part in parts):
            break
        assert not task.done()
        await lab.sleep(0.001)
    last = old[0].host
    await lab.power_off(last, "power_loss")
    await asyncio.gather(task, return_exceptions=True)
    await lab.sleep(2 * kills.PERIOD_S)
    assert not (await kills.seen(lab)).config.changing
    await lab.power_on(last)
    await kills.comes_to_its_end(lab, places)


def _is_of_generation(host: VsanHost, generation: int) -> bool:
    """Whether it has a disk whose data key is of this generation."""
    return any(d.dek_generation_id == generation for g in host.groups for d in g.disks)


async def test_key_status_knows_the_keys_of_vsan_and_who_uses_them() -> None:
    """STD-20: the status lists the hosts that use a key."""
    async with vsan(topology=lab_file(groups=2)) as lab:
        found = await now(lab)
        listed = {str(row.key): row for row in (await lab.do(c.GetKeys())).items}
        assert found.kek is not None and found.host_key is not None
        for key in (found.kek, found.host_key):
            assert sorted(str(h) for h in listed[key].affected_hosts) == HOSTS
            assert listed[key].available
        await lab.do(c.KmsKeyDestroy(found.kek))
        row = next(r for r in (await lab.do(c.GetKeys())).items if str(r.key) == found.kek)
        assert not row.available and row.reason is not None


async def test_key_status_names_the_one_host_of_a_groups_key() -> None:
    async with vsan(topology=lab_file(groups=2), knobs=PER_GROUP) as lab:
        listed = {str(row.key): row for row in (await lab.do(c.GetKeys())).items}
        for (host, _), (kek,) in keks(await now(lab)).items():
            assert listed[kek].affected_hosts == (host,)
        assert B in HOSTS and C in HOSTS
