"""HA while more than one thing fails: at every moment of a restart, on every host of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.terms import NodeName, VmName
from tests.services.esxi.rig import VM, A, B, Rig, key
from tests.services.esxi.test_ha import (
    ALL,
    HA,
    JUDGED_S,
    C,
    clear_vm,
    cluster,
    listed,
    running,
    safe,
)

FROM = C
"""The host that fails: A is primary and has a VM of its own, so that B is who is asked."""


def _restarting(rig: Rig) -> None:
    cluster(rig)
    clear_vm(rig, A, VmName("vm-a"))
    clear_vm(rig, FROM)
    rig.sleep(10.0)
    rig.power_off(FROM, "power_loss")


def _holds(rig: Rig) -> bool:
    return VM in rig.array.locks


def _listed(rig: Rig) -> bool:
    files = rig.array.folders[".vSphere-HA"]
    return any(VM.encode() in data for name, data in files.items() if B in name)


def _owned(rig: Rig) -> bool:
    return any(B.encode() in bytes(data) for data in rig.array.folders[VM].values())


def _runs(rig: Rig) -> bool:
    return VM in rig.host(B).vms and rig.host(B).vms[VM].guest is not None


STEPS: list[Callable[[Rig], bool]] = [_holds, _listed, _owned, _runs]


def _until(rig: Rig, reached: Callable[[Rig], bool]) -> None:
    for _ in range(60_000):
        if reached(rig):
            return
        rig.sleep(0.001)
    raise AssertionError(reached.__name__)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["power_loss", "crash"])
@pytest.mark.parametrize("step", STEPS)
def test_the_target_fails_in_the_midst_of_a_restart(
    rig: Rig, step: Callable[[Rig], bool], way: str
) -> None:
    """Whatever it had written by then, the VM runs on the host that is left."""
    _restarting(rig)
    _until(rig, step)
    rig.power_off(B, way)
    for _ in range(40):
        rig.sleep(3.0)
        assert len(running(rig)) <= 1
    assert running(rig) == [A], [r for r in rig.records if r.kind.startswith("ha.")][-8:]


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_the_target_is_cut_off_in_the_midst_of_a_restart(
    rig: Rig, step: Callable[[Rig], bool]
) -> None:
    """It lives, so its lock decides; one host runs the VM, then and after the cut."""
    _restarting(rig)
    _until(rig, step)
    rig.cut(*((B, other) for other in (A, C)), *((other, B) for other in (A, C)))
    for moment in range(60):
        if moment == 30:
            rig.heal()
        rig.sleep(3.0)
        assert len(running(rig)) <= 1
    assert len(running(rig)) == 1 and listed(rig) == running(rig)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_the_target_is_cut_off_and_then_fails(rig: Rig, step: Callable[[Rig], bool]) -> None:
    """The primary still waits for its answer when it is judged."""
    _restarting(rig)
    _until(rig, step)
    rig.cut((B, A))
    rig.sleep(3.0)
    rig.power_off(B, "power_loss")
    rig.sleep(2 * JUDGED_S)
    assert running(rig) == [A], [r for r in rig.records if r.kind.startswith("ha.")][-8:]


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_the_source_is_back_in_the_midst_of_a_restart(
    rig: Rig, step: Callable[[Rig], bool]
) -> None:
    _restarting(rig)
    _until(rig, step)
    rig.power_on(FROM)
    for _ in range(40):
        rig.sleep(3.0)
        assert len(running(rig)) <= 1
    assert len(running(rig)) == 1 and listed(rig) == running(rig)


@pytest.mark.parametrize("left", ALL)
def test_the_last_host_runs_the_vms_of_two_that_fail_at_once(rig: Rig, left: NodeName) -> None:
    cluster(rig)
    vms = {host: VmName(f"vm-{n}") for n, host in enumerate(HA.hosts)}
    for host, vm in vms.items():
        clear_vm(rig, host, vm)
    rig.sleep(10.0)
    for host in ALL:
        if host != left:
            rig.power_off(host, "power_loss")
    rig.sleep(2 * JUDGED_S)
    assert [running(rig, vm) for vm in vms.values()] == [[left]] * 3


@pytest.mark.parametrize("first", ALL)
def test_a_host_that_comes_back_and_fails_again_loses_no_vm(rig: Rig, first: NodeName) -> None:
    """It starts its VM, and has no power before the primary has heard of it."""
    cluster(rig)
    clear_vm(rig, first)
    rig.sleep(10.0)
    rig.power_off(first, "stop")
    rig.sleep(JUDGED_S)
    rig.power_on(first)
    _until(rig, lambda rig: bool(running(rig)))
    rig.power_off(first, "power_loss")
    rig.sleep(2 * JUDGED_S)
    assert len(running(rig)) == 1


def test_a_target_that_waits_in_vain_for_its_keys_is_left_for_another(rig: Rig) -> None:
    """Seen on real processes (SC-37): B waits for keys that vCenter does not bring, for as long as
    a primary waited for B. B holds the VM's lock all the while, and does not run it."""
    cluster(rig, ha_retry_interval_s=40.0, request_timeout_s=60.0)
    for host in ALL:
        safe(rig, host)
    clear_vm(rig, A, VmName("vm-a"))  # B has fewer, and is tried first
    rig.encrypted_vm(node=C)
    rig.add_keys(key("kek-1"), node=A)
    rig.power_off(C, "power_loss")
    rig.sleep(JUDGED_S)
    assert running(rig) == [] and listed(rig) == [B]
    rig.sleep(2 * JUDGED_S)
    assert running(rig) == [A], [r for r in rig.records if r.kind.startswith("ha.")][-8:]
    assert [r.fields["host"] for r in rig.records if r.kind == "ha.refused"] == [B]
