"""Every probe in a world where its answer is known to be yes, and in others where it is no.

The table is the registry, so a new probe has worlds of both kinds or the tests are red.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from chaos.draws import Draws
from chaos.faults import make_fault
from chaos.history import History
from chaos.hypotheses.probes import PROBES, Measured, Scope, Sources
from chaos.observe.boots import Recoveries, Recovery
from chaos.observe.guests import Guests
from chaos.observe.look import LabLook
from chaos.workload.base import OperationCounts
from lab.simulation.sim_lab import SimLab
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.messages.agent import Firmware
from protocol.messages.host.crypto import WriteDump
from protocol.messages.host.session import Esxcli
from protocol.messages.host.vms import GuestWrite
from protocol.messages.vcenter.vms import CreateVm, PowerOffVm
from protocol.terms import NodeName, VmName
from tests.chaos.test_vsan_probes import OF_VSAN
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
FIRST, SECOND = NodeName("esxi-001"), NodeName("esxi-002")
VM, OTHER = VmName("vm-01"), VmName("vm-02")


@dataclass
class Scene:
    """A lab of two hosts and two VMs whose guests were filled, and what probes draw on."""

    world: World
    sources: Sources
    scope: Scope = field(default_factory=lambda: Scope(vms=(VM, OTHER), hosts=(FIRST, SECOND)))

    def run(self, work: Any) -> Any:
        return self.world.run(work)

    def fault(self, kind: str, **values: Any) -> None:
        made = make_fault(kind, kind, values, self.world.lab.directory(), seed=3)
        self.run(self.world.keeper.inject(made))

    def measure(self, probe: str, **about: Any) -> Measured:
        look = LabLook(self.world.lab)
        scope = Scope(vms=self.scope.vms, hosts=self.scope.hosts, **about)
        found: Measured = self.run(PROBES[probe].measure(look, scope, self.sources))
        return found


@pytest.fixture
def scene() -> Iterator[Scene]:
    world = World(hosts=2, vms=2)
    lab = world.lab
    guests = Guests(lab, Draws(1, "guests"))
    history = History(None, lab.monotonic)
    made = Scene(world, Sources(guests, Recoveries(lab, history), OperationCounts()))
    for vm, (host, _) in world.run(LabLook(lab).vms()).items():
        assert world.run(guests.plant(vm, host)) == ""
    yield made
    world.close()


def host_of(scene: Scene, vm: VmName) -> NodeName:
    host: NodeName = scene.run(LabLook(scene.world.lab).vms())[vm][0]
    return host


def power_off(scene: Scene) -> None:
    lab = scene.world.lab
    scene.run(lab.ask(lab.vcenter, PowerOffVm(vm=VM)))


def dark(scene: Scene) -> None:
    scene.fault("host.power_loss", on=str(host_of(scene, VM)))


def dark_for_long(scene: Scene) -> None:
    """Until vCenter has noticed: it has the VM as powered on, on a host that does not answer."""
    dark(scene)
    scene.run(scene.world.lab.sleep(180.0))


def overwritten(scene: Scene) -> None:
    """Somebody else fills the disk; its blocks are sound, and not those that were written."""
    host = host_of(scene, VM)
    scene.run(scene.world.lab.ask(host, GuestWrite(vm=VM, marker=b"another marker")))


def halted(scene: Scene) -> None:
    """Sealed to Secure Boot, booted without it: the host stops at its screen."""
    lab = scene.world.lab
    scene.run(lab.power_off(FIRST, "stop"))
    scene.run(lab.firmware(FIRST, Firmware(secure_boot=False)))
    scene.run(lab.power_on(FIRST))


def damaged(scene: Scene) -> None:
    """A recovery key that is not the right one: another screen than that of a violation."""
    lab = scene.world.lab
    scene.run(lab.power_off(FIRST, "stop"))
    digits = "-".join(["000000"] * 16)
    scene.run(lab.power_on(FIRST, {"encryptionRecoveryKey": digits}))


def boot_without_keys(scene: Scene, *hosts: NodeName) -> None:
    """Without its key server and persistence, a host that boots cannot open its VMs."""
    scene.fault("link.cut", between=["vcenter", "kms"])
    for host in hosts:
        scene.run(scene.world.lab.power_off(host, "power_loss"))
        scene.run(scene.world.lab.power_on(host))
    scene.run(scene.world.lab.sleep(400.0))


def dumped(scene: Scene) -> None:
    """Both hosts have a dump under their host key."""
    for host in (FIRST, SECOND):
        scene.run(scene.world.lab.ask(host, WriteDump(dump="core", marker=b"marker")))


def dump_closed(scene: Scene) -> None:
    """One of them has booted without that key."""
    dumped(scene)
    boot_without_keys(scene, FIRST)


def persisting(scene: Scene) -> None:
    for host in (FIRST, SECOND):
        line = ("system", "security", "keypersistence", "enable")
        scene.run(scene.world.lab.ask(host, Esxcli(arguments=line)))


def locked(scene: Scene) -> None:
    boot_without_keys(scene, host_of(scene, VM))


def all_locked(scene: Scene) -> None:
    boot_without_keys(scene, FIRST, SECOND)


def locked_unseen(scene: Scene) -> None:
    """Hosts know of it, and vCenter says nothing."""
    locked(scene)
    no_vcenter(scene)


def no_key_server(scene: Scene) -> None:
    scene.fault("link.cut", between=["vcenter", "kms"])
    scene.run(scene.world.lab.sleep(400.0))


def no_vcenter(scene: Scene) -> None:
    scene.fault("vcenter.down")


def destroyed(scene: Scene) -> None:
    scene.fault("kms.key_state", vm=str(VM), state="destroy")


def broken_service(scene: Scene) -> None:
    """As a node counts it when a handler raises what nobody expects."""
    scene.world.lab.agent.machine(FIRST).runner.internal_errors += 1


def broken_services(scene: Scene) -> None:
    for host in (FIRST, SECOND):
        scene.world.lab.agent.machine(host).runner.internal_errors += 1


def booted(seconds: float, calls: int | None) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        recovery = Recovery(FIRST, 2, 0, seconds=seconds, kms_calls=calls)
        scene.sources.recoveries.done.append(recovery)

    return act


def lost(scene: Scene) -> None:
    """Of two boots the later one left VMs that never ran again."""
    booted(70.0, 0)(scene)
    missing = Recovery(FIRST, 3, 0, missing=(VM, OTHER))
    scene.sources.recoveries.done.append(missing)


def storm(*hosts: NodeName) -> Callable[[Scene], None]:
    """These hosts boot at once, and vCenter brings each of them its host key and those of both
    VMs, which it fetches for it."""

    def act(scene: Scene) -> None:
        recoveries, lab = scene.sources.recoveries, scene.world.lab
        scene.run(recoveries.begin())
        mark = scene.run(recoveries.position())
        recoveries.done.append(Recovery(FIRST, 2, mark, seconds=3.0))
        for host in hosts:
            scene.run(lab.power_off(host, "power_loss"))
        for host in hosts:
            scene.run(lab.power_on(host, wait=False))
        scene.run(lab.sleep(30.0))

    return act


def unasked(scene: Scene) -> None:
    """A key server is off when the run is summed up."""
    storm(FIRST)(scene)
    scene.run(scene.world.lab.power_off(NodeName("kms"), "stop"))


def tried(ok: int, other: int, seconds: tuple[float, ...] = ()) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        operations = scene.sources.operations
        operations.ok["key.create"], operations.other["key.create"] = ok, other
        operations.seconds["key.create"] = [*seconds]

    return act


def nothing(scene: Scene) -> None:
    pass


BOTH = {"view": "host"}, {"view": "vcenter"}
YES: list[tuple[str, Callable[[Scene], None], dict[str, Any], float]] = [
    *(("vm.running", nothing, view, 1.0) for view in BOTH),
    ("vm.works", nothing, {}, 1.0),
    *(("vm.locked", nothing, view, 0.0) for view in BOTH),
    ("host.safe", nothing, {}, 1.0),
    ("host.sealed", nothing, {}, 1.0),
    ("host.persists", persisting, {}, 1.0),
    ("host.connected", nothing, {}, 1.0),
    ("host.up", nothing, {}, 1.0),
    ("host.halted", nothing, {}, 0.0),
    ("host.security_violation", nothing, {}, 0.0),
    ("host.security_violation", damaged, {}, 0.0),
    ("dump.readable", dumped, {}, 1.0),
    ("key.available", nothing, {}, 1.0),
    ("provider.green", nothing, {}, 1.0),
    ("node.internal_errors", nothing, {}, 0.0),
    ("vm.back_within", booted(3.0, 0), {}, 3.0),
    ("vm.kms_calls", booted(3.0, 0), {}, 0.0),
    ("kms.busiest_second", storm(), {}, 0.0),
    ("op.ok", tried(4, 0), {}, 1.0),
    ("op.p99", tried(2, 0, (1.0, 2.0)), {"op": "key.create"}, 2.0),
]
NO: list[tuple[str, Callable[[Scene], None], dict[str, Any], float]] = [
    *(("vm.running", power_off, view, 0.5) for view in BOTH),
    ("vm.running", dark, {"view": "host"}, 0.5),
    ("vm.running", no_vcenter, {"view": "vcenter"}, 0.0),
    ("vm.running", dark_for_long, {"view": "vcenter"}, 0.5),
    ("vm.works", power_off, {}, 0.5),
    ("vm.works", dark, {}, 0.5),
    ("vm.works", overwritten, {}, 0.5),
    ("vm.works", locked, {}, 0.5),
    *(("vm.locked", locked, view, 0.5) for view in BOTH),
    ("vm.locked", locked_unseen, {"view": "host"}, 0.5),
    ("vm.locked", locked_unseen, {"view": "vcenter"}, 0.0),
    ("host.safe", dark, {}, 0.5),
    ("host.safe", locked, {}, 0.5),
    ("host.sealed", dark, {}, 0.5),
    ("host.persists", nothing, {}, 0.0),
    ("host.connected", no_vcenter, {}, 0.0),
    ("host.connected", dark_for_long, {}, 0.5),
    ("host.up", dark, {}, 0.5),
    ("host.up", halted, {}, 0.5),
    ("host.halted", halted, {}, 0.5),
    ("host.halted", damaged, {}, 0.5),
    ("host.security_violation", halted, {}, 0.5),
    ("dump.readable", dump_closed, {}, 0.5),
    ("dump.readable", dark, {}, 0.0),
    ("key.available", destroyed, {}, 0.5),
    ("key.available", no_key_server, {}, 0.0),
    ("key.available", no_vcenter, {}, 0.0),
    ("provider.green", no_key_server, {}, 0.0),
    ("provider.green", no_vcenter, {}, 0.0),
    ("node.internal_errors", broken_service, {}, 1.0),
    ("vm.back_within", booted(math.inf, None), {}, math.inf),
    ("vm.kms_calls", booted(3.0, 2), {}, 2.0),
    ("kms.busiest_second", storm(FIRST, SECOND), {}, 6.0),
    ("op.ok", tried(3, 1), {}, 0.75),
    ("op.p99", tried(2, 0, (1.0, 90.0)), {"op": "key.create"}, 90.0),
]
BLIND: list[tuple[str, Callable[[Scene], None]]] = [
    ("vm.back_within", nothing),
    ("vm.kms_calls", nothing),
    ("vm.kms_calls", booted(3.0, None)),
    ("kms.busiest_second", nothing),
    ("kms.busiest_second", unasked),
    ("op.ok", nothing),
    ("op.p99", tried(0, 3)),
]


@pytest.mark.parametrize("case", [*YES, *NO], ids=lambda c: f"{c[0]} {c[1].__name__} {c[3]:g}")
def test_what_it_measures(
    scene: Scene, case: tuple[str, Callable[[Scene], None], dict[str, Any], float]
) -> None:
    probe, act, about, value = case
    act(scene)
    assert scene.measure(probe, **about).value == value


@pytest.mark.parametrize(("probe", "act"), BLIND)
def test_where_there_is_nothing_to_measure_it_says_so(
    scene: Scene, probe: str, act: Callable[[Scene], None]
) -> None:
    act(scene)
    found = scene.measure(probe)
    assert math.isnan(found.value) and found.detail


DETAILS: list[tuple[str, Callable[[Scene], None], dict[str, Any], str]] = [
    ("vm.running", nothing, {}, "all 2"),
    ("vm.running", power_off, {"view": "vcenter"}, "not: vm-01"),
    ("vm.locked", nothing, {}, "locked: none"),
    ("vm.locked", locked, {}, "locked: vm-01"),
    ("vm.locked", all_locked, {}, "locked: vm-01, vm-02"),
    ("host.up", halted, {}, "not: esxi-001"),
    ("key.available", no_vcenter, {}, "vCenter does not answer"),
    ("provider.green", no_vcenter, {}, "vCenter does not answer"),
    ("provider.green", nothing, {}, "all 1"),
    ("provider.green", no_key_server, {}, "not: kms-provider"),
    ("node.internal_errors", nothing, {}, ""),
    ("node.internal_errors", broken_service, {}, "esxi-001: 1"),
    ("node.internal_errors", broken_services, {}, "esxi-001: 1, esxi-002: 1"),
    ("vm.back_within", booted(3.0, 0), {}, "worst: esxi-001 (boot 2)"),
    ("vm.back_within", lost, {}, "worst: esxi-001 (boot 3): vm-01, vm-02 never ran again"),
    ("vm.back_within", nothing, {}, "no host with running VMs booted"),
    ("vm.kms_calls", booted(3.0, 2), {}, "1 recoveries"),
    ("vm.kms_calls", nothing, {}, "no recovery was counted from its begin to its end"),
    ("kms.busiest_second", storm(FIRST), {}, "keys in a second"),
    ("kms.busiest_second", nothing, {}, "no host booted, or a key server could not be asked"),
    ("op.ok", nothing, {}, "no operation was tried"),
    ("op.ok", tried(3, 1), {}, "3 ok, 1 not"),
    ("op.ok", tried(3, 1), {"op": "vm.encrypt"}, "no operation was tried"),
    ("op.p99", nothing, {}, "no operation ended well"),
    ("op.p99", tried(2, 0, (1.0, 2.0)), {}, "of 2"),
    ("op.p99", tried(2, 0, (1.0, 2.0)), {"op": "vm.encrypt"}, "no operation ended well"),
]


@pytest.mark.parametrize("case", DETAILS, ids=lambda c: f"{c[0]} {c[3]}")
def test_what_its_value_is_made_of(
    scene: Scene, case: tuple[str, Callable[[Scene], None], dict[str, Any], str]
) -> None:
    probe, act, about, detail = case
    act(scene)
    assert scene.measure(probe, **about).detail == detail


def test_of_many_that_fail_five_are_named(scene: Scene) -> None:
    for missing, shown in ((5, ""), (6, " and 1 more"), (8, " and 3 more")):
        scene.scope = Scope(vms=tuple(VmName(f"no-{n}") for n in range(missing)))
        names = "no-0, no-1, no-2, no-3, no-4"
        assert scene.measure("vm.running") == Measured(0.0, f"not: {names}{shown}")


def test_where_nothing_is_selected_there_is_nothing_to_measure(scene: Scene) -> None:
    scene.scope = Scope()
    for probe in ("vm.running", "vm.works", "host.safe", "host.up", "host.connected"):
        found = scene.measure(probe)
        assert math.isnan(found.value) and found.detail == "there is nothing to measure"
    found = scene.measure("vm.locked")
    assert math.isnan(found.value) and found.detail == "no VM is encrypted"


@pytest.mark.parametrize(("values", "p99"), [(1, 0), (99, 98), (100, 98), (101, 99), (200, 197)])
def test_the_99th_percentile_is_the_least_that_99_in_100_are_not_above(
    scene: Scene, values: int, p99: int
) -> None:
    taken = [float(n) for n in range(values)]
    scene.sources.operations.seconds["a"] = taken[::2]
    scene.sources.operations.seconds["b"] = taken[1::2]
    assert scene.measure("op.p99").value == p99


def test_operations_of_all_kinds_are_counted_unless_one_is_named(scene: Scene) -> None:
    operations = scene.sources.operations
    operations.ok.update({"a": 3, "b": 1})
    operations.other.update({"b": 2, "c": 2})
    assert scene.measure("op.ok") == Measured(0.5, "4 ok, 4 not")
    assert scene.measure("op.ok", op="b") == Measured(1 / 3, "1 ok, 2 not")
    assert scene.measure("op.ok", op="c") == Measured(0.0, "0 ok, 2 not")


def test_boots_of_other_hosts_are_not_counted(scene: Scene) -> None:
    booted(3.0, 1)(scene)
    scene.scope = Scope(hosts=(SECOND,))
    assert math.isnan(scene.measure("vm.back_within").value)
    assert math.isnan(scene.measure("vm.kms_calls").value)


def test_every_probe_has_a_world_of_each_kind() -> None:
    here = set(PROBES) - OF_VSAN
    assert {case[0] for case in YES} == {case[0] for case in NO} == here
    for name in here:
        seen = {case[3] for case in (*YES, *NO) if case[0] == name}
        assert len(seen) > 1, f"{name} is not told from another value"


def test_a_vm_that_nobody_has_does_not_run_and_does_not_work(scene: Scene) -> None:
    scene.scope = Scope(vms=(VM, VmName("vm-99")))
    assert scene.measure("vm.running").value == 0.5
    found = scene.measure("vm.works")
    assert found.value == 0.5 and "vm-99 (no host answers for it)" in found.detail


def test_a_vm_in_clear_is_not_asked_whether_it_is_locked(scene: Scene) -> None:
    lab = scene.world.lab
    cluster = next(e.cluster for e in lab.directory().nodes if e.node == FIRST)
    clear = VmName("clear")
    scene.run(lab.ask(lab.vcenter, CreateVm(operation_id="c", vm=clear, cluster=cluster)))
    scene.scope = Scope(vms=(clear,))
    for view in BOTH:
        assert math.isnan(scene.measure("vm.locked", **view).value)
    found = scene.measure("key.available")
    assert math.isnan(found.value) and found.detail == "there is nothing to measure"


def test_only_the_keys_of_selected_vms_are_asked_for(scene: Scene) -> None:
    destroyed(scene)
    scene.scope = Scope(vms=(OTHER,))
    assert scene.measure("key.available") == Measured(1.0, "all 1")


def test_a_guest_that_was_never_filled_is_not_counted_as_one_that_works(scene: Scene) -> None:
    fresh = Guests(scene.world.lab, Draws(1, "others"))
    scene.sources = Sources(fresh, scene.sources.recoveries, scene.sources.operations)
    assert scene.measure("vm.works").value == 0.0


def test_nodes_that_never_ran_have_had_no_errors(scene: Scene) -> None:
    lab = SimLab(plan(load("default", tpm="model")), seed=1)
    lab.run(lab.start())
    about = LabLook(lab), scene.scope, scene.sources
    measuring: Any = PROBES["node.internal_errors"].measure(*about)
    assert lab.run(measuring) == Measured(0.0)
    lab.loop.close()


def test_the_worst_of_several_boots_is_told(scene: Scene) -> None:
    booted(3.0, 1)(scene)
    booted(70.0, 2)(scene)
    assert scene.measure("vm.back_within").value == 70.0
    assert scene.measure("vm.kms_calls").value == 3.0
