"""A run writes down what happened, and what it could not see it does not call good."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chaos.checks.keys.nothing_left import nothing_left
from chaos.checks.no_internal_error import no_internal_error
from chaos.checks.result import CheckOutcome
from chaos.draws import Draws
from chaos.experiment.lint import BadExperiment, check_experiment
from chaos.experiment.plan import Plan, PlannedProbe
from chaos.experiment.resolve import plan
from chaos.faults import make_fault
from chaos.history import History
from chaos.hypotheses.probes import PROBES, Measured, Scope, Sources, tolerance
from chaos.observe.audit import AuditTail
from chaos.observe.boots import EVERY_S, Recoveries
from chaos.observe.guests import Guests
from chaos.observe.key_values import Remains
from chaos.observe.look import LabLook
from chaos.observe.states import States
from chaos.playing.engine import run
from chaos.playing.measure import Hypotheses, RunWatch
from chaos.verdict import Verdict
from chaos.workload import OPERATIONS, Arrival, Means, perform
from chaos.workload.base import OperationCounts
from lab.forensics.forensics import Forensics
from protocol.errors import (
    AlreadyExists,
    InvalidPowerState,
    InvalidState,
    NotSent,
    ProductError,
    TimedOut,
)
from protocol.messages.host.session import Esxcli
from protocol.messages.host.vms import GuestAnswer, GuestChallenge
from protocol.messages.vcenter.inventory import DisconnectHost
from protocol.messages.vcenter.providers import GenerateKey, ListKmsClusters
from protocol.messages.vcenter.vms import (
    CreateVm,
    CryptoUnlock,
    DestroyVm,
    EncryptVm,
    MigrateVm,
    PowerOffVm,
    PowerOnVm,
    RecryptVm,
    RegisterVm,
    UnregisterVm,
)
from protocol.terms import NodeName, VmName
from tests.chaos.bad_labs import Bad
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
VM = VmName("vm-01")
HEAD = """\
apiVersion: keystead/v1
kind: Experiment
name: small
title: A small one
topology: {use: default}
"""
QUIET = """\
workload: [{op: key.create, at: 1s}]
hypothesis: {after: [{probe: vm.running, is: '== 100%'}]}
duration: 2s
schedule: []
"""


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=2)
    yield made
    made.close()


def planned(world: World, rest: str) -> Plan:
    return plan(check_experiment(HEAD + rest, "x.yaml"), world.lab.directory(), 7)


# Operations ----------------------------------------------------------------------------------

FIRST_STEP: dict[str, Any] = {
    "vm.power_cycle": PowerOffVm,
    "vm.off_on": PowerOffVm | PowerOnVm,
    "vm.encrypt": CreateVm,
    "guest.challenge": GuestChallenge,
    "vm.move": PowerOffVm,
    "vm.migrate": MigrateVm,
    "vm.recrypt": RecryptVm,
    "vm.recrypt_deep": PowerOffVm,
    "vm.come_and_go": CreateVm,
    "vm.unlock": CryptoUnlock,
    "vm.live": CreateVm,
    "keyprovider.live": ListKmsClusters,
    "host.console": Esxcli,
    "host.reconnect": DisconnectHost,
    "esx.persistence.off_on": Esxcli,
}
SECOND_STEP: dict[str, Any] = {
    "vm.power_cycle": PowerOnVm,
    "vm.off_on": PowerOnVm,
    "key.create": GenerateKey,
    "vm.encrypt": EncryptVm,
    "vm.move": RegisterVm,
    "vm.recrypt_deep": RecryptVm,
    "vm.come_and_go": DestroyVm,
    "vm.live": DestroyVm,
}
ENDS = [
    *((op, step, InvalidPowerState("no"), "fail") for op, step in FIRST_STEP.items()),
    *((op, step, TimedOut("silence"), "info") for op, step in FIRST_STEP.items()),
    *((op, step, TimedOut("silence"), "info") for op, step in SECOND_STEP.items()),
    ("vm.power_cycle", PowerOnVm, InvalidPowerState("no"), "info"),
    ("vm.off_on", PowerOnVm, InvalidPowerState("no"), "info"),
    ("vm.encrypt", EncryptVm, AlreadyExists("no"), "info"),
    ("vm.recrypt_deep", RecryptVm, InvalidState("no"), "info"),
    ("vm.recrypt_deep", PowerOnVm, InvalidState("no"), "info"),
    ("vm.move", UnregisterVm, InvalidPowerState("no"), "info"),
    ("vm.move", PowerOnVm, InvalidState("no"), "info"),
    ("vm.come_and_go", DestroyVm, InvalidState("no"), "info"),
    ("key.create", GenerateKey, NotSent("no way out"), "fail"),
]
"""An operation ends ``fail`` only when it certainly had no effect: what may have happened, and
what had its first half done, is ``info``."""


def refusing(world: World, step: Any, error: ProductError) -> Any:
    bad: Any = Bad(world)
    real = bad.ask

    async def ask(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        if isinstance(message, step):
            raise error
        return await real(node, message, within_s=within_s)

    bad.ask = ask
    return bad


def done(world: World, lab: Any, op: str) -> tuple[str, OperationCounts]:
    """How one arrival ends in the history, and what is counted of it."""
    guests = Guests(lab, Draws(1, "guests"))
    for vm, (host, _) in world.run(LabLook(world.lab).vms()).items():
        assert world.run(guests.plant(vm, host)) == ""
    history, counted = History(None, lab.monotonic), OperationCounts()
    arrival = Arrival(at=0.0, op=op, target="vm-01", number=1)
    remains = Remains(history, Forensics(world.lab).keys_on)
    world.run(perform(Means(lab, guests, remains=remains), arrival, history, counted))
    ends = [record.type for record in history.records if record.type != "state"]
    assert ends[:-1] == ["invoke"] and not remains.bare
    return history.records[-1].type, counted


@pytest.mark.parametrize(("op", "step", "error", "kind"), ENDS)
def test_how_an_operation_ends(
    world: World, op: str, step: Any, error: ProductError, kind: str
) -> None:
    found, counted = done(world, refusing(world, step, error), op)
    assert found == kind
    assert (counted.ok.get(op, 0), counted.other.get(op, 0)) == (0, 1)


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op != "vm.restart"])
def test_an_operation_that_nothing_stops_ends_well(world: World, op: str) -> None:
    # In this lab there is nothing that ``vsan.live`` could be refused.
    known = {*FIRST_STEP, *SECOND_STEP, "vsan.live"}
    assert {op} <= known, "a new operation has a refused step here"
    found, counted = done(world, world.lab, op)
    assert found == "ok"
    assert (counted.ok[op], counted.other) == (1, {}) and len(counted.seconds[op]) == 1


def test_who_falls_by_itself_is_told_and_who_is_powered_off_is_not(world: World) -> None:
    history, host = History(None, world.lab.monotonic), NodeName("esxi-001")
    states = States(world.lab, history)

    def seen() -> list[str]:
        states.saw(world.run(world.lab.statuses(counters=False)))
        return [r.data["fell"] for r in history.records if "fell" in r.data]

    world.run(states.begin())
    world.run(world.lab.power_off(host, "power_loss"))
    assert seen() == []
    world.run(world.lab.power_on(host))
    world.run(world.lab.sleep(10))
    assert seen() == []
    world.lab.agent.machine(host).runner._crashed("background loop: KeyError")
    assert seen() == ["background loop: KeyError"]
    assert "esxi-001 fell: background loop: KeyError" in no_internal_error(history.records).text


def test_a_state_that_is_seen_late_says_for_how_long_its_node_was_not_seen(world: World) -> None:
    history, host = History(None, world.lab.monotonic), NodeName("esxi-001")
    states = States(world.lab, history)
    world.run(states.begin())
    for wait_s, seen in ((1.0, None), (7.0, 7.0)):
        world.run(world.lab.sleep(wait_s))
        world.run(world.lab.power_off(host, "power_loss"))
        states.saw(world.run(world.lab.statuses(counters=False)))
        (record,) = [r for r in history.records[-1:] if r.op == "node"]
        assert record.data.get("unseen") == (seen and pytest.approx(seen, abs=0.01))
        world.run(world.lab.power_on(host))
        states.saw(world.run(world.lab.statuses(counters=False)))


def test_boots_are_recorded_before_key_servers_are_asked_about_them(world: World) -> None:
    """A look at what has booted waits for a key server that stands still."""
    history, host, lab = History(None, world.lab.monotonic), NodeName("esxi-001"), world.lab
    watch, on_at = RunWatch(lab, history, 1, None), []

    async def boot() -> None:
        await lab.power_off(host, "power_loss")
        await lab.sleep(2.0)
        await lab.pause(NodeName("kms"))
        await lab.power_on(host, wait=False)
        on_at.append(history.at(lab.monotonic()))
        await lab.sleep(20.0)

    world.run(watch.begin())
    world.run(watch.during(boot()))
    seen = [r.t for r in history.records if (r.op, r.node) == ("node", host)]
    booting = min(t for t in seen if t >= on_at[0])
    assert booting - on_at[0] <= EVERY_S


def test_a_host_without_stored_keys_is_looked_at_until_it_has_them_again() -> None:
    """Its disk is opened as it was written and as it is synced; another look finds them again."""
    world = World(hosts=2, vms=2, key_persistence=True)
    history, guests = History(None, world.lab.monotonic), Guests(world.lab, Draws(1, "guests"))
    remains = Remains(history, Forensics(world.lab).keys_on)
    means = Means(world.lab, guests, remains=remains, look=States(world.lab, history).look)
    arrival = Arrival(at=0.0, op="esx.persistence.off_on", target="vm-01", number=1)
    world.run(perform(means, arrival, history, OperationCounts()))
    found = [r for r in history.records if r.op == "remains"]
    assert [r.data["when"] for r in found] == ["before", "answered", "held"]
    [before, *after] = [r.data for r in found]
    assert {path.split("/")[0] for path in before["keys"]} == {"written", "synced"}
    assert all(not data["keys"] and data["files"] == 2 and not data["closed"] for data in after)
    assert nothing_left(history.records).result is CheckOutcome.PASS
    host = NodeName(found[0].node)
    assert world.run(remains.look(host, "held")) > 0
    remains.bare[host] = None
    world.run(perform(means, arrival, history, OperationCounts()))
    assert history.records[-1].type == "fail", "it has none already"
    world.run(world.lab.power_off(host, "power_loss"))  # known from before is how to open it
    world.run(remains.end())
    assert history.records[-1].data["when"] == "end"
    assert nothing_left(history.records).result is CheckOutcome.FAIL
    blind = Remains(history, Forensics(world.lab).keys_on)
    world.run(blind.look(host, "held"))
    assert history.records[-1].data["closed"] == [
        "written/bootbank/state.tgz",
        "synced/bootbank/state.tgz",
    ]
    world.close()


# The end of a run ----------------------------------------------------------------------------


def play(world: World, made: Plan, lab: Any = None) -> tuple[Verdict, History]:
    history = History(None, world.lab.monotonic)
    return world.run(run(made, lab or world.lab, world.keeper, history)), history


def result_of(verdict: Verdict, name: str) -> CheckOutcome:
    return next(check.result for check in verdict.checks if name in check.name)


def test_every_guest_that_runs_reads_its_whole_disk_at_the_end(world: World) -> None:
    verdict, history = play(world, planned(world, QUIET))
    assert verdict.exit_code == 0 and verdict.tpms == ("model",)
    last = [r for r in history.records if r.op == "guest.challenge"]
    assert [(r.type, r.node) for r in last] == [("ok", "vm-01"), ("ok", "vm-02")]


def test_a_guest_whose_rewrite_was_lost_fails_the_run_at_its_end(world: World) -> None:
    """Nobody challenges it meanwhile: only the end can find it."""
    bad: Any = Bad(world)
    real = bad.ask

    async def ask(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        answer = await real(node, message, within_s=within_s)
        if isinstance(message, GuestChallenge) and message.vm == VM and 63 in message.blocks:
            return GuestAnswer(digest=bytes(32), rewritten=63, generation=1)
        return answer

    bad.ask = ask
    verdict, _ = play(world, planned(world, QUIET), bad)
    assert (verdict.verdict, verdict.exit_code) == ("fail", 1)
    assert result_of(verdict, "guests_read_back") is CheckOutcome.FAIL


def test_a_guest_that_does_not_answer_at_the_end_is_no_good_one(world: World) -> None:
    silent = refusing(world, GuestChallenge, TimedOut("silence"))
    verdict, history = play(world, planned(world, QUIET), silent)
    assert result_of(verdict, "guests_read_back") is CheckOutcome.UNKNOWN
    assert {r.type for r in history.records if r.op == "guest.challenge"} == {"info"}


# Probes of `during` --------------------------------------------------------------------------

YES, NO, BLIND = 1.0, 0.0, math.nan
SAMPLES = [
    ([YES] * 10, CheckOutcome.PASS),
    ([YES] * 5 + [BLIND] * 5, CheckOutcome.PASS),
    ([YES] * 4 + [BLIND] * 6, CheckOutcome.UNKNOWN),
    ([YES] + [BLIND] * 9, CheckOutcome.UNKNOWN),
    ([BLIND] * 10, CheckOutcome.UNKNOWN),
    ([YES] * 9 + [NO], CheckOutcome.FAIL),
    ([NO] + [YES] * 9, CheckOutcome.FAIL),
    ([BLIND] * 9 + [NO], CheckOutcome.FAIL),
]


@pytest.mark.parametrize(("values", "result"), SAMPLES)
def test_a_probe_that_was_mostly_blind_has_not_been_seen_to_hold(
    world: World, monkeypatch: pytest.MonkeyPatch, values: list[float], result: CheckOutcome
) -> None:
    assert sampled(world, monkeypatch, values, grace_s=0.0) is result


@pytest.mark.parametrize(
    ("values", "grace_s", "result"),
    [
        ([YES, NO, NO, YES, YES], 2.5, CheckOutcome.PASS),
        ([YES, NO, NO, NO, YES], 2.0, CheckOutcome.FAIL),
        ([YES, NO, YES, NO, YES], 1.5, CheckOutcome.PASS),
        ([YES, YES, NO, NO, NO], 2.0, CheckOutcome.FAIL),
    ],
)
def test_a_grace_bounds_how_long_a_probe_may_fail_at_a_time(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    values: list[float],
    grace_s: float,
    result: CheckOutcome,
) -> None:
    assert sampled(world, monkeypatch, values, grace_s=grace_s) is result


def sampled(
    world: World, monkeypatch: pytest.MonkeyPatch, values: list[float], *, grace_s: float
) -> CheckOutcome:
    """What one measurement a second comes to, of a probe that measures ``values`` in turn."""
    left = iter(values)

    async def scripted(look: LabLook, scope: Scope, sources: Sources) -> Measured:
        return Measured(next(left), "as scripted")

    probe = dataclasses.replace(PROBES["vm.running"], measure=scripted)
    monkeypatch.setitem(PROBES, "vm.running", probe)
    history = History(None, world.lab.monotonic)
    sources = Sources(
        Guests(world.lab, Draws(1, "g")), Recoveries(world.lab, history), OperationCounts()
    )
    made = msgspec.structs.replace(planned(world, QUIET), duration_s=len(values) - 0.5)
    hypotheses = Hypotheses(made, world.lab, history, sources)
    planned_probe = PlannedProbe(
        when="during",
        probe="vm.running",
        is_=tolerance("== 1"),
        every_s=1.0,
        grace_s=grace_s,
    )
    found = world.run(hypotheses.sample(planned_probe, world.lab.monotonic()))
    assert next(left, None) is None, "each value was measured"
    return found.result


# Guards --------------------------------------------------------------------------------------

GUARDED = """\
guards: {GUARDS}
hypothesis: {after: [{probe: vm.running, is: '== 100%'}]}
schedule:
  - {id: one, at: 0s, for: 5s, fault: host.reboot, on: esxi-001}
  - {id: two, at: 5s, for: 5s, fault: link.cut, between: [esxi-002, kms]}
"""


@pytest.mark.parametrize(
    ("fits", "over", "id"),
    [
        ("max_duration: 10s", "max_duration: 9.9s", "KS-CHAOS-013"),
        ("blast_radius: {hosts: 2}", "blast_radius: {hosts: 1}", "KS-CHAOS-012"),
        ("blast_radius: {hosts: 100%}", "blast_radius: {hosts: 99%}", "KS-CHAOS-012"),
        ("blast_radius: {kms: 1}", "blast_radius: {kms: 0}", "KS-CHAOS-012"),
        ("blast_radius: {vcenter: 0}", "", ""),
        ("blast_radius: {link.cut: 1}", "blast_radius: {link.cut: 0}", "KS-CHAOS-012"),
    ],
)
def test_a_guard_lets_pass_what_fits_and_nothing_more(
    world: World, fits: str, over: str, id: str
) -> None:
    planned(world, GUARDED.replace("GUARDS", fits))
    if over:
        with pytest.raises(BadExperiment) as caught:
            planned(world, GUARDED.replace("GUARDS", over))
        assert {problem.id for problem in caught.value.problems} == {id}


def test_a_run_is_over_at_its_limit_and_not_before(world: World) -> None:
    for limit_s, code in ((10.5, 0), (9.5, 5)):
        made = planned(world, QUIET.replace("2s", "10s"))
        verdict, _ = play(world, msgspec.structs.replace(made, max_duration_s=limit_s))
        assert verdict.exit_code == code


def test_a_fault_outlives_no_lease_that_nobody_renews(world: World) -> None:
    cut = make_fault("link.cut", "wan", {"between": ["vcenter", "kms"]}, world.lab.directory())
    world.run(world.keeper.inject(cut, lease_s=30.0))
    until = world.keeper.active()[0].until
    world.run(world.lab.sleep(until - world.lab.monotonic() - 0.5))
    assert world.run(world.keeper.lapse()).healed == ()
    world.run(world.lab.sleep(0.5))
    assert world.run(world.keeper.lapse()).healed == ("wan",)


# Audit trails --------------------------------------------------------------------------------


def test_each_row_of_an_audit_trail_is_read_once_and_blindness_is_told(world: World) -> None:
    bad: Any = Bad(world)
    tail = AuditTail(bad)

    def looked() -> tuple[int, bool]:
        return world.run(tail.position()), tail.blind

    first = world.run(tail.position())
    assert [row.sequence for row in tail.rows] == list(range(1, first + 1)) and first > 2
    assert looked() == (first, False)
    real = bad.ask

    async def silent(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        raise TimedOut("silence")

    bad.ask = silent
    assert looked() == (first, True)
    bad.ask = real
    assert looked()[1], "what was missed is not known, although the server answers again"
