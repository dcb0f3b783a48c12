"""Why a VM or a host is as it is: one row per set of facts, with the rules of the reasons."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.faults import FAULTS
from lab.local.explain import all_rules
from lab.schema.errors import EXPLANATIONS
from lab.serve.explaining import reasons
from lab.serve.explaining.facts import HostStatus, KeyFacts, LostMachine, VmStatus
from lab.serve.explaining.reasons import of_host, of_vm
from protocol.terms import ManagementType

HOST = HostStatus("esxi-001", "running", connected=True, persistence=False, tpm=True, boot=2)
STORES = replace(HOST, persistence=True, mode="TPM")
HOURLY = replace(STORES, saves_hourly=True)
DARK = replace(HOURLY, ended_before="power_loss")
UNSEALED = replace(STORES, mode="NONE", tpm=False)
VIOLATION = "PANIC: security violation was detected."
KEY = KeyFacts(
    key="p/k",
    provider="p",
    provider_listed=True,
    servers_up=True,
    link_cut=False,
    state="Active",
    asked_server=True,
    stored_on_host=False,
)
NATIVE, TRUST = ManagementType.NATIVE_PROVIDER, ManagementType.TRUST_AUTHORITY
NEW = replace(HOST, boot=1)
DERIVES, DERIVED = replace(HOST, derives=("p",)), replace(KEY, kind=NATIVE)
DELETED = replace(DERIVED, provider_listed=False)
TRUSTED, WRAPPED = replace(HOST, trusted=True), replace(KEY, kind=TRUST, servers_up=False)
REFUSED = replace(TRUSTED, unattested="it is not attested: no image")
LOADED = replace(KEY, stored_on_host=True, loaded=True)
EAST = LostMachine("east", lease_s=15, silent=False, pool=False)
LOCKED = VmStatus("vm-01", "poweredOff", "locked", vcenter="running")
RUNS = VmStatus("vm-01", "poweredOn", "unlocked", vcenter="running")
OFF = VmStatus("vm-01", "poweredOff", "unlocked", vcenter="running")


@pytest.mark.parametrize(
    ("vm", "host", "key", "rules"),
    [
        (LOCKED, HOST, KEY, ["STD-13", "STD-10"]),
        (LOCKED, STORES, KEY, ["KP-15", "STD-10"]),
        (LOCKED, replace(HOST, link_cut=True), replace(KEY, link_cut=True), ["STD-13", "B8"]),
        (LOCKED, HOST, replace(KEY, provider_listed=False, link_cut=True), ["STD-13", "LOCK-06"]),
        (replace(LOCKED, vcenter="off"), HOST, KEY, ["STD-13", "R7"]),
        (LOCKED, HOST, replace(KEY, state="Deactivated"), ["STD-13", "STD-19"]),
        (LOCKED, HOST, replace(KEY, state="Destroyed"), ["STD-13", "STD-18"]),
        (LOCKED, HOST, replace(KEY, state="Destroyed Compromised"), ["STD-13", "STD-18"]),
        (LOCKED, NEW, KEY, ["KP-15", "STD-10"]),
        (LOCKED, UNSEALED, KEY, ["STD-13", "STD-10"]),
        (LOCKED, replace(UNSEALED, boot=1), KEY, ["KP-15", "STD-10"]),
        (LOCKED, DARK, KEY, ["DUR-02", "STD-10"]),
        (LOCKED, replace(HOURLY, ended_before="crash"), KEY, ["DUR-02", "STD-10"]),
        (LOCKED, replace(HOURLY, ended_before=""), KEY, ["DUR-02", "STD-10"]),
        (LOCKED, replace(HOURLY, ended_before="stop"), KEY, ["KP-15", "STD-10"]),
        (LOCKED, replace(DARK, boot=1), KEY, ["KP-15", "STD-10"]),
        (LOCKED, replace(STORES, ended_before="power_loss"), KEY, ["KP-15", "STD-10"]),
        (
            LOCKED,
            replace(DARK, mode="NONE"),
            KEY,
            ["STD-13", "STD-10"],
        ),
        (
            LOCKED,
            replace(DARK, persistence=False),
            KEY,
            ["STD-13", "STD-10"],
        ),
        (RUNS, UNSEALED, KEY, ["LOCK-04", "STD-14", "STD-13"]),
        (RUNS, NEW, KEY, ["LOCK-04", "STD-13"]),
        (RUNS, NEW, replace(KEY, provider_listed=False), ["LOCK-04", "DEL-01", "STD-13"]),
        (RUNS, HOST, KEY, ["LOCK-04", "STD-14", "STD-13"]),
        (RUNS, replace(STORES, boot=1), LOADED, ["LOCK-04", "KP-07"]),
        (RUNS, STORES, replace(KEY, stored_on_host=True), ["LOCK-04", "STD-14", "KP-07"]),
        (RUNS, STORES, LOADED, ["LOCK-04", "KP-07", "KP-07"]),
        (RUNS, STORES, KEY, ["LOCK-04", "STD-14"]),
        (RUNS, HOST, LOADED, ["LOCK-04", "KP-07", "STD-13"]),
        (RUNS, replace(TRUSTED, boot=1), WRAPPED, ["LOCK-04", "KPS-02"]),
        (RUNS, TRUSTED, WRAPPED, ["LOCK-04", "KPS-02", "KPS-02"]),
        (LOCKED, TRUSTED, WRAPPED, ["STD-13", "KPS-06"]),
        (LOCKED, REFUSED, WRAPPED, ["STD-13", "ATT-03"]),
        (LOCKED, HOST, WRAPPED, ["STD-13", "KPS-00"]),
        (LOCKED, REFUSED, replace(WRAPPED, stored_on_host=True), ["KP-16"]),
        (RUNS, HOST, DELETED, ["LOCK-04", "NKP-17"]),
        (LOCKED, HOST, DELETED, ["NKP-17"]),
        (replace(LOCKED, vcenter="off"), DERIVES, DERIVED, ["NKP-18", "R7"]),
        (RUNS, DERIVES, DERIVED, ["LOCK-04", "NKP-11"]),
        (LOCKED, DERIVES, DERIVED, ["NKP-18"]),
        (LOCKED, HOST, DERIVED, ["NKP-15"]),
        (OFF, HOST, KEY, ["LOCK-05"]),
        (OFF, HOST, replace(KEY, not_granted="vm-01"), ["LOCK-05", "C28"]),
        (replace(LOCKED, recorded="p/old"), HOST, KEY, ["C28"]),
        (replace(RUNS, recorded="p/old"), HOST, KEY, ["C28"]),
        (replace(OFF, crypto=None), HOST, KEY, ["BOOT-01"]),
        (LOCKED, replace(HOST, machine="halted", screen=VIOLATION), KEY, ["B2"]),
        (LOCKED, replace(HOST, machine="halted", screen="PANIC"), KEY, ["B3"]),
        (LOCKED, replace(HOST, machine="booting"), KEY, ["BOOT-02"]),
        (LOCKED, replace(HOST, machine="paused"), KEY, ["proc.pause"]),
        (LOCKED, replace(HOST, machine="gone"), KEY, ["proc.kill"]),
        (LOCKED, replace(HOST, machine="gone", lost=EAST), KEY, ["KS-AGENT-008"]),
        (replace(LOCKED, vcenter="paused"), HOST, KEY, ["STD-13", "R7"]),
        (LOCKED, replace(HOST, machine="off"), KEY, ["BOOT-01"]),
    ],
)
def test_a_vm(vm: VmStatus, host: HostStatus, key: KeyFacts, rules: list[str]) -> None:
    assert [reason.rule for reason in of_vm(vm, host, (key,))] == rules


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (replace(KEY, link_cut=True, servers_up=False), "the link to the key server is cut"),
        (replace(KEY, servers_up=False), "no key server of p is up"),
        (replace(KEY, not_served_to="vcenter-b"), "refuses p/k to vcenter-b"),
        (replace(KEY, not_granted="vm-01"), "Only a host says that vm-01 needs"),
        (replace(KEY, state=None), "does not know p/k"),
        (replace(KEY, state=None, asked_server=False), "Nothing prevents p/k"),
    ],
)
def test_each_key_says_what_stands_in_its_own_way(key: KeyFacts, said: str) -> None:
    other = replace(KEY, key="p/other", state="Deactivated")
    gone, mine, its = of_vm(LOCKED, HOST, (key, other))
    assert gone.rule == "STD-13" and said in mine.why and its.why.startswith("p/other is Deact")


def test_a_key_that_vcenter_knows_from_a_host_alone_is_told_with_its_cure() -> None:
    key = replace(KEY, not_granted="vm-01")
    for vm in (LOCKED, RUNS):
        [reason] = [r for r in of_vm(vm, HOST, (key,)) if r.rule == "C28"]
        assert reason.cure == "keystead vm unlock vm-01"


def test_a_vm_that_ran_before_is_told_that_unlocking_powers_nothing_on() -> None:
    def told(wanted_on: bool | None) -> bool:
        [reason] = of_vm(replace(OFF, wanted_on=wanted_on), HOST, (KEY,))
        return "It ran before" in reason.why

    assert told(True) and not told(False) and not told(None)


@pytest.mark.parametrize(
    ("host", "rules"),
    [
        (replace(STORES, crypto_state="safe"), ["HEM-01", "KP-10"]),
        (replace(HOST, crypto_state="prepared", tpm=False), ["B5", "KP-01"]),
        (replace(HOST, crypto_state="prepared", host_key=DELETED), ["B5", "NKP-17"]),
        (replace(HOST, crypto_state="prepared", host_key=DERIVED), ["B5", "NKP-15"]),
        (replace(HOST, crypto_state="incapable", connected=False), ["HEM-01", "KP-01", "B8"]),
        (replace(DERIVES, crypto_state="safe"), ["HEM-01", "NKP-11"]),
        (replace(UNSEALED, crypto_state="safe"), ["HEM-01", "KP-06"]),
        (replace(UNSEALED, derives=("p",), only_native=True), ["KP-06", "NKP-11"]),
        (replace(DERIVES, tpm=False, mode="NONE", only_native=True), ["NKP-11"]),
        (replace(DERIVES, tpm=False, mode="NONE"), ["KP-01", "NKP-11"]),
        (replace(HOST, persistence=None, connected=None), []),
        (replace(HOST, machine="off"), ["BOOT-01"]),
        (
            replace(STORES, crypto_state="safe", connected=False, kept_off="it floods"),
            ["KS-BROKER-012", "HEM-01", "KP-10", "B8"],
        ),
    ],
)
def test_a_host(host: HostStatus, rules: list[str]) -> None:
    assert [reason.rule for reason in of_host(host, vcenter="running")] == rules
    assert [reason.rule for reason in of_host(host, vcenter="off")] == [*rules, "R7"]


@pytest.mark.parametrize(
    ("state", "cure"),
    [("off", "power-on vcenter"), ("paused", "resume vcenter"), ("gone", "wait until")],
)
def test_a_vcenter_that_does_not_answer_is_told_with_what_helps(state: str, cure: str) -> None:
    reason = of_host(HOST, vcenter=state)[-1]
    assert cure in reason.cure and ("paused" in reason.why) is (state == "paused")
    second = of_host(replace(HOST, vcenter="vcenter-b"), vcenter=state)[-1]
    assert second.cure == reason.cure.replace("vcenter", "vcenter-b")


def test_a_vcenter_that_a_fault_keeps_down_is_healed_and_not_powered_on() -> None:
    for state in ("off", "paused"):
        reason = of_host(replace(HOST, vcenter_fault=True), vcenter=state)[-1]
        assert (reason.rule, reason.cure) == ("R7", "keystead heal --all")


def test_a_trusted_host_does_not_miss_its_vcenter() -> None:
    reason = of_host(replace(HOST, trusted=True), vcenter="off")[-1]
    assert reason.rule == "R46" and "standard" not in reason.why


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("pool", [True, False])
def test_what_stands_on_a_lost_machine_is_not_waited_for(silent: bool, pool: bool) -> None:
    """No process is started again there by itself: somebody has to bring the machine back."""
    lost = replace(EAST, silent=silent, pool=pool)
    host = replace(HOST, machine="gone", lost=lost, vcenter_lost=lost)
    [own, of_vcenter] = of_host(host, vcenter="gone")
    for reason, node in ((own, "esxi-001"), (of_vcenter, "vcenter")):
        assert "machine east" in reason.why and "keystead get machines" in reason.cure
        assert ("keystead agent join" in reason.cure) is (not silent)
        assert (f"keystead host power-on {node}" in reason.cure) is not (silent or pool)
        assert "wait" not in reason.cure


def test_a_host_without_tpm_is_not_told_to_enable_persistence() -> None:
    def cure(tpm: bool, mode: str, *, persistence: bool = False) -> str:
        host = replace(HOST, tpm=tpm, mode=mode, persistence=persistence)
        [reason] = of_host(host, vcenter="running")
        assert "policy seals" not in reason.why
        return reason.cure

    assert cure(False, "NONE") == cure(False, "NONE", persistence=True) == "add a TPM"
    assert cure(True, "TPM").endswith("keypersistence enable") and ";" not in cure(True, "TPM")
    sealing, _, enabling = cure(True, "NONE").partition("; then ")
    assert sealing.endswith("encryption set --mode=TPM")
    assert enabling.endswith("keypersistence enable")
    assert cure(True, "NONE", persistence=True) == sealing


def test_a_cure_is_a_command_and_no_half_of_one() -> None:
    cut = replace(HOST, link_cut=True, connected=False)
    cures = [r.cure for r in (*of_vm(LOCKED, cut, (KEY,)), *of_host(cut, vcenter="running"))]
    healing = [cure for cure in cures if "heal" in cure]
    assert len(healing) == 2 and all(cure == "keystead heal --all" for cure in healing)


@pytest.mark.parametrize("key", [WRAPPED, DERIVED, DELETED])
@pytest.mark.parametrize("vcenter", ["running", "off"])
@pytest.mark.parametrize("vm", [LOCKED, RUNS])
@pytest.mark.parametrize("host", [HOST, TRUSTED, REFUSED, DERIVES, STORES])
def test_nobody_is_sent_to_a_key_server_that_has_no_part_in_the_key(
    vm: VmStatus, host: HostStatus, key: KeyFacts, vcenter: str
) -> None:
    """Keys of native and trusted providers come to a host past vCenter and what it asks."""
    host = replace(host, crypto_state="prepared", host_key=key)
    told = [*of_vm(replace(vm, vcenter=vcenter), host, (key,)), *of_host(host, vcenter=vcenter)]
    rules = {reason.rule for reason in told if "boot 2" not in reason.why}
    assert not rules & {"LOCK-01", "STD-10", "STD-13", "STD-14"}


def test_every_rule_that_a_reason_names_is_explained() -> None:
    """A person reads it in brackets and asks for it; what the lab itself did names its fault."""
    known = {*all_rules(), *(fault.kind for fault in FAULTS), *EXPLANATIONS}
    texts = (Path(reasons.__file__).parent / name for name in ("reasons.py", "describe.py"))
    named = [
        node.args[1].value
        for text in texts
        for node in ast.walk(ast.parse(text.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Reason"
        and isinstance(node.args[1], ast.Constant)
    ]
    assert len(named) > 25 and [rule for rule in named if rule not in known] == []


def test_the_cure_of_a_sealed_host_binds_and_saves() -> None:
    """Without the last two steps its next boot stops at the same screen."""
    screen = "Unable to restore the system configuration. A security violation was detected."
    host = replace(HOST, machine="halted", screen=screen)
    (why, *_) = of_host(host, vcenter="running")
    steps = ("encryptionRecoveryKey=-", "encryption set --mode=TPM", "/sbin/auto-backup.sh")
    places = [why.cure.find(step) for step in steps]
    assert -1 not in places and places == sorted(places)


def test_a_trusted_host_without_its_key_is_told_who_refuses_it() -> None:
    """No way of vCenter to a key server would help it."""
    trusted = replace(HOST, crypto_state="prepared", trusted=True)
    [refused, *_] = of_host(replace(trusted, unattested="it is not attested: no image"), "running")
    assert (refused.rule, "not attested: no image" in refused.why) == ("ATT-02", True)
    assert "keystead get trusted-hosts" in refused.cure
    [silent, *_] = of_host(trusted, "running")
    assert "no Key Provider Service has given it" in silent.why
    [standard, *_] = of_host(replace(trusted, trusted=False), "running")
    assert standard.rule == "B5"
