"""Each check accepts a good history, rejects a bad one, and is unknown about an empty one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from chaos.checks import ALWAYS, CHECKS, judge
from chaos.checks.no_internal_error import WATCHED
from chaos.checks.result import CheckOutcome
from chaos.history import Record
from tests.chaos import given_cases
from tests.chaos.alarm_cases import ALARMS
from tests.chaos.oracle.histories import Story, dark
from tests.chaos.replica_rows import replicas, unlisted
from tests.chaos.retired_cases import RETIRED

Row = tuple[str, str, str, dict[str, Any]]


def records(rows: Sequence[Row]) -> list[Record]:
    return [
        Record(seq=n, t=float(n), node=node, type=type, op=op, data=data)
        for n, (node, type, op, data) in enumerate(rows, start=1)
    ]


ASKED_TO_GO: Row = ("vm-01", "invoke", "vm.migrate", {"n": 1})
LOOKED: Row = ("", "state", "look", {})
ON_A, ON_B = (("vm-01", "state", "vm", {"host": h, "power": "poweredOn"}) for h in "ab")


def recovery(seconds: float | None, calls: int | None) -> Row:
    return ("esxi-001", "state", "recovery", {"seconds": seconds, "kms_calls": calls})


def back(story: Story) -> Story:
    return story.vm("vm-01", "esxi-001", "running").passes(60)


def stays_down(story: Story) -> Story:
    """A VM that its host could start by itself."""
    return story.vm("vm-01", "esxi-001", "off").passes(60)


def pair(number: int, left: str) -> tuple[Row, Row]:
    """Two commands to vm-01 sent back to back, and what the host had left."""
    end = {"n": number, "wanted": "poweredOn", "left": left}
    return ("vm-01", "invoke", "vm.off_on", {"n": number}), ("vm-01", "ok", "vm.off_on", end)


def told(events: list[bool], locked: str = "", running: str = "") -> Row:
    """What was read at the end of the events about x, and of its mark."""
    data = {"told": {"x": events}, "locked": [*locked], "running": [*running]}
    return ("", "state", "lock_events", data)


_SHORT = {
    "unreachable": "kms.crypto.Unreachable",
    "asks": "host.Crypto.ReqEnable.KMSClusterError",
    "asks-missing": "host.Crypto.ReqEnable.KeyMissingOnKMS",
    "safe": "host.Crypto.Enabled",
    "locked": "vm.Crypto.VMLocked.KMSClusterError",
    "locked-missing": "vm.Crypto.VMLocked.KeyMissingOnKMS",
    "unlocked": "vm.Crypto.VMUnlocked",
    "not-backed-up": "kms.crypto.NotBackedUp",
    "backed-up": "kms.crypto.AllBackedUp",
}


def log(*events: str) -> Row:
    """vCenter's log of events on host h, of VM x where they are of VMs."""
    told = [
        (
            f"com.vmware.vc.{_SHORT[event]}",
            "" if "backed" in event or event == "unreachable" else "h",
            "x" if "locked" in event else "",
        )
        for event in events
    ]
    return ("vc", "state", "event_log", {"told": told})


def _inventory(vcenter: str, *vms: str) -> Row:
    """What a vCenter has at the end."""
    return (vcenter, "state", "inventory", {"vms": list(vms)})


CUT: Row = ("", "fault", "link.cut", {"id": "wan"})
CLEAR: Row = ("", "fault", "tpm.clear", {"id": "clear"})
COUNT: Row = ("kms", "state", "counters", {"internal_errors": 1, "requests": 5})
SOUND: Row = ("esxi-001", "state", "counters", {"internal_errors": 7})
MADE: Row = ("", "ok", "key.create", {"key": "k1", "provider": "p"})
BORN: Row = ("", "ok", "vm.encrypt", {"vm": "x", "key": "k1", "provider": "p"})
GONE: list[Row] = [
    ("", "state", "staging", {"knobs": {"remediation_interval_s": 60.0}}),
    ("vm-01", "ok", "vm.come_and_go", {"gone": "k1"}),
]
LATER: list[Row] = [("", "note", "tick", {})] * 120
"""A reconciliation and a minute: each record is a second after the one before."""
OPENED: Row = ("esxi-001", "state", "session", {"session": "vcenter/2/1"})
OBEYED: Row = (
    "esxi-001",
    "state",
    "stale_command",
    {"session": "vcenter/1/1", "command": "AddKeys"},
)
MOVED: Row = ("vm-01", "invoke", "vm.restart", {"n": 1})
MARKED: Row = ("vc", "state", "marks", {"locked": ["x"]})
RIGHT: Row = ("vm-01", "ok", "guest.challenge", {})

SEALED: Row = ("esxi-001", "state", "protection", {"sealed": True})
UNSEALED: Row = ("esxi-001", "state", "protection", {"sealed": False})
TPM_FAULT = {"id": "clear", "nodes": ["esxi-001"]}
TPM_DEAD: Row = ("", "fault", "tpm.dead", {"id": "dead", "nodes": ["esxi-001"]})
HOST_OFF: Row = ("esxi-001", "state", "node", {"state": "off", "boot": 1})
CURING: Row = ("", "note", "ending", {"id": "clear", "cure": True})
CURED: Row = ("", "heal", "heal", {"id": "clear", "verified": True, "cured": True})


def boot(
    number: int, pcr: str = "aa", ek: str = "e", *, serves: bool = True, **tries: object
) -> Row:
    data = {"boot": number, "serves": serves, "ek": ek, "pcrs": {"4": "xx", "7": pcr}}
    return ("esxi-001", "state", "tpm", {**data, "tries": 0, "most": 32, "lockout": False, **tries})


def counted(node: str, role: str, requests: int, boot: int = 1) -> Row:
    return (node, "state", "counters", {"role": role, "boot": boot, "requests": requests})


def values(node: str, place: str, **keys: int) -> Row:
    """Values of keys in one place, by the number under which each was first seen."""
    return (node, "state", "values", {"place": place, "keys": keys})


def held(cache: str = "", store: str = "") -> Row:
    """What a host has at the end of the keys that were given up."""
    there = {"cache": [cache] if cache else [], "store": [store] if store else []}
    return ("esxi-001", "state", "held", {"asked": ["k1"], **there})


def made(**twice: list[str]) -> Row:
    return ("kms", "state", "creations", {"keys": 5, "twice": twice})


def on(host: str, power: str = "poweredOn") -> Row:
    return ("vm-01", "state", "vm", {"host": host, "power": power})


def powered(*states: str) -> Row:
    """What a host has logged of a VM, nobody having asked: a boot's start at most."""
    life = {"vm": "x", "host": "a", "boot": 1}
    changes = [{"t": float(n), **life, "power": state} for n, state in enumerate(states)]
    return ("", "state", "power", {"changes": changes})


def lies(when: str, *keys: str, closed: tuple[str, ...] = ()) -> Row:
    """What lies on a host's disk at a moment around a removal."""
    found = {"a": list(keys)} if keys else {}
    return ("esxi-001", "state", "remains", {"when": when, "keys": found, "closed": list(closed)})


def scanned(**other: object) -> Row:
    """A search that found its canary wherever it looked, and nothing else."""
    kinds = ["bus", "disk"]
    scan: dict[str, object] = {"kept": True, "keys": 9, "findings": [], "more": 0}
    return (
        "",
        "state",
        "scan",
        {**scan, "places": dict.fromkeys(kinds, 5), "canary": kinds, **other},
    )


LEAK = {
    "kind": "log",
    "name": "kms:x",
    "secret": "services.kms.operations.core:_fresh",
    "form": "hex",
    "offset": 7,
}


def fell(why: str) -> Row:
    data = {"state": "off", "boot": 2} | ({"fell": why} if why else {})
    return ("esxi-001", "state", "node", data)


LOOK: Row = ("", "state", "look", {})


def late(story: Story) -> Story:
    """The fault is gone, and the VM comes back long after its host."""
    return (
        healed(story).vm("vm-01", "esxi-001", "off").passes(70).vm("vm-01", "esxi-001", "running")
    )


def in_time(story: Story) -> Story:
    return healed(story).passes(20).vm("vm-01", "esxi-001", "running").passes(1)


def too_early(story: Story) -> Story:
    """The run ends before the bound."""
    return healed(story).vm("vm-01", "esxi-001", "off").passes(20)


def healed(story: Story) -> Story:
    """The last fault is gone: the key server can be reached."""
    return story.heal("wan").passes(1)


def group(server: str, *breaches: list[str]) -> Row:
    return (server, "state", "group", {"breaches": [*breaches]})


ALIKE = replicas(a={"k1": 1}, b={"k1": 1})
QUIET: list[Row] = [("", "note", "", {})] * 30  # records are a second apart
HEAL: Row = ("", "heal", "heal", {"id": "wan", "verified": True})
CALM = [HEAL, counted("esxi-001", "esxi", 10), counted("vcenter", "vcenter", 50), *QUIET]

VIEWED: dict[str, Any] = {"hosts": 2, "vms": 2, "refused": []}
CASES: list[tuple[str, CheckOutcome, list[Row]]] = [
    *(("alarms_have_causes", result, [row]) for result, row in ALARMS),
    *(("retired_provider_unused", result, rows) for result, rows in RETIRED),
    *(
        ("shown_as_it_is", result, [("", "state", "shown", {**VIEWED, "differ": differ})])
        for result, differ in ((CheckOutcome.PASS, {}), (CheckOutcome.FAIL, {"vm-01": "is off"}))
    ),
    *(
        (check, outcome, end(dark(persistence=True).host("esxi-001", "safe")).rows)
        for check in ("truth_table", "no_needless_outage")
        for outcome, end in ((CheckOutcome.PASS, back), (CheckOutcome.FAIL, stays_down))
    ),
    (
        "one_key_one_value",
        CheckOutcome.PASS,
        [values("kms", "server", k1=1), values("a", "cache", k1=1)],
    ),
    (
        "one_key_one_value",
        CheckOutcome.FAIL,
        [values("kms", "server", k1=1), values("a", "cache", k1=2)],
    ),
    (
        "one_key_one_value",
        CheckOutcome.FAIL,
        [values("a", "store", k1=1), values("a", "store", k1=2)],
    ),
    ("one_key_one_value", CheckOutcome.UNKNOWN, [values("kms", "server", k1=1, k2=2)]),
    ("replicas_agree", CheckOutcome.PASS, [group("a"), *ALIKE]),
    ("replicas_agree", CheckOutcome.FAIL, replicas(a={"k1": 1}, b={})),
    ("replicas_agree", CheckOutcome.FAIL, replicas(a={"k1": 1}, b={"k1": 2})),
    (
        "replicas_agree",
        CheckOutcome.FAIL,
        [unlisted(r) for r in replicas(a={"k1": 1}, b={"k1": 2})],
    ),
    ("replicas_agree", CheckOutcome.FAIL, [group("a", ["k1", "b"]), *ALIKE]),
    ("replicas_agree", CheckOutcome.UNKNOWN, [group("a"), *replicas(a={"k1": 1})]),
    ("replicas_agree", CheckOutcome.UNKNOWN, replicas(a={"k1": 1}, c={"k2": 2})),
    ("replicas_agree", CheckOutcome.PASS, [*ALIKE, *replicas(c={"k2": 2}, d={"k2": 2})]),
    ("replicas_agree", CheckOutcome.FAIL, [*ALIKE, *replicas(c={"k2": 2}, d={})]),
    ("one_effect", CheckOutcome.PASS, [LOOK, on("a"), LOOK, on("b"), made()]),
    ("one_effect", CheckOutcome.FAIL, [LOOK, on("a"), on("b"), LOOK, made()]),
    ("one_effect", CheckOutcome.FAIL, [made(op=["k1", "k2"])]),
    ("one_effect", CheckOutcome.FAIL, [MOVED, LOOK, on("a"), on("b"), made()]),
    ("one_effect", CheckOutcome.PASS, [MOVED, LOOK, on("a"), on("b", "poweredOff"), made()]),
    ("one_effect", CheckOutcome.FAIL, [LOOK, on("a"), on("b", "poweredOff"), made()]),
    ("one_effect", CheckOutcome.UNKNOWN, [LOOK, on("a")]),
    ("power_as_commanded", CheckOutcome.PASS, [powered("poweredOn")]),
    ("power_as_commanded", CheckOutcome.FAIL, [powered("poweredOn", "poweredOn")]),
    ("power_as_commanded", CheckOutcome.UNKNOWN, [powered()]),
    *(
        ("recovery_bound", outcome, end(dark(persistence=True).host("esxi-001", "safe")).rows)
        for outcome, end in (
            (CheckOutcome.PASS, in_time),
            (CheckOutcome.FAIL, late),
            (CheckOutcome.UNKNOWN, too_early),
            (CheckOutcome.UNKNOWN, back),
        )
    ),
    ("nothing_left", CheckOutcome.PASS, [lies("before", "k"), lies("answered"), lies("held")]),
    ("nothing_left", CheckOutcome.FAIL, [lies("before", "k"), lies("answered"), lies("end", "k")]),
    ("nothing_left", CheckOutcome.FAIL, [lies("before"), lies("answered", "k")]),
    ("nothing_left", CheckOutcome.UNKNOWN, [lies("before"), lies("answered")]),
    ("nothing_left", CheckOutcome.UNKNOWN, [lies("before", "k"), lies("held", closed=("a",))]),
    ("no_plaintext_key", CheckOutcome.PASS, [scanned()]),
    ("no_plaintext_key", CheckOutcome.FAIL, [scanned(findings=[LEAK])]),
    ("no_plaintext_key", CheckOutcome.FAIL, [scanned(findings=[LEAK] * 7, canary=[])]),
    ("no_plaintext_key", CheckOutcome.UNKNOWN, [scanned(canary=["bus"])]),
    ("no_plaintext_key", CheckOutcome.UNKNOWN, [scanned(places={}, canary=[])]),
    ("no_plaintext_key", CheckOutcome.UNKNOWN, [scanned(kept=False)]),
    ("no_plaintext_key", CheckOutcome.UNKNOWN, [("", "state", "scan", {"reason": "real"})]),
    ("no_internal_error", CheckOutcome.PASS, [COUNT, COUNT]),
    ("no_internal_error", CheckOutcome.FAIL, [COUNT, fell("background uplink: KeyError"), COUNT]),
    ("no_internal_error", CheckOutcome.FAIL, [fell("start: KeyError: x")]),
    ("no_internal_error", CheckOutcome.PASS, [COUNT, fell("the disk refused at start"), COUNT]),
    ("no_internal_error", CheckOutcome.PASS, [COUNT, fell(""), COUNT]),
    (
        "no_internal_error",
        CheckOutcome.PASS,
        [COUNT, fell("Unable to restore the system configuration."), COUNT],
    ),
    *(
        ("no_internal_error", CheckOutcome.FAIL, [COUNT, (*COUNT[:3], {counter: 2})])
        for counter in WATCHED
    ),
    ("no_internal_error", CheckOutcome.PASS, [COUNT, (*COUNT[:3], {"requests": 9})]),
    ("no_internal_error", CheckOutcome.FAIL, [COUNT, SOUND, SOUND, (*COUNT[:3], {"forged": 1})]),
    ("no_internal_error", CheckOutcome.UNKNOWN, [COUNT]),
    (
        "no_fault_left",
        CheckOutcome.PASS,
        [CUT, ("", "heal", "heal", {"id": "wan", "verified": True})],
    ),
    (
        "no_fault_left",
        CheckOutcome.FAIL,
        [CUT, ("", "heal", "heal", {"id": "wan", "verified": False})],
    ),
    ("no_fault_left", CheckOutcome.FAIL, [CUT]),
    (
        "no_fault_left",
        CheckOutcome.FAIL,
        [CUT, CLEAR, ("", "heal", "heal", {"id": "wan", "verified": True})],
    ),
    (
        "no_fault_left",
        CheckOutcome.PASS,
        [CLEAR, ("", "heal", "heal", {"id": "clear", "verified": False, "stays": True})],
    ),
    ("no_unseal_under_changed_pcr", CheckOutcome.PASS, [SEALED, boot(1), boot(2)]),
    ("no_unseal_under_changed_pcr", CheckOutcome.FAIL, [SEALED, boot(1), boot(2, "bb")]),
    ("no_unseal_under_changed_pcr", CheckOutcome.FAIL, [SEALED, boot(1), boot(2, ek="f")]),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.PASS,
        [SEALED, boot(1), boot(2, "bb", serves=False), boot(3)],
    ),
    ("no_unseal_under_changed_pcr", CheckOutcome.UNKNOWN, [SEALED, boot(1)]),
    ("no_unseal_under_changed_pcr", CheckOutcome.UNKNOWN, [UNSEALED, boot(1), boot(2, "bb")]),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.FAIL,
        [SEALED, boot(1), ("", "fault", "tpm.clear", TPM_FAULT), boot(2)],
    ),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.PASS,
        [
            SEALED,
            boot(1),
            ("", "fault", "tpm.clear", TPM_FAULT),
            boot(2, serves=False),
            CURED,
            boot(3),
            boot(4),
        ],
    ),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.FAIL,
        [SEALED, boot(1), ("", "fault", "tpm.swap", TPM_FAULT), CURED, boot(2), boot(3, "bb")],
    ),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.PASS,
        [SEALED, boot(1), ("", "fault", "tpm.clear", {**TPM_FAULT, "error": "x"}), boot(2)],
    ),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.PASS,
        [SEALED, boot(1), TPM_DEAD, boot(2, pcrs={}), boot(3)],
    ),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.FAIL,
        [SEALED, boot(1), TPM_DEAD, HOST_OFF, boot(2, pcrs={})],
    ),
    ("no_unseal_under_changed_pcr", CheckOutcome.FAIL, [SEALED, boot(1), boot(2, pcrs={})]),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.FAIL,
        [SEALED, boot(1), TPM_DEAD, boot(2, pcrs={}), boot(3, "bb")],
    ),
    ("tpm_sane", CheckOutcome.PASS, [boot(1), boot(2, tries=3)]),
    ("tpm_sane", CheckOutcome.FAIL, [boot(1), boot(2, tries=32)]),
    ("tpm_sane", CheckOutcome.FAIL, [boot(1), boot(2, lockout=True)]),
    ("tpm_sane", CheckOutcome.UNKNOWN, [boot(1)]),
    (
        "tpm_sane",
        CheckOutcome.UNKNOWN,
        [boot(1), ("", "fault", "tpm.lockout", TPM_FAULT), boot(2, lockout=True)],
    ),
    (
        "no_livelock",
        CheckOutcome.PASS,
        [*CALM, counted("esxi-001", "esxi", 50), counted("vcenter", "vcenter", 150)],
    ),
    (
        "no_livelock",
        CheckOutcome.FAIL,
        [*CALM, counted("esxi-001", "esxi", 50), counted("vcenter", "vcenter", 450)],
    ),
    ("no_livelock", CheckOutcome.UNKNOWN, CALM),
    ("no_livelock", CheckOutcome.UNKNOWN, CALM[1:]),
    (
        "no_livelock",
        CheckOutcome.PASS,
        [*CALM, counted("esxi-001", "esxi", 9000, boot=2), counted("vcenter", "vcenter", 60)],
    ),
    (
        "acked_key_recoverable",
        CheckOutcome.PASS,
        [MADE, ("", "state", "keys", {"asked": ["k1"], "available": ["k1"]})],
    ),
    (
        "acked_key_recoverable",
        CheckOutcome.FAIL,
        [MADE, ("", "state", "keys", {"asked": ["k1"], "available": []})],
    ),
    ("given_up_keys_gone", CheckOutcome.PASS, [*GONE, *LATER, held()]),
    ("given_up_keys_gone", CheckOutcome.FAIL, [*GONE, *LATER, held(cache="k1")]),
    ("given_up_keys_gone", CheckOutcome.FAIL, [*GONE, *LATER, held(store="k1")]),
    ("given_up_keys_gone", CheckOutcome.PASS, [*GONE, *LATER, held(store="k2")]),
    ("given_up_keys_gone", CheckOutcome.UNKNOWN, [*GONE, *LATER[:99], held(store="k1")]),
    ("given_up_keys_gone", CheckOutcome.UNKNOWN, [*GONE, *LATER, CUT, held(store="k1")]),
    ("given_up_keys_gone", CheckOutcome.UNKNOWN, [*GONE[:1], *LATER, held(store="k1")]),
    (
        "lock_given_back",
        CheckOutcome.PASS,
        [("vm-01", "ok", "vm.move", {"n": 1}), ("vm-02", "info", "vm.restart", {"n": 2})],
    ),
    (
        "lock_given_back",
        CheckOutcome.FAIL,
        [("vm-01", "ok", "vm.move", {"n": 1}), ("vm-01", "info", "vm.restart", {"kept": "x"})],
    ),
    ("one_host_per_vm", CheckOutcome.PASS, [ON_A, ON_B, LOOKED, ON_B, LOOKED]),
    ("one_host_per_vm", CheckOutcome.FAIL, [*2 * (ON_A, ON_B, LOOKED)]),
    ("one_vcenter_per_vm", CheckOutcome.PASS, [_inventory("a", "vm-01"), _inventory("b", "vm-02")]),
    ("one_vcenter_per_vm", CheckOutcome.FAIL, [_inventory("a", "vm-01"), _inventory("b", "vm-01")]),
    ("one_vcenter_per_vm", CheckOutcome.UNKNOWN, [MADE]),
    ("works_in_quiet", CheckOutcome.PASS, [ASKED_TO_GO, ("vm-01", "ok", "vm.migrate", {"n": 1})]),
    ("works_in_quiet", CheckOutcome.FAIL, [ASKED_TO_GO, ("vm-01", "fail", "vm.migrate", {"n": 1})]),
    ("done_as_asked", CheckOutcome.PASS, [("vm-01", "ok", "vm.live", {"n": 1})]),
    ("done_as_asked", CheckOutcome.FAIL, [("vm-01", "ok", "vm.live", {"n": 1, "wrong": "x"})]),
    ("session_in_force", CheckOutcome.PASS, [OPENED]),
    ("session_in_force", CheckOutcome.FAIL, [OPENED, OBEYED]),
    ("session_in_force", CheckOutcome.UNKNOWN, [MADE]),
    ("lock_given_back", CheckOutcome.UNKNOWN, [("vm-01", "info", "vm.move", {"n": 1})]),
    ("acked_key_recoverable", CheckOutcome.UNKNOWN, [MADE]),
    (
        "acked_key_recoverable",
        CheckOutcome.UNKNOWN,
        [
            MADE,
            ("", "ok", "vm.encrypt", {"key": "k2", "provider": "p"}),
            ("", "state", "keys", {"asked": ["k1"], "available": ["k1"]}),
        ],
    ),
    (
        "acked_key_recoverable",
        CheckOutcome.FAIL,
        [
            MADE,
            ("", "ok", "vm.encrypt", {"key": "k2", "provider": "p"}),
            ("", "state", "keys", {"asked": ["k1", "k2"], "available": ["k1"]}),
        ],
    ),
    ("acked_key_recoverable", CheckOutcome.UNKNOWN, [("", "info", "key.create", {"key": "k1"})]),
    (
        "acked_key_recoverable",
        CheckOutcome.UNKNOWN,
        [
            ("", "fault", "kms.key_state", {"id": "x", "keys": ["k1"]}),
            MADE,
            ("", "state", "keys", {"asked": ["k1"], "available": []}),
        ],
    ),
    (
        "acked_key_recoverable",
        CheckOutcome.FAIL,
        [
            ("", "fault", "kms.key_state", {"id": "x", "keys": ["k9"]}),
            MADE,
            ("", "state", "keys", {"asked": ["k1"], "available": []}),
        ],
    ),
    (
        "acked_key_recoverable",
        CheckOutcome.UNKNOWN,
        [
            ("", "fault", "provider.delete", {"id": "x"}),
            MADE,
            ("", "state", "keys", {"asked": ["k1"], "available": []}),
        ],
    ),
    ("acked_vm_known", CheckOutcome.PASS, [BORN, ("", "state", "vms", {"listed": {"x": "k1"}})]),
    ("acked_vm_known", CheckOutcome.FAIL, [BORN, ("", "state", "vms", {"listed": {}})]),
    ("acked_vm_known", CheckOutcome.FAIL, [BORN, ("", "state", "vms", {"listed": {"x": "k2"}})]),
    ("acked_vm_known", CheckOutcome.UNKNOWN, [BORN]),
    ("acked_vm_known", CheckOutcome.UNKNOWN, [MADE]),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.PASS,
        [SEALED, boot(1), ("", "fault", "tpm.clear", TPM_FAULT), CURING, boot(2, ek="f"), CURED],
    ),
    (
        "no_unseal_under_changed_pcr",
        CheckOutcome.FAIL,
        [
            SEALED,
            boot(1),
            ("", "fault", "tpm.clear", TPM_FAULT),
            CURING,
            boot(2, ek="f"),
            CURED,
            boot(3, ek="g"),
        ],
    ),
    ("lock_told", CheckOutcome.PASS, [MARKED, told([True, False])]),
    ("lock_told", CheckOutcome.PASS, [MARKED, told([True, False, True], "x")]),
    ("lock_told", CheckOutcome.FAIL, [MARKED, told([])]),
    ("lock_told", CheckOutcome.FAIL, [MARKED, told([False])]),
    ("lock_told", CheckOutcome.FAIL, [MARKED, told([True])]),
    ("lock_told", CheckOutcome.FAIL, [MARKED, told([True, False], "x")]),
    ("lock_told", CheckOutcome.PASS, [MARKED, told([True], running="x")]),
    ("lock_told", CheckOutcome.PASS, [MARKED, ("x", "invoke", "vm.move", {"n": 1}), told([True])]),
    ("lock_told", CheckOutcome.FAIL, [MARKED, ("x", "invoke", "vm.move", {"n": 1}), told([])]),
    ("lock_told", CheckOutcome.FAIL, [MARKED, ("x", "invoke", "vm.off", {"n": 1}), told([True])]),
    ("lock_told", CheckOutcome.UNKNOWN, [MARKED]),
    ("lock_told", CheckOutcome.UNKNOWN, [("vc", "state", "marks", {"locked": []})]),
    (
        "told_in_order",
        CheckOutcome.PASS,
        [log("unreachable", "asks", "locked", "safe", "unlocked", "locked-missing", "unlocked")],
    ),
    ("told_in_order", CheckOutcome.PASS, [log("unreachable", "asks", "asks-missing", "locked")]),
    ("told_in_order", CheckOutcome.PASS, [log("not-backed-up", "backed-up")]),
    (
        "told_in_order",
        CheckOutcome.PASS,
        [("p", "fault", "provider.delete", {"id": "x"}), log("asks", "locked")],
    ),
    ("told_in_order", CheckOutcome.FAIL, [log("asks")]),
    ("told_in_order", CheckOutcome.FAIL, [log("locked", "unreachable")]),
    ("told_in_order", CheckOutcome.FAIL, [log("unlocked")]),
    ("told_in_order", CheckOutcome.FAIL, [log("locked-missing", "unlocked", "unlocked")]),
    (
        "told_in_order",
        CheckOutcome.FAIL,
        [log("unreachable", "asks", "locked", "unlocked", "safe")],
    ),
    ("told_in_order", CheckOutcome.FAIL, [log("backed-up")]),
    ("told_in_order", CheckOutcome.FAIL, [log("not-backed-up", "backed-up", "backed-up")]),
    ("told_in_order", CheckOutcome.UNKNOWN, [MARKED]),
    ("accepted_order_kept", CheckOutcome.PASS, [*pair(1, "poweredOn")]),
    ("accepted_order_kept", CheckOutcome.FAIL, [*pair(1, "poweredOn"), *pair(2, "poweredOff")]),
    ("accepted_order_kept", CheckOutcome.FAIL, [CUT, *pair(1, "poweredOff")]),
    ("accepted_order_kept", CheckOutcome.UNKNOWN, [CLEAR, *pair(1, "poweredOff")]),
    (
        "accepted_order_kept",
        CheckOutcome.UNKNOWN,
        [pair(1, "poweredOff")[0], CLEAR, pair(1, "poweredOff")[1]],
    ),
    (
        "accepted_order_kept",
        CheckOutcome.UNKNOWN,
        [pair(1, "poweredOff")[0], *pair(2, "poweredOff"), pair(1, "poweredOff")[1]],
    ),
    (
        "accepted_order_kept",
        CheckOutcome.FAIL,
        [
            CLEAR,
            ("", "heal", "heal", {"id": "clear", "verified": True}),
            *pair(1, "poweredOff"),
        ],
    ),
    ("guests_read_back", CheckOutcome.PASS, [RIGHT]),
    ("guests_read_back", CheckOutcome.FAIL, [RIGHT, (*RIGHT[:3], {"wrong": "vm-01: digest"})]),
    ("guests_read_back", CheckOutcome.UNKNOWN, [("vm-01", "info", "guest.challenge", {})]),
    ("needs_no_kms", CheckOutcome.PASS, [recovery(3.0, 0)]),
    ("needs_no_kms", CheckOutcome.FAIL, [recovery(3.0, 2)]),
    ("needs_no_kms", CheckOutcome.FAIL, [recovery(None, None)]),
    ("needs_no_kms", CheckOutcome.FAIL, [recovery(3.0, 0), recovery(3.0, 1)]),
    ("needs_no_kms", CheckOutcome.UNKNOWN, [recovery(3.0, None)]),
]


@pytest.mark.parametrize(("name", "result", "rows"), CASES)
def test_verdicts(name: str, result: CheckOutcome, rows: list[Row]) -> None:
    found = CHECKS[name].judge(records(rows))
    assert found.result is result
    assert found.text
    if result is CheckOutcome.FAIL:
        assert found.records


@pytest.mark.parametrize("name", list(CHECKS))
def test_nothing_seen_is_unknown_and_each_has_a_good_and_a_bad_history(name: str) -> None:
    assert CHECKS[name].judge([]).result is CheckOutcome.UNKNOWN
    results = {result for n, result, _ in CASES if n == name}
    results |= {finding.result for n, _, finding in given_cases.HELD if n == name}
    assert {CheckOutcome.PASS, CheckOutcome.FAIL} <= results


@pytest.mark.parametrize(
    ("available", "place"),
    [
        ([], "all"),
        (["k3", "k4"], "the first"),
        (["k1", "k2"], "the last"),
        (["k1", "k4"], "in the middle"),
        (["k2", "k3"], "in the middle"),
    ],
)
def test_lost_keys_are_told_by_their_place(available: list[str], place: str) -> None:
    keys = ["k1", "k2", "k3", "k4"]
    made = [("", "ok", "key.create", {"key": key, "provider": "p"}) for key in keys]
    end = ("", "state", "keys", {"asked": keys, "available": available})
    assert f"({place})" in CHECKS["acked_key_recoverable"].judge(records([*made, end])).text


def test_judge_keeps_the_order_of_names() -> None:
    assert [c.name for c in judge(ALWAYS, [])] == list(ALWAYS)
