"""Entries of a schedule: actions, repeats, batches, conditions, parameters, drawn faults."""

from __future__ import annotations

import pytest

from chaos.actions import ACTIONS
from chaos.experiment.lint import BadExperiment, check_experiment
from chaos.experiment.plan import Begun, Ended, Plan, Seen, dump_plan, load_plan, render
from chaos.experiment.resolve import plan
from tests.chaos.test_plan import DIRECTORY, HEAD

END = "checks: {add: [needs_no_kms]}\n"


def made(rest: str, seed: int = 4, **given: str) -> Plan:
    return plan(check_experiment(HEAD + END + rest, "x.yaml", given), DIRECTORY, seed)


def refused(rest: str, **given: str) -> list[tuple[int, str, str]]:
    """(line of ``rest``, id, text) of each problem."""
    with pytest.raises(BadExperiment) as caught:
        made(rest, 4, **given)
    above = (HEAD + END).count("\n")
    return [(p.place.line - above, p.id, p.text) for p in caught.value.problems]


def test_actions_stand_beside_faults_and_after_them() -> None:
    found = made("""\
schedule:
  - {id: wan, at: 30s, for: 5m, fault: link.cut, between: [vcenter, kms]}
  - {id: keep, after: wan + 10s, do: esx.persistence.enable, on: 2 of role:esxi, must: ok}
  - {at: 3s, do: provider.delete}
""")
    on = next(action for action in found.actions if action.id == "keep")
    assert (on.at, on.do, on.must, len(on.targets)) == (40.0, "esx.persistence.enable", "ok", 2)
    assert [a.id for a in found.actions] == ["provider-delete-3", "keep"]
    assert found.actions[0].targets == ("",)
    assert dump_plan(load_plan(dump_plan(found))) == dump_plan(found)
    for line in (
        "keep: esx.persistence.enable esxi-00",
        "must be ok",
        "3.000 s  provider-",
    ):
        assert line in render(found)


def test_an_entry_is_repeated_to_its_number_or_to_the_end() -> None:
    found = made("""\
duration: 100s
schedule:
  - {id: flap, at: 10s, every: 20s, times: 3, for: 5s, fault: link.cut, between: [vcenter, kms]}
  - {id: key, at: 30s, every: 30s, do: key.generate}
  - {id: dark, at: 1s, every: 40s, for: 25s, fault: proc.kill, on: kms}
""")
    assert [(f.id, f.at, f.until) for f in found.faults if f.kind == "link.cut"] == [
        ("flap", 10.0, 15.0),
        ("flap-2", 30.0, 35.0),
        ("flap-3", 50.0, 55.0),
    ]
    assert [(a.id, a.at) for a in found.actions] == [
        ("key", 30.0),
        ("key-2", 60.0),
        ("key-3", 90.0),
    ]
    assert [f.at for f in found.faults if f.kind == "proc.kill"] == [1.0, 41.0]


def test_a_roll_goes_batch_by_batch() -> None:
    found = made("""\
schedule:
  - id: roll
    at: 10s
    fault: host.reboot
    rolling: {over: role:esxi, batch: 3, gap: 30s, wait: running}
""")
    assert [len(f.fault().touches()) for f in found.faults] == [3, 3, 2]
    assert len({node for f in found.faults for node in f.fault().touches()}) == 8
    first, second, third = found.faults
    assert (first.cue, first.at) == (None, 10.0)
    assert second.cue is not None and isinstance(second.cue.what, Ended)
    assert second.cue.what.of == "roll" and second.cue.what.nodes == first.fault().touches()
    assert (second.cue.delay_s, second.cue.lasts_s) == (30.0, 0.0)
    assert third.cue is not None and isinstance(third.cue.what, Ended)
    assert third.cue.what.of == "roll-2"
    assert "after the end of roll and its nodes running + 30 s" in render(found)


def test_an_entry_can_wait_for_what_it_sees() -> None:
    found = made("""\
schedule:
  - {id: gone, when: {event: ok:key.generate, nth: 3}, for: 10s, fault: vcenter.down}
  - {id: later, after: gone + 5s, do: vm.off, on: vm-01}
  - {when: {event: com.vmware.vc.kms.crypto.Unreachable, on: kms}, do: key.generate}
""")
    [gone] = found.faults
    assert gone.cue is not None and gone.cue.what == Seen(event="ok:key.generate", nth=3)
    assert (gone.until, gone.cue.lasts_s) == (None, 10.0)
    later = next(a for a in found.actions if a.id == "later")
    assert later.cue is not None and later.cue.what == Begun(of="gone")
    assert later.cue.delay_s == 5.0
    other = next(a for a in found.actions if a.do == "key.generate")
    assert other.cue is not None and isinstance(other.cue.what, Seen)
    assert other.cue.what.on == ("kms",)
    assert "after ok:key.generate, number 3, for 10 s" in render(found)


DRAWN = """\
schedule:
  - {id: wan, at: 60s, for: 60s, fault: host.power_loss, on: role:esxi}
  - id: storm
    random: {from: 10s, until: 5m, every: 5s, for: exp(8s), kinds: KINDS, swarm: {quiet: 0%}}
"""


def test_drawn_faults_are_written_out() -> None:
    text = DRAWN.replace("KINDS", "[link.delay, proc.pause, host.power_loss]")
    found = made(text)
    drawn = [f for f in found.faults if f.drawn]
    assert len(drawn) > 10 and found == made(text) and found != made(text, seed=5)
    assert {f.kind for f in drawn} <= {"link.delay", "proc.pause", "host.power_loss"}
    assert all(f.id.startswith("storm-") and f.fault().id == f.id for f in drawn)
    assert all(10 <= f.at and f.until is not None and f.until <= 300 for f in drawn)
    dark = [f for f in drawn if f.kind == "host.power_loss"]
    assert dark and all(f.until < 60 or f.at > 120 for f in dark if f.until is not None)
    assert "storm-link-delay" in render(found)


def test_drawn_faults_keep_to_the_budget() -> None:
    text = "guards: {blast_radius: {proc.pause: 2}}\n" + DRAWN.replace("KINDS", "[proc.pause]")
    assert sum(f.kind == "proc.pause" for f in made(text).faults) == 2


WRONG = """\
schedule:
  - {at: 1s, do: key.genrate}
  - {at: 1s, do: key.generate, fault: vcenter.down}
  - {at: 1s, do: key.generate, for: 5s}
  - {at: 1s, fault: vcenter.down, must: ok}
  - {at: 1s, when: {event: ok:key.create}, do: key.generate}
  - {when: {event: okay:key.create}, do: key.generate}
  - {when: {event: ok:key.creat}, do: key.generate}
  - {when: {event: com.vmware.vc.vm.Crypto.Locked}, do: key.generate}
  - {at: 1s, times: 3, do: key.generate}
  - {at: 1s, every: 5s, for: 10s, times: 2, fault: vcenter.down}
  - {at: 1s, fault: broker.restart, rolling: {over: all}}
  - {at: 1s, fault: host.reboot, on: esxi-001, rolling: {over: all}}
  - {at: 1s, fault: host.power_loss, rolling: {over: all}}
  - {at: 1s, optional: true, do: key.generate}
  - {at: 1s, nth: 3, do: key.generate}
  - {id: r, random: {from: 10s, until: 11s}}
  - {id: s, random: {until: 1m, kinds: [proc.paus, tpm.clear]}}
  - {id: t, random: {until: 1m, every: exp(0s)}}
  - {at: 1s, do: vm.on}
  - {at: 1s, do: vm.on, on: vm-01, onn: 3}
"""


def test_every_error_of_a_schedule_is_told_at_once() -> None:
    assert [(line, id) for line, id, _ in refused(WRONG)] == [
        (2, "KS-CHAOS-014"),
        (3, "KS-CHAOS-003"),
        (4, "KS-CHAOS-004"),
        (5, "KS-CHAOS-004"),
        (6, "KS-CHAOS-003"),
        (7, "KS-CHAOS-014"),
        (8, "KS-CHAOS-014"),
        (9, "KS-CHAOS-014"),
        (10, "KS-CHAOS-003"),
        (11, "KS-CHAOS-004"),
        (12, "KS-CHAOS-004"),
        (13, "KS-CHAOS-004"),
        (14, "KS-CHAOS-003"),
        (15, "KS-CHAOS-004"),
        (16, "KS-CHAOS-002"),
        (17, "KS-CHAOS-013"),
        (18, "KS-CHAOS-012"),
        (18, "KS-CHAOS-014"),
        (19, "KS-CHAOS-004"),
        (20, "KS-CHAOS-003"),
        (21, "KS-CHAOS-002"),
    ]


def test_what_only_the_lab_can_tell_is_told_with_its_line() -> None:
    assert refused("""\
schedule:
  - {at: 1s, every: 5s, do: key.generate}
  - {id: a, at: 1s, every: 5s, times: 2, do: key.generate}
  - {id: a-2, at: 1s, do: key.generate}
  - {at: 1s, do: vm.on, on: vm-99}
  - {at: 1s, do: host.reconnect, on: kms}
""") == [
        (2, "KS-CHAOS-003", "`every` needs `times`, or a `duration` of the whole run"),
        (4, "KS-CHAOS-007", "'a-2' would be there twice"),
        (5, "KS-CHAOS-010", refused("schedule: [{at: 1s, do: vm.on, on: vm-99}]\n")[0][2]),
        (6, "KS-CHAOS-010", "kms selects no host"),
    ]


WITH = """\
with: {cut: 30s, who: esxi-001, n: 2, title: x}
schedule:
  - {id: wan, at: "${cut}", for: 5m, fault: link.cut, between: ["${who}", kms]}
  - {at: 1s, every: 1s, times: "${n}", do: esx.command, on: "${who}", command: "echo ${who} ${n}"}
"""


def test_parameters_have_defaults_and_are_given() -> None:
    found = made(WITH)
    assert found.faults[0].at == 30.0
    assert [a.values["command"] for a in found.actions] == ["echo esxi-001 2"] * 2
    given = made(WITH, cut="45s", who="esxi-002")
    assert given.faults[0].at == 45.0 and given.actions[0].targets == ("esxi-002",)


def test_parameters_that_are_none_are_told_with_their_line() -> None:
    without = refused("schedule: [{at: 1s, do: vm.on, on: vm-01}]\n", cot="1s")
    assert [found[1:] for found in without] == [
        ("KS-CHAOS-017", "no parameter 'cot'; there is none here")
    ]
    assert refused(WITH, cot="1s") == [(1, "KS-CHAOS-017", "no parameter 'cot'; did you mean cut?")]
    _, mistyped = refused(WITH.replace("${cut}", "${cutt}"))
    assert mistyped[:2] == (3, "KS-CHAOS-017") and "'cutt'; did you mean cut" in mistyped[2]
    wrong = refused(
        WITH.replace('"${who}", kms', '"${whom}", kms').replace("n: 2", "n: [2], 1x: 3")
    )
    assert [(line, id) for line, id, _ in wrong][:3] == [
        (1, "KS-CHAOS-004"),
        (1, "KS-CHAOS-004"),
        (3, "KS-CHAOS-017"),
    ]


@pytest.mark.parametrize("kind", ACTIONS)
def test_every_action_can_be_planned(kind: str) -> None:
    example = f", {ACTIONS[kind].example}" if ACTIONS[kind].example else ""
    [action] = made(f"schedule: [{{at: 1s, do: {kind}{example}}}]\n").actions
    assert action.do == kind and action.summary().startswith(kind)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{random: {until: 2000s, every: 0.1s}}", "some 20,000 faults are more than 2,000"),
        ("{random: {until: 1m, swarm: {omit: 100%}}}", "`omit` of 100% leaves nothing to be drawn"),
        ("{random: {until: 1m, swarm: {quiet: 1}}}", "`quiet` of 100% leaves nothing to be drawn"),
        ("{at: 1s, every: 0.1s, do: key.generate}", "more than 10000 faults and actions"),
    ],
)
def test_what_nobody_could_play_is_refused_before_it_is_drawn(entry: str, said: str) -> None:
    rest = "duration: 3000s\n" if "every: 0.1s, do" in entry else ""
    [(line, id, text)] = refused(f"{rest}schedule: [{entry}]\n")
    assert said in text and id == "KS-CHAOS-004", (line, id, text)
