"""VMs that move between two vCenters, in a simulated lab of real services (MOB-07, KEY-01)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.events import EventTypeId
from protocol.terms import PowerState, VmConnectionState, VmCryptoState
from tests.lab.api import relocation_struck
from tests.lab.api.refusals import refused

WEST, EAST = "west", "east"
VM, OFF = "vm-01", "vm-02"
SOURCE, TARGET = "esxi-001", "esxi-003"
MARKER = b"what the questioner wrote"


def two_vcenters(**east: Any) -> dict[str, Any]:
    """Two vCenters with a datastore in common; ``east``: what is otherwise there."""
    east_kms = east.get("kms", "kms")
    name = east.get("provider", "keys")
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "two",
        "vcenters": [{"name": WEST}, {"name": EAST}],
        "kms": [{"name": kms} for kms in dict.fromkeys(("kms", east_kms))],
        "providers": [
            {"name": "keys", "vcenter": WEST, "servers": ["kms"]},
            {"name": name, "vcenter": EAST, "servers": [east_kms]},
        ],
        "clusters": [
            {
                "name": f"cluster-{vcenter}",
                "vcenter": vcenter,
                "datastore": "shared" if vcenter == WEST else east.get("datastore", "shared"),
                "hosts": {"count": 2, "tpm": "model"},
                "vms": {"count": count, "provider": provider},
            }
            for vcenter, count, provider in ((WEST, 2, "keys"), (EAST, 1, name))
        ],
    }


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(topology=two_vcenters(), mode="sim", seed=11) as made:
        yield made


def move(vm: str = VM, **more: str) -> c.VmMigrate:
    return c.VmMigrate(vm, TARGET, to_vcenter=EAST, **more)


async def where(lab: Lab, vm: str = VM) -> list[tuple[str | None, str]]:
    """Each vCenter that has the VM, with its host there."""
    return [(v.vcenter, v.host) for v in (await lab.do(c.GetVms())).items if v.vm == vm]


async def registered(lab: Lab, vm: str = VM) -> list[tuple[str, PowerState]]:
    """Each host that lists the VM in its own word."""
    found = []
    for host in ("esxi-001", "esxi-002", "esxi-003", "esxi-004"):
        view = await lab.do(c.GetHostView(host))
        found += [(host, seen.power) for seen in view.vms if seen.vm == vm]
    return found


async def test_a_running_vm_moves_with_its_memory_and_can_be_started_there(lab: Lab) -> None:
    done = await lab.do(move())
    assert done.encrypted and done.gap_s is not None and done.gap_s < 3
    assert (done.vm.host, done.vm.power, done.vm.crypto) == (
        TARGET,
        PowerState.ON,
        VmCryptoState.UNLOCKED,
    )
    assert await where(lab) == [(EAST, TARGET)]
    assert await registered(lab) == [(TARGET, PowerState.ON)]
    told = [e for e in await lab.events() if e.event is EventTypeId.VM_RELOCATED]
    assert [e.vm for e in told] == [VM]
    await lab.sleep(120)
    assert await where(lab) == [(EAST, TARGET)]
    await lab.vm_off(VM)
    (item,) = await lab.vm_on(VM)
    assert item.power is PowerState.ON, item.error


async def test_one_that_is_off_is_registered_there_and_nowhere_else(lab: Lab) -> None:
    await lab.vm_off(OFF)
    done = await lab.do(move(OFF))
    assert done.gap_s is None and done.size is None and done.encrypted is None
    assert done.vm.power is PowerState.OFF and done.vm.connection is VmConnectionState.CONNECTED
    assert await where(lab, OFF) == [(EAST, TARGET)]
    assert await registered(lab, OFF) == [(TARGET, PowerState.OFF)]
    (item,) = await lab.vm_on(OFF)
    assert item.power is PowerState.ON, item.error
    await lab.do(c.VmMigrate(OFF, SOURCE, to_vcenter=WEST))  # and back again, running
    await lab.sleep(120)
    assert await where(lab, OFF) == [(WEST, SOURCE)]
    assert await registered(lab, OFF) == [(SOURCE, PowerState.ON)]


async def test_its_key_leaves_the_hosts_it_left_and_comes_to_those_it_came_to(lab: Lab) -> None:
    hosts = ("esxi-001", "esxi-002", TARGET, "esxi-004")

    async def cached() -> list[int]:
        return [(await lab.do(c.GetHostView(host))).cached_keys for host in hosts]

    await lab.sleep(60)  # the keys of new VMs are gathered
    before = await cached()
    await lab.do(move())
    await lab.sleep(200)
    after = await cached()
    assert [now - then for now, then in zip(after, before, strict=True)] == [-1, -1, 1, 1]


async def test_a_repeat_says_where_it_is(lab: Lab) -> None:
    await lab.do(move())
    again = await lab.do(move(), vcenter=WEST)
    assert again.vm.host == TARGET and again.gap_s is None
    assert [e.event for e in await lab.events()].count(EventTypeId.VM_RELOCATED) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("east", "why"),
    [
        ({"provider": "others"}, "EncryptionKeyRequired: vm-01: east has no key provider keys"),
        ({"kms": "kms-e"}, "key provider keys of east does not have keys/"),
        ({"datastore": "apart"}, "InvalidArgument: host: esxi-003 has apart"),
    ],
)
async def test_it_is_refused_before_anything_of_it_has_begun(
    east: dict[str, str], why: str
) -> None:
    async with Lab(topology=two_vcenters(**east), mode="sim", seed=11) as lab:
        before, there = await registered(lab), await lab.vm(VM)
        assert why in str(await refused(lab, move()))
        assert await registered(lab) == before and before == [(SOURCE, PowerState.ON)]
        assert await lab.vm(VM) == there and there.crypto is VmCryptoState.UNLOCKED
        told = [e.event for e in await lab.events() if e.vm == VM]
        assert told[-1] is EventTypeId.VM_RELOCATE_FAILED
        assert EventTypeId.VM_RELOCATED not in told
        await lab.sleep(120)
        assert await where(lab) == [(WEST, SOURCE)] and (await lab.vm(VM)) == there


@pytest.mark.parametrize("at", [WEST, EAST])
async def test_its_user_needs_the_privileges_at_both_ends(lab: Lab, at: str) -> None:
    ops = "ops@vsphere.local"
    for vcenter in (WEST, EAST):
        role = "NoCryptoAdmin" if vcenter == at else "Admin"
        await lab.do(c.UserSet(ops, role), vcenter=vcenter)
    error = str(await refused(lab, move(), ops))
    assert "NoPermission" in error and f"{ops} lacks Cryptographer.Migrate" in error
    assert await where(lab) == [(WEST, SOURCE)]
    if at == EAST:  # another user of that vCenter may
        await lab.do(c.UserSet("chief@vsphere.local", "Admin"), vcenter=EAST)
        await lab.do(move(to_user="chief@vsphere.local"), user=ops)
        assert await where(lab) == [(EAST, TARGET)]


async def test_what_makes_no_sense_is_refused_in_one_sentence(lab: Lab) -> None:
    for command, why in (
        (c.VmMigrate(VM, "esxi-002", to_vcenter=WEST), "west has the VM"),
        (c.VmMigrate(VM, "esxi-002", to_vcenter=EAST), "host esxi-002 is not in the inventory"),
        (c.VmMigrate(VM, TARGET), "esxi-003 is a host of east, and vm-01 is one of west"),
        (c.VmMigrate(VM, TARGET, to_vcenter="wst"), "there is no vCenter wst"),
    ):
        assert why in str(await refused(lab, command))
    await lab.do(c.VmCreate("twin", cluster="cluster-west"))
    await lab.do(c.VmUnregister(("twin",)))
    await lab.do(c.VmRegister("twin", cluster="cluster-east"))
    await lab.do(c.VmUnregister(("twin",)), vcenter=EAST)
    assert await where(lab) == [(WEST, SOURCE)]


async def test_a_target_that_has_the_key_needs_no_key_server(lab: Lab) -> None:
    """MOB-04, also here; one that lacks it is refused, and the VM is not locked by it."""
    await lab.do(c.LinkCut(EAST, "kms"))
    await lab.do(c.LinkCut(WEST, "kms"))
    assert "EncryptionKeyRequired" in str(await refused(lab, move()))
    assert await where(lab) == [(WEST, SOURCE)]
    assert (await lab.vm(VM)).crypto is VmCryptoState.UNLOCKED
    await lab.heal()
    await lab.do(move())
    await lab.sleep(60)  # its other hosts get the key soon
    await lab.do(c.LinkCut(EAST, "kms"))
    await lab.do(c.VmMigrate(VM, "esxi-004"))
    assert await where(lab) == [(EAST, "esxi-004")]


STRIKES = [
    f"{way} {where}"
    for where in ("leaving", "coming", "source", "target")
    for way in ("crash", "power_loss")
] + ["cut leaving-coming", "cut source-target", "cut leaving-source", "cut coming-target"]


def _strike_id(what: str, off: bool) -> str:
    return f"{'off' if off else 'running'}-{what}"


QUICK = [("power_loss target", False), ("crash coming", True)]
"""What strikes a running VM or one that is off, at each third step; all the rest is slow."""


@pytest.mark.parametrize(
    ("what", "off", "every"),
    [
        *(pytest.param(*one, 3, id=_strike_id(*one)) for one in QUICK),
        *(
            pytest.param(what, off, 1, id=f"{_strike_id(what, off)}-all", marks=pytest.mark.slow)
            for what in STRIKES
            for off in (False, True)
        ),
    ],
)
async def test_whatever_fails_at_whatever_step_one_vcenter_has_it(
    what: str, off: bool, every: int
) -> None:
    """It is registered at exactly one place, runs at most once, and can be started there."""
    async with Lab(topology=two_vcenters(), mode="sim", seed=11) as lab:
        moved: set[bool] = set()
        for step in relocation_struck.STEPS[::every]:
            found = await lab.beside(relocation_struck.struck, VM, what, step, off)
            moved.add(found["moved"])
            assert relocation_struck.amiss(found) == [], (step, found)
        assert moved == {True, False} or what == "cut leaving-source" or off


async def test_one_that_is_off_is_refused_as_well() -> None:
    async with Lab(topology=two_vcenters(provider="others"), mode="sim", seed=11) as lab:
        await lab.vm_off(OFF)
        assert "EncryptionKeyRequired" in str(await refused(lab, move(OFF)))
        assert await registered(lab, OFF) == [(SOURCE, PowerState.OFF)] or await where(lab, OFF)
        (item,) = await lab.vm_on(OFF)
        assert item.power is PowerState.ON, item.error


async def test_one_that_is_unregistered_is_registered_at_the_other_vcenter(lab: Lab) -> None:
    """REG-01: the key's id is in its files. The other vCenter gets the key when the operator of the
    key server grants it."""
    await lab.vm_off(OFF)
    key = str((await lab.vm(OFF)).key)
    await lab.do(c.VmUnregister((OFF,)))
    await lab.do(c.VmRegister(OFF, cluster="cluster-east"))
    assert [at for at, _ in await where(lab, OFF)] == [EAST]
    there = await lab.vm(OFF)
    assert (there.key, there.crypto) == (key, VmCryptoState.LOCKED)
    [why] = [reason for reason in await lab.why(OFF) if "keystead kms key grant" in reason.cure]
    assert EAST in why.why and why.cure.endswith(f"{key.rpartition('/')[2]} {EAST}")
    granted = await lab.do(c.KmsKeyGrant(key, EAST))
    assert EAST in [one.value for one in granted.attributes]
    await lab.do(c.VmUnlock(OFF))
    (item,) = await lab.vm_on(OFF)
    assert item.power is PowerState.ON, item.error
    ungranted = await lab.do(c.KmsKeyUngrant(key, EAST))
    assert EAST not in [one.value for one in ungranted.attributes]
    await lab.vm_off(OFF)
    await lab.reboot("esxi-003", "esxi-004")
    await lab.sleep(60)
    assert (await lab.vm(OFF)).crypto is VmCryptoState.LOCKED


async def test_over_kmip_too_the_other_vcenter_gets_the_keys_of_vms_that_come() -> None:
    """Each vCenter has a scope of its own, by its certificate."""
    file = two_vcenters()
    file["kms"][0]["transport"] = "kmip"
    async with Lab(topology=file, mode="sim", seed=11) as lab:
        scopes = {one.client: one.scope for one in (await lab.do(c.KmsIdentities("kms"))).items}
        assert scopes == {WEST: WEST, EAST: EAST}
        await lab.do(move())
        assert await where(lab) == [(EAST, "esxi-003")]
        shown = await lab.do(c.KmsKeyShow(str((await lab.vm(VM)).key)))
        assert (EAST, "x-keystead-granted-scope") in [(o.value, o.name) for o in shown.attributes]
        await lab.vm_off(VM)
        await lab.reboot("esxi-003")
        await lab.sleep(60)
        assert (await lab.vm(VM)).crypto is VmCryptoState.UNLOCKED
        other = await lab.do(c.KmsKeyShow(str((await lab.vm(OFF)).key)))
        assert "x-keystead-granted-scope" not in [one.name for one in other.attributes]


async def test_without_the_provider_it_is_registered_and_locked() -> None:
    async with Lab(topology=two_vcenters(provider="others"), mode="sim", seed=11) as lab:
        await lab.vm_off(OFF)
        await lab.do(c.VmUnregister((OFF,)))
        await lab.sleep(60)
        await lab.do(c.VmRegister(OFF, cluster="cluster-east"))
        there = await lab.vm(OFF)
        assert there.crypto is VmCryptoState.LOCKED
        await lab.do(c.VmUnregister((OFF,)))
        await lab.do(c.VmRegister(OFF, cluster="cluster-west"))  # and back
        assert (await lab.vm(OFF)).crypto is VmCryptoState.UNLOCKED
