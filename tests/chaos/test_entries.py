"""Entries of a schedule on a simulated lab: actions, batches, conditions, and what never came."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.actions import ACTIONS
from chaos.checks.result import CheckOutcome
from chaos.experiment.plan import dump_plan, load_plan
from chaos.history import Record
from chaos.observe.look import LabLook
from protocol.terms import VmName
from tests.chaos.test_engine import all_well, planned, play, result_of
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
HOLDS = 'hypothesis: {after: [{probe: host.up, is: "== 100%"}]}\n'


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=3, vms=3)
    yield made
    made.close()


def acts(records: list[Record], op: str) -> list[tuple[str, str]]:
    return [(r.type, r.node) for r in records if r.op == op]


def test_an_action_is_a_command_whose_outcome_is_recorded(world: World) -> None:
    text = (
        HOLDS
        + """\
schedule:
  - {at: 1s, do: vm.off, on: [vm-01, vm-02], must: ok}
  - {at: 5s, do: host.enter-maintenance, on: esxi-003, must: fail}
  - {at: 6s, do: vm.create, name: vm-new, encrypted: true, must: ok}
"""
    )
    verdict, history = play(world, planned(world, text))
    assert verdict.exit_code == 0, verdict
    assert sorted(acts(history.records, "vm.off")) == [
        ("invoke", "vm-01"),
        ("invoke", "vm-02"),
        ("ok", "vm-01"),
        ("ok", "vm-02"),
    ]
    [refused] = [
        r for r in history.records if r.op == "host.enter-maintenance" and r.type == "fail"
    ]
    assert refused.data["error"] == "InvalidState" and refused.t >= 5
    [encrypted] = [r for r in history.records if r.op == "vm.create" and r.type == "ok"]
    assert encrypted.data["vm"] == "vm-new" and encrypted.data["key"]
    assert world.run(_power(world, "vm-02")) == "poweredOff"  # never undone


async def _power(world: World, vm: str) -> str:
    return (await LabLook(world.lab).vcenter_vms())[VmName(vm)].power.value


def test_a_refusal_is_a_result_and_no_error(world: World) -> None:
    bad = "schedule: [{at: 1s, do: vm.create, name: vm-01, cluster: nowhere MORE}]\n"
    verdict, _ = play(world, planned(world, HOLDS + bad.replace(" MORE", "")))
    assert (verdict.verdict, verdict.exit_code) == ("pass", 0)
    verdict, _ = play(world, planned(world, HOLDS + bad.replace(" MORE", ", must: ok")))
    assert verdict.exit_code == 5
    assert verdict.reasons[0].startswith("KS-CHAOS-110: vm-create-1: vm.create must end ok, and")
    assert all_well(world)


def test_a_roll_waits_for_the_nodes_of_each_batch(world: World) -> None:
    text = (
        HOLDS
        + """\
schedule:
  - id: roll
    at: 1s
    fault: host.reboot
    rolling: {over: role:esxi, gap: 10s, wait: connected}
  - {when: {event: fault:host.reboot, nth: 2}, do: esx.persistence.enable, on: esxi-001}
"""
    )
    verdict, history = play(world, planned(world, text))
    assert verdict.exit_code == 0, verdict
    began = [r for r in history.records if r.type == "fault"]
    assert [r.data["nodes"] for r in began] == [["esxi-001"], ["esxi-002"], ["esxi-003"]]
    healed = [r.t for r in history.records if r.type == "heal"]
    assert all(began[n + 1].t >= healed[n] + 10 for n in range(2))
    [half_way] = [r for r in history.records if r.op == "esx.persistence.enable" and r.type == "ok"]
    assert began[1].t <= half_way.t < began[2].t


SEES = (
    HOLDS
    + """\
workload: [{op: key.create, rate: 1/s, until: 20s}]
schedule:
  - {id: gone, when: {event: ok:key.create, nth: 3}, for: 10s, fault: proc.pause, on: kms}
  - {id: later, after: gone + 5s, do: vm.off, on: vm-03}
"""
)


FOLLOWS = """\
hypothesis:
  during:
    - {probe: vm.running, is: "WORTH", on: vm-03, after: end of dark + 5s, for: 18s, every: 5s}
  after: [{probe: host.up, is: "== 100%"}]
workload: [{op: key.create, rate: 1/s, until: 40s}]
schedule:
  - {id: dark, when: {event: ok:key.create, nth: NTH}, do: vm.off, on: vm-03OPTIONAL}
"""


@pytest.mark.parametrize(("nth", "worth", "outcome"), [(3, 0, "pass"), (3, 1, "fail")])
def test_a_probe_follows_an_entry_whenever_that_is(
    world: World, nth: int, worth: int, outcome: str
) -> None:
    text = FOLLOWS.replace("WORTH", f"== {worth}").replace("NTH", f"{nth}").replace("OPTIONAL", "")
    made = load_plan(dump_plan(planned(world, text)))
    verdict, history = play(world, made)
    assert verdict.verdict == outcome, verdict
    off = next(r.t for r in history.records if (r.type, r.op) == ("ok", "vm.off"))
    seen = [
        round(r.t - off)
        for r in history.records
        if r.type == "probe" and r.data["when"] == "during"
    ]
    assert seen == [5, 10, 15, 20]


def test_a_probe_whose_entry_never_comes_is_unknown(world: World) -> None:
    text = FOLLOWS.replace("WORTH", "== 0").replace("NTH", "999")
    verdict, _ = play(world, planned(world, text.replace("OPTIONAL", ", optional: true")))
    assert verdict.exit_code == 2
    [told] = [check.text for check in verdict.checks if check.name == "during vm.running == 0"]
    assert told == "it was to be measured after the end of dark + 5 s, which never came"


def test_an_entry_begins_when_the_nth_record_is_seen(world: World) -> None:
    verdict, history = play(world, planned(world, SEES))
    assert verdict.exit_code == 0, verdict
    third = [r for r in history.records if (r.type, r.op) == ("ok", "key.create")][2]
    fault = next(r for r in history.records if r.type == "fault")
    off = next(r for r in history.records if r.op == "vm.off")
    assert third.t <= fault.t < third.t + 3
    assert off.t == pytest.approx(third.t + 5, abs=0.01)


def test_an_event_of_vcenter_begins_an_entry(world: World) -> None:
    text = (
        HOLDS
        + """\
schedule:
  - {id: cut, at: 1s, for: 90s, fault: link.cut, between: [vcenter, kms]}
  - {at: 3s, do: vm.create, encrypted: true, must: fail}
  - {when: {event: com.vmware.vc.kms.crypto.Unreachable}, do: vm.off, on: vm-01}
"""
    )
    verdict, history = play(world, planned(world, text))
    assert verdict.exit_code == 0, verdict
    assert [r.type for r in history.records if r.op == "vm.off"] == ["invoke", "ok"]


def test_what_never_came_proves_nothing(world: World) -> None:
    never = SEES.replace("nth: 3", "nth: 900")
    verdict, history = play(world, planned(world, never))
    assert (verdict.verdict, verdict.exit_code) == ("unknown", 2)
    assert [c.name for c in verdict.checks if c.result is CheckOutcome.UNKNOWN][:2] == [
        "entry gone",
        "entry later",
    ]
    assert "entry gone: it never began: ok:key.create, number 900 did not come" in verdict.reasons
    assert [r.data["id"] for r in history.records if r.op == "never"] == ["gone", "later"]
    spare = never.replace("on: kms}", "on: kms, optional: true}").replace(
        "on: vm-03}", "on: vm-03, optional: true}"
    )
    assert play(world, planned(world, spare + "  - {at: 1s, do: key.generate}\n"))[0].exit_code == 0


def test_a_roll_that_does_not_go_on_is_told(world: World) -> None:
    text = (
        HOLDS
        + """\
schedule:
  - {id: cut, at: 0s, for: 60s, fault: link.cut, between: [role:esxi, vcenter]}
  - id: roll
    at: 30s
    fault: host.reboot
    rolling: {over: role:esxi, batch: 2, wait: connected, within: 5s}
"""
    )
    verdict, _ = play(world, planned(world, text))
    assert verdict.exit_code == 2
    assert any(c.name == "entry roll-2" for c in verdict.checks)


def test_the_oracle_follows_what_it_knows_and_says_where_it_stops(world: World) -> None:
    text = (
        HOLDS
        + """\
schedule:
  - {at: 1s, for: 100s, fault: link.cut, between: [vcenter, kms]}
  - {at: 3s, do: vm.off, on: vm-01}
  - {at: 5s, do: esx.persistence.enable, on: all}
"""
    )
    last = "  - {at: 40s, do: cluster.crypto-mode, cluster: cluster-a, mode: forceEnable}\n"
    verdict, _ = play(world, planned(world, text))
    assert result_of(verdict, "truth_table") is CheckOutcome.PASS
    verdict, _ = play(world, planned(world, text + last))
    [found] = [c for c in verdict.checks if c.name == "truth_table"]
    assert (found.result, "cluster.crypto-mode leads to" in found.text) == (
        CheckOutcome.UNKNOWN,
        True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ACTIONS)
def test_every_action_is_carried_out(world: World, kind: str) -> None:
    """``must: ok`` in a lab that is ready for it; the others are refused in words."""
    lines = [f"  - {{at: 1s, do: {FIRST[kind]}}}"] if kind in FIRST else []
    ok = "" if kind in REFUSED else ", must: ok"
    example = f", {ACTIONS[kind].example}" if ACTIONS[kind].example else ""
    if kind == "vm.encrypt":
        example = example.replace("vm-01", "vm-new")
    example = example.replace("kms-provider", str(world.lab.directory().default_provider))
    lines.append(f"  - {{at: 5s, do: {kind}{example}{ok}}}")
    text = HOLDS + "schedule:\n" + "\n".join(lines) + "\n"
    verdict, history = play(world, planned(world, text))
    assert verdict.exit_code == 0, verdict
    ends = [r for r in history.records if r.op == kind and r.type != "invoke"]
    assert [r.type for r in ends] == (["fail"] if kind in REFUSED else ["ok"]), ends


OF_TRUST = {kind for kind in ACTIONS if kind.startswith("trust.")}
OF_TRUST -= {"trust.renew-certificate"}  # a vCenter has one without a Trust Authority too
REFUSED = OF_TRUST | {
    "host.enter-maintenance",
    "host.prepare-crypto",
    "host.disable-crypto",
    "host.wrong-recovery-key",
    "key.add",
    "provider.enter-password",  # no server of this lab is asked by KMIP
    "provider.import",
    "vm.add-disk-at-host",
}
FIRST = {
    "kms.restore": "kms.backup, backup: monday",
    "provider.export": "provider.add-native, provider: nkp",
    "provider.update-native": "provider.add-native, provider: nkp",
    "vcenter.key.add": "vcenter.key.remove, on: vm-01, force: true",
    "vcenter.restore": "vcenter.backup, backup: monday",
    "host.reconnect": "host.disconnect, on: esxi-001",
    "vm.encrypt": "vm.create, name: vm-new",
    "vm.revert": "vm.snapshot, on: vm-01, name: before",
    "host.dump.read": "host.dump, on: esxi-001, dump: hostd",
    "vm.add-disk": "vm.off, on: vm-01",
    "vm.add-disk-at-host": "vm.off, on: vm-01",
    "vm.remove-disk": "vm.off, on: vm-01",
    "vm.unregister": "vm.off, on: vm-01",
    "vm.destroy": "vm.off, on: vm-01",
}


def test_a_backup_is_taken_and_put_back_and_what_came_since_is_gone(world: World) -> None:
    text = (
        HOLDS
        + """\
workload: [{op: key.create, rate: 1/s, until: 20s}]
schedule:
  - {at: 5s, do: kms.backup, backup: monday, must: ok}
  - {at: 15s, do: kms.restore, backup: monday, servers: [kms], must: ok}
  - {at: 16s, do: kms.restore, backup: tuesday, must: fail}
  - {at: 17s, do: kms.backup, backup: monday, servers: [vcenter], must: fail}
"""
    )
    verdict, history = play(world, planned(world, text))
    assert verdict.exit_code == 0, verdict
    [back] = [r for r in history.records if (r.type, r.op) == ("ok", "kms.restore")]
    made = [
        r.data["key"].partition("/")[2] or r.data["key"]
        for r in history.records
        if (r.type, r.op) == ("ok", "key.create") and r.t < back.t
    ]
    assert set(back.data["keys"]) <= {key for key in made} and back.data["keys"]
    assert result_of(verdict, "acked_key_recoverable") is CheckOutcome.PASS


def test_a_vm_leaves_the_inventory_and_comes_back(world: World) -> None:
    text = (
        HOLDS
        + """\
schedule:
  - {at: 1s, do: vm.off, on: vm-01, must: ok}
  - {at: 2s, do: vm.unregister, on: vm-01, must: ok}
  - {at: 4s, do: vm.register, on: vm-01, must: ok}
  - {at: 5s, do: cluster.default-provider, cluster: cluster-a, provider: kms-provider, must: ok}
  - {at: 6s, do: cluster.default-provider, cluster: cluster-a, must: ok}
  - {at: 7s, do: cluster.default-provider, cluster: nowhere, must: fail}
"""
    )
    verdict, _ = play(world, planned(world, text))
    assert verdict.exit_code == 0, verdict


def test_vms_change_their_keys_and_their_hosts_and_the_oracle_follows(world: World) -> None:
    """A deep recrypt of one that runs is refused; without vCenter nothing moves."""
    text = (
        HOLDS
        + """workload: [{op: guest.challenge, rate: 1/s, on: vm-01}]
schedule:
  - {at: 1s, do: vm.recrypt, on: [vm-01, vm-02], must: ok}
  - {at: 2s, do: vm.recrypt, on: vm-01, deep: true, must: fail}
  - {at: 3s, do: vm.migrate, on: vm-01, must: ok}
  - {at: 5s, do: vm.migrate, on: vm-01, host: esxi-001, must: ok}
  - {at: 7s, do: vm.off, on: vm-02, must: ok}
  - {at: 8s, do: vm.recrypt, on: vm-02, deep: true, must: ok}
  - {at: 9s, do: vm.migrate, on: vm-02, must: ok}
  - {at: 10s, do: vm.on, on: vm-02, must: ok}
  - {at: 11s, for: 5s, fault: vcenter.down}
  - {at: 12s, do: vm.migrate, on: vm-01, must: fail}
"""
    )
    verdict, history = play(world, planned(world, text))
    assert verdict.exit_code == 0, verdict
    assert result_of(verdict, "truth_table") is CheckOutcome.PASS
    moved = [r.data["host"] for r in history.records if (r.type, r.op) == ("ok", "vm.migrate")]
    assert moved[1] == "esxi-001" and len(moved) == 3


def test_vms_are_kept_and_go_back_and_what_is_known_of_their_guests_does_too(
    world: World,
) -> None:
    """With memory a VM runs afterwards; a clone has its source's disk."""
    text = (
        HOLDS
        + """workload: [{op: guest.challenge, rate: 2/s}]
schedule:
  - {at: 1s, do: vm.snapshot, on: [vm-01, vm-02], name: running, memory: true, must: ok}
  - {at: 2s, do: vm.clone, on: vm-01, name: copy, must: ok}
  - {at: 3s, do: vm.on, on: copy, must: ok}
  - {at: 6s, do: vm.revert, on: vm-01, name: running, must: ok}
  - {at: 8s, do: vm.off, on: vm-02, must: ok}
  - {at: 9s, do: vm.revert, on: vm-02, name: running, must: ok}
  - {at: 10s, do: vm.revert, on: vm-01, name: none, must: fail}
  - {at: 12s, do: vm.clone, on: vm-02, name: other, recrypt: true, must: ok}
  - {at: 13s, do: vm.on, on: other, must: ok}
  - {at: 16s, do: vm.revert, on: vm-01, name: running, suppress_power_on: true, must: ok}
  - {at: 18s, do: vm.on, on: vm-01, must: ok}
"""
    )
    verdict, history = play(world, planned(world, text))
    assert verdict.exit_code == 0, verdict
    reverted = [r for r in history.records if (r.type, r.op) == ("ok", "vm.revert")]
    assert [r.data["power"] for r in reverted] == ["poweredOn", "poweredOn", "poweredOff"]
    for check in ("truth_table", "power_as_commanded", "guests_read_back"):
        assert result_of(verdict, check) is not CheckOutcome.FAIL, check
    asked = {r.node for r in history.records if r.op == "guest.challenge" and r.type == "ok"}
    assert {"vm-01", "vm-02"} <= asked


def test_a_vm_goes_to_a_key_of_another_provider(world: World) -> None:
    text = (
        HOLDS
        + """schedule:
  - {at: 1s, do: provider.add, provider: second, servers: [kms], must: ok}
  - {at: 2s, do: vm.recrypt, on: vm-01, provider: second, must: ok}
  - {at: 3s, do: vm.recrypt, on: vm-01, provider: nowhere, must: fail}
"""
    )
    verdict, history = play(world, planned(world, text))
    assert verdict.exit_code == 0, verdict
    [done] = [r for r in history.records if (r.type, r.op) == ("ok", "vm.recrypt")]
    assert done.data["provider"] == "second"
    told = [r.data["keys"] for r in history.records if (r.node, r.op) == ("vm-01", "vm")]
    assert told[-1] == [f"second/{done.data['key']}"]


def test_a_fault_that_waits_finds_the_power_held(world: World) -> None:
    """No plan can know it: both hold the power of one host, and one would end with the other."""
    text = (
        HOLDS
        + """\
schedule:
  - {id: one, at: 5s, for: 30s, fault: host.power_loss, on: esxi-001}
  - {id: two, when: {event: fault:host.power_loss}, for: 5s, fault: proc.kill, on: esxi-001}
"""
    )
    verdict, _ = play(world, planned(world, text))
    assert verdict.exit_code == 5
    assert "KS-CHAOS-106: one holds the power of esxi-001 already" in verdict.reasons[0]
    assert all_well(world)
