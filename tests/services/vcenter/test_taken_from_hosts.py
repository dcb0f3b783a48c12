"""What is removed in vCenter has left connected hosts when the task ends; the rest are named."""

from __future__ import annotations

from protocol.messages.vcenter.providers import RemoveKey, UnregisterKmsCluster
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import A, B, P, Rig
from tests.services.vcenter.test_native import NKP, create, export


def native(rig: Rig) -> None:
    rig.host(A, B)
    create(rig)
    export(rig)
    rig.sleep(5)
    assert NKP in rig.hosts[A].kdks and NKP in rig.hosts[B].kdks


def test_a_key_removed_by_force_has_left_the_hosts(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    key = rig.key_of()
    assert rig.do(RemoveKey(key=key, force=True)).hosts == ()
    assert key not in rig.hosts[A].cache and key not in rig.hosts[B].cache


def test_hosts_that_have_not_dropped_a_key_are_named(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    key = rig.key_of()
    rig.cut((VCENTER, B))
    before = rig.loop.time()
    assert rig.do(RemoveKey(key=key, force=True)).hosts == (B,)
    assert key not in rig.hosts[A].cache and key in rig.hosts[B].cache
    assert rig.loop.time() - before <= rig.vcenter.node.knobs.request_timeout_s + 1


def test_a_host_known_to_be_away_is_named_without_a_wait(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    rig.power_off(B)
    rig.sleep(60)
    before = rig.loop.time()
    assert rig.do(RemoveKey(key=rig.key_of(), force=True)).hosts == (B,)
    assert rig.loop.time() - before < 1


def test_keys_of_a_standard_provider_stay_for_the_grace(rig: Rig) -> None:
    """C4: nothing is taken from hosts yet, so nobody has to confirm it."""
    rig.up(A)
    rig.vm()
    key = rig.key_of()
    assert rig.do(UnregisterKmsCluster(provider=P)).hosts == ()
    assert key in rig.hosts[A].cache


def test_a_deleted_native_provider_has_left_the_hosts(rig: Rig) -> None:
    native(rig)
    assert rig.do(UnregisterKmsCluster(provider=NKP)).hosts == ()
    assert rig.hosts[A].kdks == {} and rig.hosts[B].kdks == {}


def test_hosts_that_have_the_kdk_of_a_deleted_provider_are_named(rig: Rig) -> None:
    native(rig)
    rig.cut((VCENTER, B))
    assert rig.do(UnregisterKmsCluster(provider=NKP)).hosts == (B,)
    assert rig.hosts[A].kdks == {} and NKP in rig.hosts[B].kdks


def test_a_provider_that_is_deleted_again_names_those_that_have_it_still(rig: Rig) -> None:
    """A repeat converges: B has come back meanwhile."""
    native(rig)
    rig.cut((VCENTER, B))
    rig.do(UnregisterKmsCluster(provider=NKP))
    rig.heal()
    rig.sleep(60)
    assert rig.do(UnregisterKmsCluster(provider=NKP)).hosts == ()
    assert rig.hosts[B].kdks == {}
