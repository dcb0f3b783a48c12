"""Names that people give: one table of what each kind may look like."""

from __future__ import annotations

import pytest

from protocol import names
from protocol.errors import InvalidName
from protocol.names import NameRule, node_name
from protocol.printable import quote

RULES = [rule for rule in vars(names).values() if isinstance(rule, NameRule)]
GOOD = {
    names.LAB: ("default", "a", "7", "two-words"),
    names.NODE: ("esxi-001", "vcenter", "kms"),
    names.MACHINE: ("attic", "machine-2"),
    names.SITE: ("main", "edge-1"),
    names.CLUSTER: ("prod", "Cluster_1", "a.b-c"),
    names.DATASTORE: ("datastore-1", "Shared_1", "a.b-c"),
    names.PROVIDER: ("kms-provider", "KMS_2"),
    names.WRAPPING_KEY: ("5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001", "Key_1.b"),
    names.VM: ("vm-01", "Web.Server_1", "7", "my vm: 50%", "_a", "a[1-2]", "a*"),
    names.DUMP: ("vmkernel-zdump.1", "Dump_2"),
    names.VSAN_OBJECT: ("object-1", "VM_1.vmdk"),
    names.VSAN_DISK: ("disk-1", "ssd"),
    names.SNAPSHOT: ("before-the-patch", "S_1.b"),
    names.ROLE: ("NoCryptoAdmin", "key_keeper.2"),
    names.PRINCIPAL: ("bob", "administrator@vsphere.local"),
    names.TRUST_ITEM: ("esxi-001", "8.0U3-24022510", "esxi-001-ca"),
    names.BACKUP: ("before-the-rotation", "B.1"),
    names.EXPERIMENT: ("wan-outage",),
    names.FAULT: ("link-cut-1",),
    names.SCOPE: ("default", "Team_1", "apps.eu-west"),
    names.RUN: ("wan-outage-sim-7-2", "x-sim--5"),
}
_PATHS = r"|..|../x|a/b|a\b|.a"
_SPACES = " | a|a |-a|a\n|\na|a\x00|a\x1b[31m|a\t"
_LETTERS = "ä|١|a\u202e|é|a\ud800"
BAD = (*_PATHS.split("|"), *_SPACES.split("|"), *_LETTERS.split("|"))


def test_every_kind_has_its_names_here() -> None:
    assert set(GOOD) == set(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_good_names_pass_and_what_anything_could_misread_does_not(rule: NameRule) -> None:
    for name in (*GOOD[rule], "x" * rule.longest):
        assert rule.fault(name) == ""
        rule.check(name)
    for name in (*BAD, "x" * (rule.longest + 1), *rule.taken):
        wrong = rule.fault(name)
        assert rule.what in wrong and wrong.isprintable() and len(wrong) < 250
        with pytest.raises(InvalidName) as refused:
            rule.check(name)
        assert str(refused.value) == wrong


def test_only_a_vm_may_be_called_what_selectors_are_written_with() -> None:
    for name in ("*", ">", "a*", "a[1-2]", "a%", "a:b", "a b", "_a"):
        assert [rule.what for rule in RULES if not rule.fault(name)] == ["VM name"]


def test_the_sentence_tells_what_is_allowed() -> None:
    assert names.LAB.fault("Prod") == (
        "'Prod' is no lab name: lower-case letters, digits and single hyphens between them, "
        "at most 40 characters"
    )
    assert names.VM.fault("all") == "'all' is a word of its own, so it is no VM name"


def test_what_a_selector_says_for_every_one_is_no_name_of_what_is_selected() -> None:
    assert [rule for rule in RULES if rule.fault("all")] == [names.NODE, names.VM]


def test_a_long_name_is_told_in_short() -> None:
    assert quote("a\x1bb") == r"'a\x1bb'"
    assert quote("x" * 300) == f"'{'x' * 40}' ... (300 characters)"


def test_a_node_name_is_checked() -> None:
    assert node_name("esxi-001") == "esxi-001"
    with pytest.raises(InvalidName, match="node name"):
        node_name("esxi.001")
