"""What single faults promise on a simulated lab; ``test_bad_labs`` plays all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chaos.errors import ChaosError
from chaos.faults import from_plain, make_fault, to_plain
from chaos.observe.look import all_vms
from protocol.messages.agent import (
    CutRule,
    DelayRule,
    DuplicateRule,
    LinkRule,
    LossRule,
    NodeRunState,
    NodeStatus,
    ResetRule,
    RuleCount,
    StallRule,
    TpmAct,
    TpmActed,
)
from protocol.messages.host.session import QueryHost
from protocol.messages.kms.administration import QueryRejections
from protocol.messages.kms.keys import GetAttributes
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import ListKmsClusters
from protocol.messages.vcenter.vms import CreateVm, EncryptVm, ListVms
from protocol.terms import KmipState, NodeName, VmName
from tests.chaos.bad_labs import PLAYED
from tests.chaos.worlds import World, limp

HOST = NodeName("esxi-001")
pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
def fresh() -> Iterator[World]:
    made = World(key_persistence=True)
    yield made
    made.close()


def fault_of(world: World, kind: str, values: dict[str, Any], id: str = "f") -> Any:
    return make_fault(kind, id, values, world.lab.directory(), seed=3)


@pytest.mark.parametrize(
    ("kind", "values"), [(kind, values) for kind in PLAYED for values in PLAYED[kind]]
)
def test_plain_values_carry_it(world: World, kind: str, values: dict[str, Any]) -> None:
    if kind == "kms.failover":
        values = {"to": "kms"}
    if kind == "kms.certificate" and "on" in values:
        values = values | {"on": "kms"}
    directory = world.lab.directory()
    if kind.startswith("broker."):
        directory = msgspec.structs.replace(directory, bus_servers=3)
    fault = make_fault(kind, "f", values, directory, seed=3)
    assert from_plain(to_plain(fault)) == fault


def test_a_one_way_cut_is_told_from_its_reverse(world: World) -> None:
    """The same cut claimed for the other direction: canaries are silent, the drops are not its."""
    claimed = fault_of(world, "link.cut", {"between": ["kms", "vcenter"], "dir": "from"}, "c")
    real = fault_of(world, "link.cut", {"between": ["kms", "vcenter"], "dir": "to"}, "r")
    world.run(world.keeper.inject(real))
    _, keeper = limp(world, put_rules=None)
    with pytest.raises(ChaosError, match="no sender of a cut link counted a drop"):
        world.run(keeper.inject(claimed))
    world.run(world.keeper.heal_all())


VCENTER, KMS_NODE = NodeName("vcenter"), NodeName("kms")
KMS = {"between": ["vcenter", "kms"]}
ALL = {"p": "100%"}
LOST, TWICE = ("link.loss", ALL), ("link.dup", ALL)
ON_ONE_LINK: list[tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = [
    (("link.delay", {"base": "300ms"}), LOST),
    (LOST, ("link.delay", {"base": "300ms"})),
    (("link.delay", {"base": "2s"}), ("link.loss", {"p": "30%"})),
    (("link.loss", {"p": "60%"}), ("link.delay", {"base": "2s"})),
    (("link.delay", {"base": "2s"}), ("link.cut", {})),
    (("link.cut", {}), ("link.loss", {"p": "30%"})),
    (("link.cut", {}), ("link.dup", {"p": "50%"})),
    (TWICE, ("link.loss", {"p": "20%"})),
    (LOST, ("link.dup", {"p": "50%"})),
    (("link.delay", {"base": "1s"}), ("link.dup", {"p": "50%"})),
    (("link.delay", {"base": "1s"}), ("link.delay", {"base": "700ms"})),
    (("link.loss", {"p": "30%"}), ("link.loss", {"p": "40%"})),
    (("link.delay", {"base": "720h"}), ("link.loss", {"p": "20%"})),
    (("link.delay", {"base": "720h"}), ("link.dup", {"p": "50%"})),
    (("link.dup", {"p": "50%"}), ("link.delay", {"base": "720h"})),
    (("link.dup", {"p": "50%"}), ("link.delay", {"base": "1s", "jitter": "100ms"})),
    (("link.delay", {"base": "720h"}), ("link.delay", {"base": "1s"})),
    (("link.reset", {}), ("link.stall", {})),
    (("link.stall", {}), ("link.reset", {})),
    (("link.delay", {"base": "1s"}), ("link.reset", {})),
    (("link.delay", {"base": "1s"}), ("link.stall", {"dir": "from"})),
    (("link.loss", {"p": "30%"}), ("link.stall", {})),
    (("link.reset", {}), ("link.cut", {})),
    (("link.cut", {}), ("link.reset", {"dir": "to"})),
]


@pytest.mark.parametrize(("first", "second"), ON_ONE_LINK)
def test_two_faults_on_one_link_both_bite_and_heal(world: World, first: Any, second: Any) -> None:
    for id, (kind, values) in (("first", first), ("second", second)):
        world.run(world.keeper.inject(fault_of(world, kind, KMS | values, id)))
    canaries = world.run(world.lab.canary(VCENTER, KMS_NODE, within_s=9.0, count=2))
    if "link.cut" in (first[0], second[0]) or LOST in (first, second):
        assert canaries.answered == 0
    report = world.run(world.keeper.heal_all())
    assert report.verified and set(report.healed) == {"first", "second"}


def test_many_canaries_that_are_lost_take_no_longer_than_one(world: World) -> None:
    """Else the question about them runs out of time, and a fault that bites is not believed."""
    world.run(world.keeper.inject(fault_of(world, "link.cut", KMS, "cut")))
    begun = world.lab.monotonic()
    canaries = world.run(world.lab.canary(VCENTER, KMS_NODE, within_s=3.0, count=20))
    assert canaries.answered == 0 and canaries.error == "TimedOut"
    assert world.lab.monotonic() - begun < 2 * 3.0
    world.run(world.keeper.heal_all())


@pytest.mark.parametrize(("first", "second"), ON_ONE_LINK)
def test_the_first_fault_does_not_pass_for_the_second(
    world: World, first: Any, second: Any
) -> None:
    """The second one does nothing; whatever the first does to canaries, that is seen."""
    world.run(world.keeper.inject(fault_of(world, first[0], KMS | first[1], "first")))
    _, keeper = limp(world, put_rules=None)
    with pytest.raises(ChaosError) as caught:
        world.run(keeper.inject(fault_of(world, second[0], KMS | second[1], "second")))
    assert caught.value.id == "KS-CHAOS-101"
    world.run(world.keeper.heal_all())


def test_changed_measurement_stops_the_sealed_host_and_heals(fresh: World) -> None:
    lab, keeper = fresh.lab, fresh.keeper
    fresh.run(
        keeper.inject(fault_of(fresh, "host.boot_measure", {"on": HOST, "secure_boot": False}))
    )
    fresh.run(lab.power_off(HOST, "stop"))
    assert fresh.run(lab.power_on(HOST)).state is NodeRunState.HALTED
    bite = fresh.run(keeper.active()[0].fault.bites(lab, notes_of(keeper, "f")))
    assert bite == ""
    assert fresh.run(keeper.heal_all()).verified
    assert fresh.run(lab.status(HOST)).state is NodeRunState.RUNNING


def notes_of(keeper: Any, id: str) -> dict[str, Any]:
    found: dict[str, Any] = keeper._kept[id].notes
    return found


@pytest.mark.parametrize("kind", ["tpm.clear", "tpm.swap"])
def test_lost_tpm_state_is_listed_until_cured(fresh: World, kind: str) -> None:
    lab, keeper = fresh.lab, fresh.keeper
    before = fresh.run(lab.tpm(HOST, TpmAct.INFO)).ek
    fresh.run(keeper.inject(fault_of(fresh, kind, {"on": HOST})))
    assert fresh.run(lab.status(HOST)).state is NodeRunState.HALTED
    report = fresh.run(keeper.heal_all())
    assert report.verified
    assert [(left.id, left.reversible) for left in report.left] == [("f", False)]
    assert "encryptionRecoveryKey" in report.left[0].cure
    assert fresh.run(lab.status(HOST)).state is NodeRunState.HALTED
    report = fresh.run(keeper.heal_all(with_cure=True))
    assert (report.healed, keeper.active()) == (("f",), ())
    summary = fresh.run(lab.ask(HOST, QueryHost())).summary
    assert (summary.protection_mode.value, summary.key_persistence) == ("TPM", True)
    assert (fresh.run(lab.tpm(HOST, TpmAct.INFO)).ek == before) is (kind == "tpm.clear")


def test_a_host_that_was_off_stays_off_and_needs_its_key_from_elsewhere(fresh: World) -> None:
    fresh.run(fresh.lab.power_off(HOST, "stop"))
    fresh.run(fresh.keeper.inject(fault_of(fresh, "tpm.swap", {"on": HOST})))
    assert fresh.run(fresh.lab.status(HOST)).state is NodeRunState.OFF
    left = fresh.run(fresh.keeper.heal_all(with_cure=True)).left
    assert "its recovery key was not read before the fault" in left[0].seen


def test_a_clear_that_could_not_be_seen_is_refused(fresh: World) -> None:
    fresh.run(fresh.lab.power_off(HOST, "stop"))
    with pytest.raises(ChaosError) as caught:
        fresh.run(fresh.keeper.inject(fault_of(fresh, "tpm.clear", {"on": HOST})))
    assert caught.value.id == "KS-CHAOS-106"


def test_recovery_keys_are_neither_listed_nor_told(fresh: World) -> None:
    fresh.run(fresh.keeper.inject(fault_of(fresh, "tpm.clear", {"on": HOST})))
    key = notes_of(fresh.keeper, "f")["recovery"][HOST]
    assert key not in repr(fresh.keeper.active())
    assert key not in repr(fresh.run(fresh.keeper.heal_all()))


@pytest.mark.parametrize(
    ("state", "reached"),
    [
        ("deactivate", KmipState.DEACTIVATED),
        ("compromise", KmipState.COMPROMISED),
        ("destroy", KmipState.DESTROYED),
    ],
)
def test_key_state_and_its_cure(fresh: World, state: str, reached: KmipState) -> None:
    lab, keeper = fresh.lab, fresh.keeper
    vms = {v.vm: v for v in fresh.run(lab.ask(lab.vcenter, ListVms())).vms}
    key = vms[VmName("vm-01")].key
    assert key is not None
    fault = fault_of(fresh, "kms.key_state", {"vm": "vm-01", "state": state})
    fresh.run(keeper.inject(fault))
    question = GetAttributes(key_ids=(key.key_id,))
    assert fresh.run(lab.ask(NodeName("kms"), question)).keys[0].state is reached
    assert [left.id for left in fresh.run(keeper.heal_all()).left] == ["f"]
    assert fresh.run(keeper.heal_all(with_cure=True)).healed == ("f",)
    assert fresh.run(lab.ask(NodeName("kms"), question)).keys[0].state is KmipState.ACTIVE


def test_provider_delete_and_its_cure(fresh: World) -> None:
    lab, keeper = fresh.lab, fresh.keeper
    before = fresh.run(lab.ask(lab.vcenter, ListKmsClusters())).providers
    fresh.run(keeper.inject(fault_of(fresh, "provider.delete", {})))
    assert fresh.run(lab.ask(lab.vcenter, ListKmsClusters())).providers == ()
    report = fresh.run(keeper.heal_all())
    assert "exactly the name kms-provider" in report.left[0].cure
    assert fresh.run(keeper.heal_all(with_cure=True)).healed == ("f",)
    after = fresh.run(lab.ask(lab.vcenter, ListKmsClusters())).providers
    assert [(p.provider, p.servers, p.default) for p in after] == [
        (p.provider, p.servers, p.default) for p in before
    ]
    fresh.run(lab.ask(lab.vcenter, ConfigureCryptoKey(host=HOST)))


@pytest.mark.parametrize("kind", ["tpm.clear", "tpm.swap"])
def test_a_tpm_that_only_pretends_is_caught(fresh: World, kind: str) -> None:
    """INFO is answered, the act itself does nothing."""
    lazy, keeper = limp(fresh)
    real = fresh.lab.tpm

    async def tpm(node: NodeName, act: TpmAct, label: str = "") -> TpmActed:
        return await real(node, TpmAct.INFO, label)

    lazy.tpm = tpm
    with pytest.raises(ChaosError) as caught:
        fresh.run(keeper.inject(fault_of(fresh, kind, {"on": HOST})))
    assert caught.value.id == "KS-CHAOS-101"


def test_a_restore_that_would_lose_keys_in_use_is_refused(fresh: World) -> None:
    lab, keeper = fresh.lab, fresh.keeper
    fresh.run(keeper.inject(fault_of(fresh, "kms.key_state", {"vm": "vm-01", "state": "destroy"})))
    cluster = fresh.run(lab.ask(lab.vcenter, ListVms())).vms[0].cluster
    fresh.run(lab.ask(lab.vcenter, CreateVm(operation_id="new", vm=VmName("new"), cluster=cluster)))
    fresh.run(lab.ask(lab.vcenter, EncryptVm(operation_id="new-key", vm=VmName("new"))))
    report = fresh.run(keeper.heal_all(with_cure=True))
    assert report.healed == ()
    assert "KS-CHAOS-108" in report.left[0].seen


@pytest.mark.tpm
@pytest.mark.parametrize("kind", ["tpm.clear", "tpm.swap"])
def test_on_a_real_tpm_too(kind: str) -> None:
    world = World(tpm="libtpms", hosts=1, vms=1, key_persistence=True)
    try:
        world.run(world.keeper.inject(fault_of(world, kind, {"on": HOST})))
        assert world.run(world.lab.status(HOST)).state is NodeRunState.HALTED
        assert world.run(world.keeper.heal_all(with_cure=True)).healed == ("f",)
        assert world.run(world.lab.status(HOST)).state is NodeRunState.RUNNING
    finally:
        world.close()


def test_what_cannot_act_says_so_and_is_not_listed(world: World) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("kms.key_state", {"keys": ["no-such-key"], "state": "destroy"}),
        ("kms.reject", {"on": "kms", "keys": ["no-such-key"]}),
        ("provider.delete", {"provider": "nobody"}),
        ("kms.certificate", {"of": "server", "becomes": "replaced"}),
    ]
    for kind, values in cases:
        with pytest.raises(ChaosError) as caught:
            world.run(world.keeper.inject(fault_of(world, kind, values)))
        assert caught.value.id == "KS-CHAOS-106"
        assert world.keeper.active() == ()


def test_a_key_that_no_server_has_is_rejected_by_who_says_that_he_knows(world: World) -> None:
    [vm, *_] = world.run(all_vms(world.lab, VCENTER))
    assert vm.key is not None
    there, strange = str(vm.key.key_id), "no-such-key"
    with pytest.raises(ChaosError, match=r"no key no-such-key; .*unknown_keys: true") as caught:
        values = {"on": "kms", "keys": [strange, there]}
        world.run(world.keeper.inject(fault_of(world, "kms.reject", values)))
    assert there not in str(caught.value)
    for keys, more in (([there], {}), ([strange, there], {"unknown_keys": True})):
        fault = fault_of(world, "kms.reject", {"on": "kms", "keys": keys, **more})
        assert fault_of(world, "kms.reject", fault.file_fields()) == fault
        world.run(world.keeper.inject(fault))
        [told] = world.run(world.lab.ask(KMS_NODE, QueryRejections())).items
        assert set(told.keys) == set(keys)
        assert world.run(world.keeper.heal_all()).healed == ("f",)


@pytest.mark.parametrize(
    ("kind", "values", "id"),
    [
        ("link.cut", {"between": ["vcenter"]}, "KS-CHAOS-004"),
        ("link.cut", {"between": ["vcenter", "vcenter"]}, "KS-CHAOS-004"),
        ("link.cut", {"between": ["vcenter", "kmss"]}, "KS-CHAOS-010"),
        ("link.delay", {"between": ["vcenter", "kms"], "base": 3}, "KS-CHAOS-004"),
        ("link.loss", {"between": ["vcenter", "kms"], "p": "130%"}, "KS-CHAOS-004"),
        ("link.loss", {"between": ["vcenter", "kms"], "p": 1e-300}, "KS-CHAOS-004"),
        ("link.dup", {"between": ["vcenter", "kms"], "p": "0.01%"}, "KS-CHAOS-004"),
        ("tpm.clear", {"on": "kms"}, "KS-CHAOS-010"),
        ("vcenter.down", {"on": "kms"}, "KS-CHAOS-010"),
        ("host.boot_measure", {"on": "esxi-001"}, "KS-CHAOS-004"),
        ("kms.key_state", {"state": "destroy"}, "KS-CHAOS-004"),
        ("kms.certificate", {"of": "server", "becomes": "revoked"}, "KS-CHAOS-004"),
        ("kms.certificate", {"of": "client", "becomes": "lost"}, "KS-CHAOS-004"),
        ("kms.certificate", {"of": "server", "becomes": "key-lost"}, "KS-CHAOS-004"),
        (
            "kms.certificate",
            {"of": "client", "becomes": "replaced", "on": "kms"},
            "KS-CHAOS-004",
        ),
        (
            "kms.certificate",
            {"of": "server", "becomes": "replaced", "provider": "nobody"},
            "KS-CHAOS-010",
        ),
        ("kms.reject", {"on": "vcenter"}, "KS-CHAOS-010"),
        ("kms.reject", {"on": "kms", "operations": "get"}, "KS-CHAOS-004"),
        ("kms.reject", {"on": "kms", "operations": []}, "KS-CHAOS-004"),
        ("kms.reject", {"on": "kms", "operations": ["Get", "Replicate"]}, "KS-CHAOS-004"),
        ("kms.reject", {"on": "kms", "reason": "Item Lost"}, "KS-CHAOS-004"),
        ("kms.reject", {"on": "kms", "p": "0%"}, "KS-CHAOS-004"),
        ("kms.reject", {"on": "kms", "p": "101%"}, "KS-CHAOS-004"),
        ("kms.reject", {"on": "kms", "keys": ["k"], "vm": "vm-01"}, "KS-CHAOS-004"),
        ("kms.reject", {"on": "kms", "keys": []}, "KS-CHAOS-004"),
        ("kms.reject", {"on": "kms", "unknown_keys": True}, "KS-CHAOS-004"),
        ("link.cutt", {}, "KS-CHAOS-014"),
    ],
)
def test_bad_values_are_refused_by_id(
    world: World, kind: str, values: dict[str, Any], id: str
) -> None:
    with pytest.raises(ChaosError) as caught:
        fault_of(world, kind, values)
    assert caught.value.id == id


@pytest.mark.parametrize("kind", ["link.loss", "link.dup"])
def test_a_share_of_nothing_is_refused(world: World, kind: str) -> None:
    with pytest.raises(ChaosError, match="has no effect"):
        world.run(world.keeper.inject(fault_of(world, kind, KMS | {"p": "0%"})))
    assert world.keeper.active() == ()


@pytest.mark.parametrize(
    ("kind", "values", "seen"),
    [
        ("link.cut", {}, "no canary passes"),
        ("link.loss", ALL, "no canary passes"),
        ("link.delay", {"base": "1s"}, "still takes"),
        ("link.delay", {"base": "1s", "dir": "to"}, "still takes"),
    ],
)
def test_a_link_that_is_only_said_to_be_healed_is_caught(
    world: World, kind: str, values: dict[str, Any], seen: str
) -> None:
    """The rule leaves the list, and stays in force where the nodes are."""
    lazy, keeper = limp(world, drop_rules=None)
    world.run(keeper.inject(fault_of(world, kind, KMS | values)))
    lazy.rules = lambda: ()
    report = world.run(keeper.heal_all())
    assert not report.verified and [left.id for left in report.left] == ["f"]
    assert seen in report.left[0].seen
    world.run(world.lab.drop_rules("f"))


@pytest.mark.parametrize(
    ("kind", "values"),
    [("link.delay", {"base": "1s"}), ("link.cut", {}), ("link.loss", ALL), ("link.dup", ALL)],
)
def test_a_link_with_an_end_that_is_off_shows_nothing(
    fresh: World, kind: str, values: dict[str, Any]
) -> None:
    for node in (KMS_NODE, VCENTER):
        fresh.run(fresh.lab.power_off(node, "stop"))
        with pytest.raises(ChaosError, match="nothing can be seen"):
            fresh.run(fresh.keeper.inject(fault_of(fresh, kind, KMS | values)))
        fresh.run(fresh.lab.power_on(node))


def test_a_delay_of_one_direction_does_not_pass_for_one_of_both(world: World) -> None:
    half, keeper = limp(world)
    real = world.lab.put_rules

    async def put_rules(rules: Any) -> None:
        await real([rule for rule in rules if rule.src == VCENTER])

    half.put_rules = put_rules
    with pytest.raises(ChaosError) as caught:
        world.run(keeper.inject(fault_of(world, "link.delay", KMS | {"base": "1s"})))
    assert caught.value.id == "KS-CHAOS-101"
    world.run(world.keeper.heal_all())


def test_a_loss_that_is_only_counted_is_caught(world: World) -> None:
    """The rule says that it struck, and every canary comes back all the same."""
    boasting, keeper = limp(world, put_rules=None)
    real, struck = world.lab.status, 0

    async def status(node: NodeName) -> NodeStatus:
        nonlocal struck
        struck += 1
        counts = (RuleCount(rule="f", dst=KMS_NODE, struck=struck),)
        return msgspec.structs.replace(await real(node), rules=counts)

    boasting.status = status
    with pytest.raises(ChaosError, match="it lost none of"):
        world.run(keeper.inject(fault_of(world, "link.loss", KMS | {"p": "90%"})))
    world.run(world.keeper.heal_all())


@pytest.mark.parametrize(
    ("kind", "values", "rule"),
    [
        ("link.cut", {}, CutRule(id="f", src=VCENTER, dst=KMS_NODE)),
        ("link.loss", {"p": "30%"}, LossRule(id="f", src=VCENTER, dst=KMS_NODE, share=0.3)),
        ("link.dup", {"p": "50%"}, DuplicateRule(id="f", src=VCENTER, dst=KMS_NODE, share=0.5)),
        ("link.reset", {}, ResetRule(id="f", src=VCENTER, dst=KMS_NODE)),
        ("link.stall", {}, StallRule(id="f", src=VCENTER, dst=KMS_NODE)),
        (
            "link.delay",
            {"base": "2s", "jitter": "1s"},
            DelayRule(id="f", src=VCENTER, dst=KMS_NODE, base_s=2.0, jitter_s=1.0),
        ),
    ],
)
def test_a_link_fault_puts_the_rule_that_its_values_say(
    world: World, kind: str, values: dict[str, Any], rule: LinkRule
) -> None:
    world.run(world.keeper.inject(fault_of(world, kind, KMS | values | {"dir": "to"})))
    assert world.lab.rules() == (rule,)
    world.run(world.keeper.heal_all())


def test_each_link_to_one_receiver_has_to_double(world: World) -> None:
    """One of two is cut, where nothing need be seen; that does not speak for the other."""
    cut = {"between": ["esxi-001", "vcenter"]}
    world.run(world.keeper.inject(fault_of(world, "link.cut", cut, "cut")))
    half, keeper = limp(world)
    real = world.lab.put_rules

    async def put_rules(rules: Any) -> None:
        await real([rule for rule in rules if rule.src == HOST])

    half.put_rules = put_rules
    twice = {"between": ["esxi-[001-002]", "vcenter"], "dir": "to", **ALL}
    with pytest.raises(ChaosError, match="counted no duplicate"):
        world.run(keeper.inject(fault_of(world, "link.dup", twice)))
    world.run(world.keeper.heal_all())


def test_each_pair_of_nodes_is_one_edge_also_when_the_sides_overlap(world: World) -> None:
    esxi = ["esxi-001", "esxi-002", "esxi-003"]
    fault = fault_of(world, "link.cut", {"between": ["role:esxi", "role:esxi"], "dir": "to"})
    assert fault.edges() == ((esxi[0], esxi[1]), (esxi[0], esxi[2]), (esxi[1], esxi[2]))
    assert fault.links() == fault.edges()


def test_a_cut_that_leaves_one_link_out_is_caught(world: World) -> None:
    half, keeper = limp(world)
    real = world.lab.put_rules

    async def put_rules(rules: Any) -> None:
        await real([rule for rule in rules if HOST in (rule.src, rule.dst)])

    half.put_rules = put_rules
    with pytest.raises(ChaosError, match="was answered"):
        world.run(keeper.inject(fault_of(world, "link.cut", {"between": ["role:esxi", "vcenter"]})))
    world.run(world.keeper.heal_all())


def test_a_fault_is_healed_under_another_that_still_silences_its_link(world: World) -> None:
    world.run(world.keeper.inject(fault_of(world, "link.delay", KMS | {"base": "1s"}, "late")))
    world.run(world.keeper.inject(fault_of(world, "link.cut", KMS, "cut")))
    report = world.run(world.keeper.heal("late"))
    assert report.verified and report.healed == ("late",)
    assert world.run(world.keeper.heal_all()).healed == ("cut",)
