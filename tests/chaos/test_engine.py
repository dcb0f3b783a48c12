"""The engine on a simulated lab: each class of verdict, and everything healed on every path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaos.checks.result import CheckOutcome
from chaos.experiment.lint import check_experiment, read_experiment
from chaos.experiment.plan import Plan, dump_plan, load_plan
from chaos.experiment.resolve import plan
from chaos.faults import EFFECTS
from chaos.faults.links import LinkCutFault
from chaos.history import History, verify
from chaos.keeper import FaultKeeper
from chaos.oracle.fold.disturbances import Disturbances, FaultPhase
from chaos.playing.engine import run
from chaos.report.phases import bands, phases
from chaos.verdict import Verdict
from protocol.errors import InvalidState
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName
from tests.chaos.worlds import Limp, World, limp

SHIPPED = Path(__file__).parents[2] / "chaos" / "experiments"
pytestmark = pytest.mark.sim
HEAD = """\
apiVersion: keystead/v1
kind: Experiment
name: small
title: A small one
topology: {use: default}
"""
CUT = """\
hypothesis:
  before: [{probe: vm.works, is: "== 100%"}]
  during: [{probe: vm.running, is: "== 100%"}]
  recover: {within: 30s}
  after: [{probe: provider.green, is: "== 100%"}, {probe: vm.works, is: "== 1"}]
schedule:
  - {id: wan, at: 5s, for: 20s, fault: link.cut, between: [vcenter, kms]}
"""
DARK = "  - {id: dark, at: 6s, for: 12s, fault: host.power_loss, on: esxi-001}\n"


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=2)
    yield made
    made.close()


def planned(world: World, rest: str, seed: int = 7) -> Plan:
    return plan(check_experiment(HEAD + rest, "x.yaml"), world.lab.directory(), seed)


def play(
    world: World, made: Plan, lab: Any = None, keeper: FaultKeeper | None = None, **options: Any
) -> tuple[Verdict, History]:
    history = History(None, world.lab.monotonic)
    work = run(made, lab or world.lab, keeper or world.keeper, history, **options)
    return world.run(work), history


def result_of(verdict: Verdict, name: str) -> CheckOutcome:
    return next(check.result for check in verdict.checks if name in check.name)


def all_well(world: World) -> bool:
    """No fault is listed, no rule is wanted, every node runs."""
    states = [
        world.run(world.lab.status(entry.node)).state for entry in world.lab.directory().nodes
    ]
    well = all(state is NodeRunState.RUNNING for state in states)
    return well and not world.keeper.active() and not world.lab.rules()


def test_a_harmless_cut_passes(world: World) -> None:
    verdict, history = play(world, planned(world, CUT))
    assert (verdict.verdict, verdict.exit_code, verdict.reasons) == ("pass", 0, ())
    kinds = [(r.type, r.op) for r in history.records if r.type in ("fault", "heal")]
    assert kinds == [("fault", "link.cut"), ("heal", "heal")]
    assert history.records[-1].type == "end"
    assert all_well(world)


def test_a_hypothesis_that_does_not_hold_at_first_injects_nothing(world: World) -> None:
    verdict, history = play(
        world, planned(world, CUT.replace('vm.works, is: "== 100%"', 'vm.locked, is: "== 1"', 1))
    )
    assert (verdict.verdict, verdict.exit_code) == ("not steady", 3)
    assert verdict.reasons[0].startswith("KS-CHAOS-201: ")
    assert not [r for r in history.records if r.type == "fault"]


def test_a_lab_that_just_fits_is_played_on(world: World) -> None:
    needs = "requires: {hosts: 2, provider: standard, tpm: model, persistence: off}\n"
    assert play(world, planned(world, needs + CUT))[0].exit_code == 0


@pytest.mark.parametrize("need", ["hosts: 3", "tpm: real", "persistence: on"])
def test_a_lab_that_does_not_fit_is_not_touched(world: World, need: str) -> None:
    verdict, history = play(world, planned(world, f"requires: {{{need}}}\n" + CUT))
    assert verdict.exit_code == 3
    assert verdict.checks[0].name == "requires"
    assert verdict.reasons[0].startswith("KS-CHAOS-015: requires: ")
    assert not [r for r in history.records if r.type == "fault"]


def test_a_violated_hypothesis_fails(world: World) -> None:
    text = CUT.replace("link.cut, between: [vcenter, kms]", "host.power_loss, on: esxi-001")
    verdict, _ = play(world, planned(world, text))
    assert (verdict.verdict, verdict.exit_code) == ("fail", 1)
    assert result_of(verdict, "during vm.running") is CheckOutcome.FAIL
    assert all_well(world)


def test_a_missed_recovery_bound_has_a_code_of_its_own(world: World) -> None:
    text = """\
hypothesis:
  recover: {within: 1s}
  after: [{probe: vm.running, is: "== 100%"}, {probe: vm.locked, is: "== 100%"}]
schedule: [{at: 1s, for: 1s, fault: broker.restart}]
"""
    verdict, _ = play(world, planned(world, text))
    assert (verdict.verdict, verdict.exit_code) == ("fail", 6)
    assert "vm.locked" in verdict.reasons[0]


def test_what_was_never_measured_is_unknown(world: World) -> None:
    text = """\
hypothesis: {after: [{probe: vm.back_within, is: "<= 60s"}]}
schedule: [{at: 1s, for: 1s, fault: broker.restart}]
"""
    verdict, _ = play(world, planned(world, text))
    assert (verdict.verdict, verdict.exit_code) == ("unknown", 2)


def test_a_fault_that_does_not_bite_is_an_error_not_a_result(world: World) -> None:
    lab, keeper = limp(world, put_rules=None)
    verdict, history = play(world, planned(world, CUT), lab, keeper)
    assert (verdict.verdict, verdict.exit_code) == ("error", 5)
    assert "KS-CHAOS-101" in verdict.reasons[0]
    assert [r.data.get("error", "")[:12] for r in history.records if r.type == "fault"] == [
        "KS-CHAOS-101"
    ]


def test_a_fault_begins_when_it_is_done_and_its_bite_is_a_moment_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a lab at pace 30 a look for the bite takes minutes of the lab."""
    bites = LinkCutFault.bites

    async def looks_for_a_minute(self: LinkCutFault, lab: Any, notes: Any) -> str:
        await lab.sleep(63.0)
        return await bites(self, lab, notes)

    monkeypatch.setattr(LinkCutFault, "bites", looks_for_a_minute)
    made = planned(
        world, CUT.replace("for: 20s", "for: 90s") + DARK.replace("for: 12s", "for: 80s")
    )
    _, history = play(world, made)
    found = {band.id: band for band in bands(history.records)}
    assert found["wan"].began == pytest.approx(5.0, abs=0.5)
    assert found["wan"].bit == pytest.approx(69.0, abs=1.0)
    assert [band.id for band in bands(history.records)] == ["wan", "dark"]
    phases_of = phases(history.records)
    assert phases_of.fault == pytest.approx(5.0, abs=0.5)
    # The oracle takes it as certain from its bite on only.
    fold = Disturbances(EFFECTS)
    certain = []
    for record in history.records:
        fold.take(record)
        if "wan" in fold.there and fold.there["wan"].phase is FaultPhase.ON:
            certain.append(record.t)
    assert min(certain) == found["wan"].bit


def test_a_drawn_fault_that_is_half_made_is_in_force_until_it_is_seen_gone(world: World) -> None:
    """The rules are there, and their answer is lost; so is that of the first heals."""
    bad: Any = Limp(world.lab)
    since = world.lab.monotonic()

    def lost_until(seconds: float, verb: str) -> None:
        real = getattr(world.lab, verb)

        async def done(*given: Any) -> Any:
            if verb == "put_rules" or world.lab.monotonic() >= since + seconds:
                await real(*given)
            if world.lab.monotonic() < since + seconds:
                raise InvalidState("the answer is lost")

        setattr(bad, verb, done)

    lost_until(15.0, "put_rules")
    lost_until(30.0, "drop_rules")
    made = planned(world, CUT)
    drawn = [msgspec.structs.replace(fault, drawn=True) for fault in made.faults]
    verdict, history = play(
        world, msgspec.structs.replace(made, faults=tuple(drawn)), bad, FaultKeeper(bad)
    )
    assert not verdict.reasons
    [begun] = [r for r in history.records if r.type == "fault"]
    healed = [r for r in history.records if r.type == "heal" and r.data["verified"]]
    assert set(begun.data["nodes"]) == {"vcenter", "kms"} and "error" not in begun.data
    assert [r.data["id"] for r in healed] == ["wan"] and not world.lab.rules()


def test_a_heal_that_is_not_seen_is_an_error(world: World) -> None:
    lab, keeper = limp(world, drop_rules=None)
    verdict, _ = play(world, planned(world, CUT), lab, keeper)
    assert verdict.exit_code == 5
    assert any("KS-CHAOS-103" in reason for reason in verdict.reasons)
    assert result_of(verdict, "no_fault_left") is CheckOutcome.FAIL
    world.run(world.lab.drop_rules("wan"))


def test_reaching_outside_the_simulation_voids_the_run(world: World) -> None:
    verdict, _ = play(world, planned(world, CUT), escapes=lambda: ["socket.connect"])
    assert verdict.exit_code == 5
    assert verdict.reasons == ("KS-CHAOS-205: socket.connect",)


def test_a_doubt_of_the_lab_makes_a_run_neither_pass_nor_fail(world: World) -> None:
    verdict, _ = play(world, planned(world, CUT), doubts=lambda: ["KS-AGENT-010: a clock"])
    assert (verdict.exit_code, verdict.reasons) == (5, ("KS-AGENT-010: a clock",))


def test_a_history_that_could_not_be_written_is_an_error_and_all_is_healed(
    world: World, tmp_path: Path
) -> None:
    history = History(tmp_path / "history", world.lab.monotonic)
    real = history.add

    def add(type: str, node: str = "", **data: Any) -> Any:
        if type == "fault":
            history.refused = OSError(28, "No space left on device")
        return real(type, node, **data)

    history.add = add  # type: ignore[method-assign]
    made = planned(world, CUT)
    verdict = world.run(run(made, world.lab, world.keeper, history))
    assert verdict.exit_code == 5
    told = f"KS-CHAOS-206: {history.path}: No space left on device"
    assert verdict.reasons == (told,)
    assert world.keeper.active() == ()


def test_a_run_that_takes_too_long_is_stopped_and_healed(world: World) -> None:
    made = msgspec.structs.replace(planned(world, CUT), max_duration_s=12.0)
    verdict, _ = play(world, made)
    assert verdict.exit_code == 5
    assert "KS-CHAOS-203" in verdict.reasons[0]
    assert all_well(world)


def test_a_fault_that_lapses_in_the_middle_is_an_error(world: World) -> None:
    """Another controller takes the fault away; the run notices at the fault's end."""

    async def both() -> Verdict:
        history = History(None, world.lab.monotonic)
        made = planned(world, CUT)
        task = asyncio.get_running_loop().create_task(run(made, world.lab, world.keeper, history))
        while not world.keeper.active() or world.keeper.active()[0].state != "active":
            await world.lab.sleep(0.5)
        await world.keeper.heal("wan")
        return await task

    verdict = world.run(both())
    assert verdict.exit_code == 5
    assert "KS-CHAOS-202" in verdict.reasons[0]


@pytest.mark.parametrize("after", [0.5, 8.0, 20.0, 34.0])
def test_interrupted_at_any_time_it_heals_and_says_130(world: World, after: float) -> None:
    text = CUT + DARK

    async def interrupted() -> Verdict:
        history = History(None, world.lab.monotonic)
        work = run(planned(world, text), world.lab, world.keeper, history)
        task = asyncio.get_running_loop().create_task(work)
        await world.lab.sleep(after)
        task.cancel()
        return await task

    verdict = world.run(interrupted())
    assert (verdict.verdict, verdict.exit_code) == ("interrupted", 130)
    assert all_well(world)


def interrupted_with_two_faults(world: World, lab: Any) -> tuple[Verdict, set[str]]:
    """The verdict, and the faults that the history has as healed."""
    history, keeper = History(None, world.lab.monotonic), FaultKeeper(lab)

    async def interrupted() -> Verdict:
        work = run(planned(world, CUT + DARK), lab, keeper, history)
        task = asyncio.get_running_loop().create_task(work)
        await world.lab.sleep(12.0)
        assert [active.fault.id for active in keeper.active()] == ["wan", "dark"]
        task.cancel()
        return await task

    verdict = world.run(interrupted())
    assert keeper.active() == ()
    return verdict, {r.data["id"] for r in history.records if r.type == "heal"}


def test_each_fault_that_the_end_of_a_run_takes_back_is_in_its_history(world: World) -> None:
    verdict, healed = interrupted_with_two_faults(world, world.lab)
    assert (verdict.exit_code, verdict.left) == (130, ())
    assert healed == {"wan", "dark"}


def test_what_could_not_be_healed_at_first_is_tried_once_more_and_is_not_left(
    world: World,
) -> None:
    """The host cannot be powered on while the other fault stands, as one that waits for it."""
    bad: Any = Limp(world.lab)
    real = world.lab.power_on

    async def power_on(node: NodeName, *given: Any, **options: Any) -> Any:
        if world.lab.rules():
            raise InvalidState("not yet")
        return await real(node, *given, **options)

    bad.power_on = power_on
    verdict, healed = interrupted_with_two_faults(world, bad)
    assert (verdict.exit_code, verdict.left) == (130, ())
    assert healed == {"wan", "dark"}


def test_a_heal_that_an_error_cut_off_is_in_the_history_too(world: World) -> None:
    """The task of one fault is cancelled by the error of another while the keeper writes down
    that the first one is gone."""
    bad: Any = Limp(world.lab)
    history = History(None, world.lab.monotonic)

    async def save(listed: bytes) -> None:
        if b"wan" not in listed and world.lab.monotonic() > 20.0:
            await world.lab.sleep(5.0)

    keeper = FaultKeeper(bad, save=save)
    made = msgspec.structs.replace(planned(world, CUT), max_duration_s=27.0)
    verdict = world.run(run(made, bad, keeper, history))
    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["KS-CHAOS-203"]
    assert result_of(verdict, "no_fault_left") is CheckOutcome.PASS
    [healed] = [record for record in history.records if record.type == "heal"]
    assert (healed.data["id"], healed.data["verified"]) == ("wan", True)


def test_an_irreversible_fault_stays_and_says_its_cure(world: World) -> None:
    text = """\
guards: {blast_radius: {provider.delete: 1}}
hypothesis: {after: [{probe: vm.running, is: "== 100%"}]}
schedule: [{id: gone, at: 1s, for: 2s, fault: provider.delete}]
"""
    verdict, _ = play(world, planned(world, text))
    assert verdict.exit_code == 0
    assert [left.id for left in verdict.left] == ["gone"]
    assert "exactly the name" in verdict.left[0].cure
    cured = text.replace("for: 2s,", "for: 2s, cure: true,")
    world.run(world.keeper.heal_all(with_cure=True))
    verdict, _ = play(world, planned(world, cured))
    assert (verdict.exit_code, verdict.left) == (0, ())


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("duration: 5s\nschedule: []\n", 2),
        ("duration: 5s\nschedule: [{random: {every: 1h, for: 2s, until: 5s}}]\n", 2),
        ("duration: 5s\nworkload: [{op: key.create, at: 1s}]\nschedule: []\n", 0),
    ],
)
def test_a_run_that_does_nothing_proves_nothing(world: World, rest: str, code: int) -> None:
    held = "hypothesis: {after: [{probe: host.up, is: '== 100%'}]}\n"
    made = planned(world, held + rest)
    assert not made.entries()
    verdict, _ = play(world, made)
    assert verdict.exit_code == code, verdict.reasons
    told = [c.text for c in verdict.checks if c.name == "schedule"]
    nothing = "nothing was done to the lab: no fault, no action and no operation"
    assert told == ([nothing] if code else [])


def test_the_workload_is_open_and_told_in_full(world: World) -> None:
    text = """\
workload:
  - {op: guest.challenge, rate: 0.5/s}
  - {op: key.create, rate: 0.2/s}
  - {op: vm.encrypt, rate: 0.05/s}
  - {op: vm.power_cycle, rate: 0.05/s, on: vm-02}
  - {op: vm.off_on, rate: 0.1/s, on: vm-01}
hypothesis: {after: [{probe: op.ok, is: "== 100%"}, {probe: op.p99, is: "< 60s"}]}
duration: 60s
schedule: []
"""
    made = planned(world, text)
    verdict, history = play(world, made)
    assert verdict.exit_code in (0, 1)  # a challenge may meet a VM that is off in its cycle
    invoked = {r.data["n"] for r in history.records if r.type == "invoke"}
    ended = {r.data["n"] for r in history.records if r.type in ("ok", "fail", "info")} - {0}
    assert invoked == ended == {a.number for a in made.arrivals}
    assert result_of(verdict, "acked_key_recoverable") is CheckOutcome.PASS
    assert result_of(verdict, "acked_vm_known") is CheckOutcome.PASS
    assert result_of(verdict, "accepted_order_kept") is CheckOutcome.PASS
    assert result_of(verdict, "guests_read_back") is CheckOutcome.PASS


def test_the_same_seed_gives_the_same_run_and_a_stored_plan_replays_it(tmp_path: Path) -> None:
    def once(path: Path, stored: bytes | None = None) -> tuple[Verdict, Plan]:
        world = World(hosts=2, vms=2, seed=5)
        text = CUT + "workload: [{op: guest.challenge, rate: 0.5/s}]\n"
        made = load_plan(stored) if stored else planned(world, text, seed=5)
        history = History(path, world.lab.monotonic)
        trace = world.lab.loop.trace.hash
        verdict = world.run(run(made, world.lab, world.keeper, history, trace=trace))
        world.close()
        return verdict, made

    first, made = once(tmp_path / "1.msgpack")
    second, _ = once(tmp_path / "2.msgpack")
    third, _ = once(tmp_path / "3.msgpack", dump_plan(made))
    assert first == second == third
    assert first.exit_code == 0
    assert (tmp_path / "1.msgpack").read_bytes() == (tmp_path / "2.msgpack").read_bytes()
    assert verify(tmp_path / "3.msgpack")[-1].data["trace"]


def shipped(name: str, **changes: Any) -> Verdict:
    found = read_experiment(SHIPPED / f"{name}.yaml")
    world = World(seed=7, use=found.topology["use"], **(found.topology["with"] | changes))
    try:
        made = plan(found, world.lab.directory(), 7)
        verdict, _ = play(world, made)
        assert all_well(world)
        return verdict
    finally:
        world.close()


@pytest.mark.slow
def test_the_edge_passes_and_without_persistence_it_fails() -> None:
    assert shipped("edge-outage-reboot").exit_code == 0
    control = shipped("edge-outage-reboot", key_persistence=False)
    assert control.exit_code == 1
    assert result_of(control, "vm.back_within") is CheckOutcome.FAIL
    assert result_of(control, "needs_no_kms") is CheckOutcome.FAIL


@pytest.mark.slow
def test_the_outage_passes_and_with_persistence_it_fails() -> None:
    assert shipped("outage-without-persistence").exit_code == 0
    control = shipped("outage-without-persistence", key_persistence=True)
    assert control.exit_code == 1
    assert result_of(control, "during vm.locked") is CheckOutcome.FAIL


@pytest.mark.slow
@pytest.mark.tpm
def test_the_edge_on_real_tpms() -> None:
    assert shipped("edge-outage-reboot", tpm="libtpms").exit_code == 0
