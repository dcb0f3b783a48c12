"""A host that an intruder controls lists VMs with keys in every state, to its own vCenter (C28).

One lab: two clusters under the vCenter ``west``, one under ``east``, and one key server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from chaos.checks.result import CheckOutcome
from chaos.errors import ChaosError
from chaos.experiment.generate import Mix
from chaos.experiment.random_runs import OperationStream, random_plan
from chaos.faults import make_fault
from chaos.observe.look import INVENTED, all_clusters, all_vms
from lab.fuzz.world import QUICK
from lab.play.play import simulate_plan
from protocol.messages.fingerprints import FingerprintKeys
from protocol.messages.host.session import QueryHostClaims
from protocol.messages.kms.keys import Destroy, Revoke
from protocol.messages.vcenter.providers import GenerateKey
from protocol.messages.vcenter.vms import DestroyVm, PowerOffVm, RecryptVm, UnregisterVm
from protocol.terms import KeyId, NodeName, VmCryptoState, VmName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
WEST, EAST, KMS = NodeName("west"), NodeName("east"), NodeName("kms")
HOSTS: Final = {
    "same cluster": NodeName("esxi-002"),
    "other cluster": NodeName("esxi-003"),
    "other vCenter": NodeName("esxi-004"),
}
REMEDIATED_S: Final = 2 * QUICK["remediation_interval_s"]
WORKLOAD: Final = (
    OperationStream("key.create", 0.2, kept=1.0),
    OperationStream("vm.recrypt", 0.03, kept=1.0),
)
MAY_HAVE: Final = {
    "in use": {"same cluster"},
    "host key": {"same cluster"},
    "unregistered": set[str](),
    "recrypted": set[str](),
    "VM destroyed": set[str](),
    "never used": set[str](),
    "destroyed": {"same cluster"},  # its VM runs on, with the key that its hosts have
}


def two_vcenters(**knobs: Any) -> dict[str, Any]:
    places = (("one", WEST, 2, 5), ("two", WEST, 1, 0), ("three", EAST, 1, 0))
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "two",
        "vcenters": [{"name": str(vcenter)} for vcenter in (WEST, EAST)],
        "kms": [{"name": str(KMS)}],
        "providers": [
            {"name": "keys", "vcenter": str(vcenter), "servers": [str(KMS)]}
            for vcenter in (WEST, EAST)
        ],
        "clusters": [
            {
                "name": name,
                "vcenter": str(vcenter),
                "hosts": {"count": hosts, "tpm": "model"},
                "vms": {"count": vms, "provider": "keys"},
            }
            for name, vcenter, hosts, vms in places
        ],
        "knobs": QUICK | knobs,
    }


async def stage(world: World) -> dict[str, str]:
    """A key in each state, by its id."""
    lab = world.lab
    vms = {str(vm.vm): vm for vm in await all_vms(lab, WEST)}
    states = ("in use", "unregistered", "recrypted", "VM destroyed", "destroyed")
    keys = {state: vms[f"vm-0{number}"].key for number, state in enumerate(states, 1)}
    [cluster] = [one for one in await all_clusters(lab, WEST) if one.cluster == "one"]
    keys["host key"] = cluster.host_key
    for gone in ("vm-02", "vm-04"):
        await lab.ask(WEST, PowerOffVm(vm=VmName(gone)))
    await lab.ask(WEST, UnregisterVm(vm=VmName("vm-02")))
    await lab.ask(WEST, RecryptVm(operation_id="recrypt", vm=VmName("vm-03")))
    await lab.ask(WEST, DestroyVm(vm=VmName("vm-04")))
    keys["never used"] = (await lab.ask(WEST, GenerateKey(operation_id="never used"))).key
    found = {state: str(key.key_id) for state, key in keys.items() if key is not None}
    for message in (Revoke, Destroy):
        await lab.ask(KMS, message(key_id=KeyId(found["destroyed"])))
    await lab.sleep(REMEDIATED_S)  # keys that are not needed any more leave the hosts
    return found


async def held(world: World, host: NodeName) -> set[str]:
    """Ids of the keys in the cache and the store of a host."""
    told = await world.lab.ask(host, FingerprintKeys(secret=bytes(32)))
    return {str(key.key_id) for key in told.keys}


def lied(world: World) -> dict[tuple[str, str], bool]:
    """Whether each hostile host holds the key in each state, by (state, host)."""
    lab = world.lab
    keys = world.run(stage(world))
    fault = make_fault("host.hostile", "spy", {"on": [*HOSTS.values()]}, lab.directory(), seed=1)
    world.run(world.keeper.inject(fault))
    world.run(lab.sleep(REMEDIATED_S))
    caches = {place: world.run(held(world, host)) for place, host in HOSTS.items()}
    claimed = world.run(lab.ask(HOSTS["other cluster"], QueryHostClaims())).vms
    asked = {str(key.key_id) for vm in claimed for key in vm.keys}
    assert set(keys.values()) <= asked, "it asks for each of them"
    world.run(world.keeper.heal("spy"))
    return {
        (state, place): keys[state] in cache
        for state in MAY_HAVE
        for place, cache in caches.items()
    }


@pytest.fixture(scope="module")
def honest() -> Iterator[dict[tuple[str, str], bool]]:
    world = World(use=two_vcenters())
    yield lied(world)
    world.close()


@pytest.mark.parametrize("place", HOSTS)
@pytest.mark.parametrize("state", MAY_HAVE)
def test_a_hostile_host_gets_only_keys_of_its_cluster(
    honest: dict[tuple[str, str], bool], state: str, place: str
) -> None:
    assert honest[state, place] is (place in MAY_HAVE[state])


def test_with_a_vcenter_that_believes_hosts_the_same_lies_work() -> None:
    """In its own vCenter; at the key server each vCenter has a scope of its own."""
    world = World(use=two_vcenters(believe_reports_of_other_clusters=True))
    stolen = {cell for cell, held in lied(world).items() if held}
    states = ("in use", "unregistered", "recrypted", "VM destroyed", "never used")
    assert {(state, "other cluster") for state in states} <= stolen
    assert not {cell for cell in stolen if cell[1] == "other vCenter"}
    world.close()


def test_it_ends_with_a_boot_and_leaves_no_vm_behind() -> None:
    world = World(use=two_vcenters())
    lab, host = world.lab, HOSTS["same cluster"]
    fault = make_fault("host.hostile", "spy", {"on": str(host)}, lab.directory(), seed=1)
    world.run(world.keeper.inject(fault, 600.0))
    world.run(lab.sleep(30))

    def invented() -> list[str]:
        return [str(vm.vm) for vm in world.run(all_vms(lab, WEST)) if vm.vm.startswith(INVENTED)]

    assert invented(), "its vCenter lists those with keys of their cluster"
    world.run(lab.power_off(host, "power_loss"))
    world.run(lab.power_on(host))
    world.run(world.keeper.renew("spy", 600.0))
    assert world.run(lab.ask(host, QueryHostClaims())).vms == ()
    assert world.run(world.keeper.heal("spy")).verified
    assert not invented()
    assert len(world.run(all_vms(lab, WEST))) == 5
    world.close()


def test_a_host_that_is_paused_is_not_taken_for_one_without_claims() -> None:
    """Its process gives no status meanwhile, but its memory and the claims in it stay."""
    world = World(use=two_vcenters())
    lab, host = world.lab, HOSTS["same cluster"]
    fault = make_fault("host.hostile", "spy", {"on": str(host)}, lab.directory(), seed=1)
    world.run(world.keeper.inject(fault, 600.0))
    world.run(lab.pause(host))
    assert not world.run(world.keeper.heal("spy")).verified
    world.run(lab.resume(host))
    world.run(lab.sleep(30))
    assert world.run(world.keeper.heal("spy")).verified
    assert world.run(lab.ask(host, QueryHostClaims())).vms == ()
    world.close()


def test_an_intruder_who_knows_no_key_cannot_begin() -> None:
    """vCenter is down, and no key server tells which keys there are: nothing is left to heal."""
    world = World(use="native", hosts=1, vms=1)
    lab = world.lab
    world.run(lab.power_off(NodeName("vcenter"), "crash"))
    fault = make_fault("host.hostile", "spy", {"on": "esxi-001"}, lab.directory(), seed=1)
    with pytest.raises(ChaosError) as caught:
        world.run(world.keeper.inject(fault))
    assert caught.value.id == "KS-CHAOS-106"
    assert not world.keeper.active()
    world.close()


def test_an_intruder_says_of_a_key_what_the_host_says_for_its_own_vms() -> None:
    """A host that derives its keys lacks none of them, though few are in its cache: a VM of its
    own under one of these keys is not locked by what the intruder lists."""
    world = World(use="native", hosts=2, vms=2)
    lab, host = world.lab, NodeName("esxi-001")
    world.run(lab.ask(NodeName("vcenter"), PowerOffVm(vm=VmName("vm-01"))))
    world.run(lab.power_off(host, "power_loss"))
    world.run(lab.power_on(host))
    world.run(lab.sleep(REMEDIATED_S))
    fault = make_fault("host.hostile", "spy", {"on": str(host)}, lab.directory(), seed=1)
    world.run(world.keeper.inject(fault))
    world.run(lab.sleep(REMEDIATED_S))
    [own] = [vm for vm in world.run(all_vms(lab, NodeName("vcenter"))) if vm.vm == "vm-01"]
    assert (own.host, own.crypto) == (host, VmCryptoState.UNLOCKED)
    world.close()


@pytest.mark.parametrize("believes", [False, True])
def test_the_check_finds_in_a_run_what_a_believing_vcenter_gives_away(*, believes: bool) -> None:
    knobs = QUICK | {"believe_reports_of_other_clusters": believes}
    world = World(use="default", hosts=1, vms=2, clusters=2, knobs=knobs)
    mix = Mix(kinds=("host.hostile",), until_s=120.0, omit=0.0, quiet=0.0, for_s=60.0)
    plan = random_plan(world.lab.directory(), 1, mix, workload=WORKLOAD)
    assert "host.hostile" in {fault.kind for fault in plan.faults}
    verdict, _ = simulate_plan(world.lab, plan, "run")
    results = {check.name: check.result for check in verdict.checks}
    expected = CheckOutcome.FAIL if believes else CheckOutcome.PASS
    assert results.pop("only_given_keys") is expected
    assert CheckOutcome.FAIL not in results.values(), verdict.reasons
    world.close()
