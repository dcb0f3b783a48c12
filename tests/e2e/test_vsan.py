"""Encrypted vSAN in whole labs: who needs whom at a boot, what a rekey leaves, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import Vsan, VsanHealthReport
from lab.schema.errors import KeysteadError
from protocol.events import EventTypeId
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.vsan import VsanHealthState, VsanTransitionState
from tests.e2e.modes import MODES

CLUSTER, A, B, C = "cluster-a", "esxi-001", "esxi-002", "esxi-003"
MARKER = b"what only the test knows"
HOSTS = [A, B, C]


def vsan(mode: str = "sim", **changes: Any) -> Lab:
    changes.setdefault("tpm", "model")
    changes.setdefault("topology", "vsan")
    return Lab(mode, seed=7, vms=0, **changes)  # type: ignore[arg-type]


async def now(lab: Lab) -> Vsan:
    return await lab.do(c.VsanDescribe(CLUSTER))


async def mark(lab: Lab, name: str = "object-1") -> list[str]:
    """Fill both replicas with blocks that only this test can tell; the hosts that have them."""
    found = next(o for o in (await now(lab)).objects if o.object == name)
    hosts = [str(part.host) for part in found.components if part.kind == "replica"]
    for host in hosts:
        await lab.do(c.VsanObjectWrite(host, name, MARKER))
    return hosts


async def works(lab: Lab, host: str, name: str = "object-1") -> bool:
    """Whether the host reads from its disk what was written there."""
    nonce, blocks = b"fresh", (1, 5, 60)
    seed = guest_seed(MARKER)
    wanted = challenge_digest(nonce, [guest_block(seed, index, 0) for index in blocks])
    answer = await lab.do(c.VsanObjectRead(host, name, nonce, blocks))
    return answer.digest == wanted.hex()


async def restart(lab: Lab, *hosts: str, seconds: float = 90) -> None:
    await lab.do(c.HostPowerLoss(hosts))
    await lab.sleep(seconds)


async def refused(lab: Lab, command: Any) -> str:
    with pytest.raises(KeysteadError) as caught:
        await lab.do(command)
    return str(caught.value)


def unmounted(found: Vsan) -> list[str]:
    return sorted({str(group.host) for group in found.groups if not group.mounted})


def colour_of(found: VsanHealthReport, name: str) -> VsanHealthState:
    return next(test.health for test in found.tests if test.test == name)


@pytest.mark.parametrize("how", MODES)
async def test_a_host_mounts_with_the_key_server_and_without_vcenter(how: dict[str, Any]) -> None:
    """VSAN-03, R15: the host asks the key server itself."""
    async with vsan(**how) as lab:
        host = (await mark(lab))[0]
        await lab.fault("vcenter.down")
        await restart(lab, host)
        assert await works(lab, host)
        audit = await lab.do(c.GetAudit())
        assert any(row.who == host and row.operation == "Get" for row in audit.items)


@pytest.mark.sim
async def test_without_the_key_server_it_is_up_and_its_components_are_absent() -> None:
    """VSAN-04, R16; the object is served by the others, until they lack it too."""
    async with vsan() as lab:
        first, second = await mark(lab)
        await lab.do(c.LinkCut(first, "kms"))
        await restart(lab, first)
        found = await now(lab)
        assert unmounted(found) == [first]
        assert (await lab.do(c.GetHostView(first))).boot == 2
        assert any("cannot be had" in g.why for g in found.groups if g.host == first)
        assert all(o.accessible for o in found.objects)
        assert await works(lab, second)
        assert "absent" in await refused(lab, c.VsanObjectRead(first, "object-1"))
        await lab.do(c.LinkCut(second, "kms"))
        await restart(lab, second)
        found = await now(lab)
        assert not any(o.accessible for o in found.objects)
        await lab.do(c.Heal(all=True))
        for host in (first, second):
            await lab.do(c.VsanMount(host))
        found = await now(lab)
        assert unmounted(found) == [] and all(o.accessible for o in found.objects)
        assert await works(lab, first) and await works(lab, second)


@pytest.mark.sim
@pytest.mark.parametrize(("version", "mounts"), [("7.0U2", False), ("7.0U3", True)])
async def test_persistence_covers_it_from_7_0_u3(version: str, mounts: bool) -> None:
    """KP-08, VSAN-07: in U2 the KEK is not in the persisted store; the host key is."""
    async with vsan(topology=lab_file(version), key_persistence=True) as lab:
        await mark(lab)
        for host in HOSTS:
            await lab.do(c.LinkCut(host, "kms"))
        await lab.fault("vcenter.down")
        await restart(lab, *HOSTS)
        view = await lab.do(c.GetHostView(A))
        assert view.crypto_state == "safe"
        if mounts:
            assert await works(lab, A)
        else:
            assert "absent" in await refused(lab, c.VsanObjectRead(A, "object-1"))


def lab_file(version: str = "8.0U3", **vsan_changes: Any) -> dict[str, Any]:
    groups = {"groups": 1, "disks": 2, "provider": "kms-provider", "objects": 1, **vsan_changes}
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "vsan",
        "vcenters": [{"name": "vcenter"}],
        "kms": [{"name": "kms"}, {"name": "kms-2"}],
        "providers": [
            {"name": "kms-provider", "servers": ["kms"], "default": True},
            {"name": "second", "servers": ["kms-2"]},
            {"name": "nkp", "type": "native"},
        ],
        "clusters": [{"name": CLUSTER, "hosts": {"version": version}, "vsan": groups}],
    }


@pytest.mark.sim
async def test_shallow_and_deep_rekey_and_another_provider_keep_the_data() -> None:
    """A shallow one leaves data keys as they are, a deep one makes new ones."""
    async with vsan(topology=lab_file(groups=2)) as lab:
        replicas = await mark(lab)
        before = await now(lab)
        shallow = await lab.do(c.VsanRekey(CLUSTER))
        assert shallow.kek != before.kek and shallow.host_key != before.host_key
        assert shallow.dek_generation == before.dek_generation
        deep = await lab.do(c.VsanRekey(CLUSTER, deep=True))
        assert deep.dek_generation == before.dek_generation + 1
        other = await lab.do(c.VsanEnable(CLUSTER, "second"))
        assert other.provider == "second"
        for found in (shallow, deep, other):
            assert found.transition_state is VsanTransitionState.SETTLED
            assert {d.key for g in found.groups for d in g.disks} == {found.kek}
            assert {d.dek_generation for g in found.groups for d in g.disks} == {
                found.dek_generation
            }
        for host in replicas:
            assert await works(lab, host)
        await restart(lab, *HOSTS)
        for host in replicas:
            assert await works(lab, host)
        off = await lab.do(c.VsanDisable(CLUSTER))
        assert not any(d.encrypted for g in off.groups for d in g.disks)
        assert await works(lab, replicas[0])


@pytest.mark.sim
async def test_a_deep_rekey_needs_room_or_reduced_redundancy() -> None:
    async with vsan(topology=lab_file()) as lab:
        replicas = await mark(lab)
        before = await now(lab)
        assert "evacuated" in await refused(lab, c.VsanRekey(CLUSTER, deep=True))
        assert (await now(lab)).kek == before.kek
        found = await lab.do(c.VsanRekey(CLUSTER, deep=True, allow_reduced_redundancy=True))
        assert found.dek_generation == 2
        for host in replicas:
            assert await works(lab, host)


@pytest.mark.sim
async def test_native_mounts_with_nobody() -> None:
    """VSAN-06, R60."""
    async with vsan(topology=lab_file(provider="nkp")) as lab:
        host = (await mark(lab))[0]
        await lab.fault("vcenter.down")
        for server in ("kms", "kms-2"):
            await lab.do(c.LinkCut(host, server))
        await restart(lab, host)
        assert await works(lab, host)


@pytest.mark.sim
async def test_refusals() -> None:
    """C25, C26, HEM-04, and a provider that is not there."""
    async with vsan(topology=lab_file()) as lab:
        assert "no key provider nobody" in await refused(lab, c.VsanEnable(CLUSTER, "nobody"))
        assert "cluster none" in await refused(lab, c.VsanRekey("none"))
        assert "encrypted with keys" in await refused(lab, c.ProviderDelete("kms-provider"))
        assert "vSAN" in await refused(lab, c.HostDisableCrypto(A))
        await lab.do(c.VsanDiskAdd(A, "group-1", "disk-9"))
        await lab.do(c.VsanDiskRemove(A, "group-1", "disk-9"))
        assert "components" in await refused(lab, c.VsanDiskRemove(A, "group-1", "disk-1"))
        assert "group-7" in await refused(lab, c.VsanDiskAdd(A, "group-7", "disk-1"))
        await lab.do(c.HostPowerOff((C,)))
        await lab.sleep(60)
        others = (c.VsanRekey(CLUSTER), c.VsanDisable(CLUSTER), c.VsanEnable(CLUSTER, "second"))
        for command in others:
            assert "absent: esxi-003" in await refused(lab, command)
        assert (await now(lab)).transition_state is VsanTransitionState.SETTLED


@pytest.mark.sim
async def test_a_disk_is_added_while_the_key_server_is_away() -> None:
    """VSAN-05: the KEK is in the key cache."""
    async with vsan(topology=lab_file()) as lab:
        await lab.do(c.HostPowerOff(("kms",)))
        found = await lab.do(c.VsanDiskAdd(A, "group-1", "disk-3"))
        disks = next(g.disks for g in found.groups if g.host == A)
        assert [d.encrypted for d in disks] == [True, True, True]


@pytest.mark.sim
async def test_health_tells_whose_way_to_the_key_server_is_closed() -> None:
    """SC-50: vCenter is green, one host is not."""
    async with vsan(topology=lab_file()) as lab:
        assert (await lab.do(c.VsanHealth(CLUSTER))).health is VsanHealthState.GREEN
        await lab.do(c.LinkCut(B, "kms"))
        found = await lab.do(c.VsanHealth(CLUSTER))
        assert colour_of(found, "kmsconnection") is VsanHealthState.RED
        connected = {h.host: h.kms_connected for h in found.hosts}
        assert connected == {A: True, B: False, C: True}
        await restart(lab, B)
        found = await lab.do(c.VsanHealth(CLUSTER))
        issues = {h.host: [i.value for i in h.issues] for h in found.hosts}
        assert issues == {A: [], B: ["keknotavailable"], C: []}
        assert colour_of(found, "physicaldisks") is VsanHealthState.RED


@pytest.mark.sim
async def test_health_tells_what_a_host_lacks_and_what_nobody_recommends() -> None:
    """VSAN-14: no way to a host key, a processor without AES, VMs that are encrypted, too."""
    file = lab_file()
    file["clusters"][0]["hosts"]["aesni"] = False
    async with vsan(topology=file) as lab:
        found = await lab.do(c.VsanHealth(CLUSTER))
        assert colour_of(found, "hostcpuaesni") is VsanHealthState.RED
        assert colour_of(found, "dualencryption") is VsanHealthState.GREEN
        await lab.do(c.VmCreate("vm-1", host=A, encrypted=True))
        found = await lab.do(c.VsanHealth(CLUSTER))
        assert colour_of(found, "dualencryption") is VsanHealthState.YELLOW
        for node in ("vcenter", B):
            await lab.do(c.LinkCut(node, "kms"))
        await restart(lab, B)
        found = await lab.do(c.VsanHealth(CLUSTER))
        issues = {h.host: [i.value for i in h.issues] for h in found.hosts}
        assert issues == {A: [], B: ["hostkeynotavailable", "keknotavailable"], C: []}


@pytest.mark.sim
async def test_encryption_begins_with_keys_that_hosts_have_got_themselves() -> None:
    """VSAN-03: vCenter hands out ids, and each host asks the key server for both values."""
    async with vsan(topology=lab_file()) as lab:
        audit = await lab.do(c.GetAudit("kms"))
        got = {(row.who, row.key_id) for row in audit.items if row.operation == "Get"}
        kek = (await now(lab)).kek
        assert kek is not None
        assert {who for who, key in got if kek.endswith(key)} == set(HOSTS)


@pytest.mark.sim
async def test_what_is_encrypted_with_a_provider_already_keeps_its_keys() -> None:
    async with vsan() as lab:
        before = await now(lab)
        again = await lab.do(c.VsanEnable(CLUSTER, str(before.provider)))
        assert (again.kek, again.host_key, again.dek_generation) == (
            before.kek,
            before.host_key,
            before.dek_generation,
        )


@pytest.mark.sim
async def test_erasing_disks_before_use_is_refused_for_nothing_overwrites_them() -> None:
    """A wish that is kept and not done would be a success that never was."""
    async with vsan() as lab:
        await lab.do(c.VsanDisable(CLUSTER))
        wish = c.VsanEnable(CLUSTER, "kms-provider", erase_disks_before_use=True)
        assert "not overwritten" in await refused(lab, wish)
        assert not (await now(lab)).encryption_enabled


@pytest.mark.sim
async def test_an_object_is_made_once_and_lies_on_three_hosts() -> None:
    async with vsan(topology=lab_file(objects=0)) as lab:
        for _ in range(2):
            found = await lab.do(c.VsanObjectCreate(CLUSTER, "made-later", blocks=8))
            (item,) = found.objects
            assert item.object == "made-later" and item.accessible
            assert [p.kind for p in item.components] == ["replica", "replica", "witness"]
            assert sorted(str(p.host) for p in item.components) == HOSTS
        first = next(str(p.host) for p in item.components)
        await lab.do(c.VsanObjectWrite(first, "made-later", MARKER))
        assert "0..7" in await refused(lab, c.VsanObjectRead(first, "made-later", b"n", (8,)))
        assert "blocks: 1 to" in await refused(lab, c.VsanObjectCreate(CLUSTER, "no", blocks=0))


@pytest.mark.sim
async def test_vcenter_tells_when_a_way_to_the_key_servers_closes_and_when_it_is_open() -> None:
    """VSAN-14: an event for each change of ``kmsconnection``, not for each look."""

    async def told() -> list[str]:
        await lab.sleep(700)  # two looks of vCenter
        events = (await lab.do(c.GetEvents())).items
        return [e.text for e in events if e.event == EventTypeId.VSAN_KMS_CONNECTION]

    async def alarms() -> list[tuple[str, str]]:
        found = [a for a in (await lab.do(c.GetAlarms())).items if "Vsan" in a.alarm]
        return [(a.of, a.why) for a in found]

    async with vsan(topology=lab_file()) as lab:
        assert await told() == []
        assert await alarms() == []
        await lab.do(c.LinkCut(B, "kms"))
        (closed,) = await told()
        ((cluster, why),) = await alarms()
        assert cluster == CLUSTER and why.startswith("kmsconnection is red") and B in why
        assert "connection is red" in closed and f"{B}: 0 of 1 key servers" in closed
        assert f"{A}: 1 of 1" in closed and "vcenter: 1 of 1" in closed
        await lab.do(c.Heal(all=True))
        assert [text.partition(": vcenter")[0][-5:] for text in await told()] == ["s red", "green"]
        assert await alarms() == []


@pytest.mark.sim
async def test_a_trusted_provider_is_refused_when_it_is_named_for_vsan() -> None:
    """R43: at vCenter, which knows it, and in a Lab file before anything is built."""
    authority = {"vcenter": "ta-vcenter", "cluster": "ta-cluster", "clusters": [CLUSTER]}
    file = {
        **lab_file(provider=None, encrypted=False, objects=0),
        "vcenters": [{"name": "vcenter"}, {"name": "ta-vcenter"}],
        "providers": [
            {"name": "trusted", "type": "trusted", "servers": ["kms"]},
            {"name": "second", "servers": ["kms-2"]},
        ],
        "trust_authority": authority,
    }
    async with vsan(topology=file) as lab:
        why = await refused(lab, c.VsanEnable(CLUSTER, "trusted"))
        assert "not supported with key provider trusted (trustAuthority)" in why
        found = await now(lab)
        assert not found.encryption_enabled
        assert not any(d.encrypted for g in found.groups for d in g.disks)
    named = {"groups": 1, "disks": 2, "provider": "trusted"}
    clusters = [{**file["clusters"][0], "vsan": named}]
    with pytest.raises(KeysteadError, match="not supported with a trusted provider"):
        async with vsan(topology={**file, "clusters": clusters}):
            raise AssertionError("it was built")
