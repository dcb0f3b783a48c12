"""Each clause of a check has a history that lies to it, and the honest neighbour beside it.

Findings are compared as wholes: what a check says and the records that it rests on are what a
person reads. Records are a second apart, and record 1 is at 1 s.
"""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks import CHECKS
from chaos.checks.no_livelock import LEAST_S, MOST
from chaos.checks.result import CheckOutcome, Finding
from protocol.events import EventTypeId as Id
from tests.chaos import test_checks as known
from tests.chaos.acked_cases import ENDING, INJECT, KEYS, heal, state
from tests.chaos.given_cases import HELD
from tests.chaos.replica_rows import replicas
from tests.chaos.test_checks import Row, counted, fell, held, lies, log, made, on, records, told

FAIL, PASS, UNKNOWN = CheckOutcome.FAIL, CheckOutcome.PASS, CheckOutcome.UNKNOWN


def breaches(*pairs: tuple[str, str], node: str) -> Row:
    return state("group", node, breaches=[list(pair) for pair in pairs])


def vms(**listed: str) -> Row:
    return state("vms", listed=listed)


def encrypted(vm: str, key: str = "k1") -> Row:
    return ("", "ok", "vm.encrypt", {"vm": vm, "key": key})


def action(op: str, type: str, vm: str = "x") -> Row:
    return (vm, type, op, {})


TAKEN_OUT = Finding(UNKNOWN, "no VM was made in this run")
VM_LOST = Finding(FAIL, "1 of 1 lost, or under another key: x", (1,))
VMS: list[tuple[str, list[Row], Finding]] = [
    ("acked_vm_known", rows, finding)
    for rows, finding in (
        ([encrypted("x"), vms(x="k1")], Finding(PASS, "all 1 acknowledged VMs are known")),
        ([encrypted("x"), action("vm.unregister", "ok"), vms()], TAKEN_OUT),
        ([encrypted("x"), action("vm.destroy", "info"), vms()], TAKEN_OUT),
        ([encrypted("x"), action("vm.destroy", "fail"), vms()], VM_LOST),
        ([encrypted("x"), action("vm.destroy", "invoke"), vms()], VM_LOST),
        ([encrypted("x"), action("vm.off", "ok"), vms()], VM_LOST),
        ([encrypted("x"), action("vm.destroy", "ok", "y"), vms()], VM_LOST),
        (
            [encrypted("x"), encrypted("y"), vms(x="k1")],
            Finding(FAIL, "1 of 2 lost, or under another key: y", (2,)),
        ),
        (
            [encrypted("x"), encrypted("x", "k2"), vms(x="k1")],
            Finding(FAIL, "1 of 1 lost, or under another key: x", (2,)),
        ),
        ([("", "info", "vm.encrypt", {"vm": "x", "key": "k1"}), vms()], TAKEN_OUT),
        ([("", "ok", "vm.encrypt", {"vm": "x"}), vms()], TAKEN_OUT),
        ([("", "ok", "key.create", {"key": "k1"}), vms()], TAKEN_OUT),
        (
            [encrypted("x")],
            Finding(UNKNOWN, "vCenter's inventory was not read at the end"),
        ),
    )
]


def busy(grown: float, *, seconds: int, hosts: int = 1) -> list[Row]:
    """Counters of a lab whose requests grow by so much, read so many seconds apart."""
    names = [f"esxi-{n:03}" for n in range(1, hosts + 1)]
    quiet: list[Row] = [("", "note", "", {})] * (seconds - hosts - 1)
    first = [counted(name, "esxi", 7) for name in names]
    last = [counted(name, "esxi", 7) for name in names]
    return [
        heal(),
        counted("vc", "vcenter", 10),
        *first,
        *quiet,
        counted("vc", "vcenter", 10 + round(grown)),
        *last,
    ]


LEAST = round(LEAST_S)
RATES: list[tuple[str, list[Row], Finding]] = [
    ("no_livelock", rows, finding)
    for rows, finding in (
        (busy(MOST, seconds=60), Finding(PASS, "300 requests per host and minute")),
        (
            busy(MOST + 1, seconds=60),
            Finding(FAIL, "301 requests per host and minute, most of them by vc", (2, 62)),
        ),
        (busy(MOST + 1, seconds=60, hosts=2), Finding(PASS, "150 requests per host and minute")),
        (busy(2 * MOST, seconds=60, hosts=2), Finding(PASS, "300 requests per host and minute")),
        (busy(10, seconds=LEAST), Finding(PASS, "30 requests per host and minute")),
        (busy(10, seconds=LEAST - 1), Finding(UNKNOWN, "no 20 s were measured after the heal")),
        (
            [heal(), *[("", "note", "", {})] * 30],
            Finding(UNKNOWN, "no 20 s were measured after the heal"),
        ),
        (busy(10, seconds=LEAST)[1:], Finding(UNKNOWN, "nothing was healed")),
        (
            # Without a host, all requests are those of one.
            [
                heal(),
                counted("vc", "vcenter", 0),
                *([("", "note", "", {})] * 59),
                counted("vc", "vcenter", 301),
            ],
            Finding(FAIL, "301 requests per host and minute, most of them by vc", (2, 62)),
        ),
        (
            # What was counted before the heal does not count.
            [counted("vc", "vcenter", 0), *busy(10, seconds=60)],
            Finding(PASS, "10 requests per host and minute"),
        ),
    )
]

VM_ON: dict[str, Any] = {"n": 1, "wanted": "poweredOn"}
ASKED: Row = ("vm-01", "invoke", "vm.off_on", {"n": 1})
NO_PAIR = Finding(UNKNOWN, "no pair of commands was undisturbed")
ORDERS: list[tuple[str, list[Row], Finding]] = [
    ("accepted_order_kept", rows, finding)
    for rows, finding in (
        (
            [
                ASKED,
                ("vm-01", "ok", "vm.off_on", {**VM_ON, "left": "poweredOff"}),
            ],
            Finding(FAIL, "vm-01 is poweredOff", (2,)),
        ),
        (
            [ASKED, ("vm-01", "ok", "vm.off_on", {**VM_ON, "left": "poweredOn"})],
            Finding(PASS, "1 pairs, each in its order"),
        ),
        (
            [
                ASKED,
                ("vm-01", "fail", "vm.off_on", {**VM_ON, "left": "poweredOff"}),
            ],
            NO_PAIR,
        ),
        ([("vm-01", "invoke", "vm.on", {"n": 1}), ("vm-01", "ok", "vm.on", VM_ON)], NO_PAIR),
        (
            [
                ("vm-01", "ok", "vm.off_on", {**VM_ON, "left": "poweredOff"}),
            ],
            NO_PAIR,
        ),
        (
            [
                ASKED,
                ("", "fault", "link.delay", {"id": "y"}),
                ("vm-01", "ok", "vm.off_on", {**VM_ON, "left": "poweredOff"}),
            ],
            Finding(FAIL, "vm-01 is poweredOff", (3,)),
        ),
        (
            # Another operation's record with the same number, and one of the bus, end nothing.
            [
                ASKED,
                ("vm-01", "info", "guest.challenge", {"n": 1}),
                ("vm-01", "ok", "vm.off_on", {**VM_ON, "left": "poweredOff"}),
            ],
            Finding(FAIL, "vm-01 is poweredOff", (3,)),
        ),
    )
]


def scan(**other: Any) -> list[Row]:
    return [known.scanned(**other)]


def leak(place: int) -> dict[str, Any]:
    return {"kind": "log", "name": "kms", "secret": "key", "form": "hex", "offset": place}


SCANS: list[tuple[str, list[Row], Finding]] = [
    ("no_plaintext_key", rows, finding)
    for rows, finding in (
        (scan(), Finding(PASS, "9 keys in none of 10 places of 2 sorts")),
        (scan(keys=0), Finding(UNKNOWN, "no key was known to search for")),
        (scan(kept=False), Finding(UNKNOWN, "no key was known to search for")),
        (scan(keys=1), Finding(PASS, "1 keys in none of 10 places of 2 sorts")),
        (scan(missing="vm-01's log"), Finding(UNKNOWN, "vm-01's log")),
        (scan(reason="a real lab"), Finding(UNKNOWN, "a real lab")),
        (scan(canary=["bus"]), Finding(UNKNOWN, "the canary was not found in disk")),
        (scan(places={}), Finding(UNKNOWN, "the canary was not found in any place")),
        (scan(findings=[leak(7)]), Finding(FAIL, "key (hex) in the log kms at 7", (1,))),
        (
            scan(findings=[leak(n) for n in range(5)]),
            Finding(FAIL, "; ".join(f"key (hex) in the log kms at {n}" for n in range(5)), (1,)),
        ),
        (
            scan(findings=[leak(n) for n in range(6)], more=2),
            Finding(
                FAIL,
                "; ".join([*(f"key (hex) in the log kms at {n}" for n in range(5)), "and 3 more"]),
                (1,),
            ),
        ),
    )
]


SEEN_BOTH = Finding(FAIL, "vm-01 is on a and on b", (4, 5))
ONCE = Finding(PASS, "5 keys, each for an operation of its own")
HA: Row = ("", "state", "staging", {"ha": ["a", "b"]})
MIGRATES: Row = ("vm-01", "invoke", "vm.migrate", {"n": 4})
EFFECTS: list[tuple[str, list[Row], Finding]] = [
    ("one_effect", rows, finding)
    for rows, finding in (
        ([HA, known.LOOK, MIGRATES, on("a", "poweredOff"), on("b"), made()], ONCE),
        ([HA, known.LOOK, MIGRATES, on("a"), on("b"), made()], ONCE),
        ([known.LOOK, known.LOOK, MIGRATES, on("a"), on("b"), made()], ONCE),
        ([known.LOOK, ("vm-01", "invoke", "vm.move", {"n": 4}), HA, on("a"), on("b")], SEEN_BOTH),
        ([HA, known.LOOK, known.LOOK, on("a"), on("b"), made()], SEEN_BOTH),
        ([HA, known.LOOK, on("a"), on("a"), made()], ONCE),
        ([HA, known.LOOK, on("a", "poweredOff"), on("b"), made()], ONCE),
        ([HA, known.LOOK, on("a"), on("b", "poweredOff"), made()], ONCE),
        (
            [("vm-01", "ok", "vm.off", {}), known.LOOK, known.LOOK, on("a", "poweredOff"), on("b")],
            SEEN_BOTH,
        ),
        (
            [
                ("vm-01", "invoke", "vm.off", {}),
                known.LOOK,
                known.LOOK,
                on("a", "poweredOff"),
                on("b"),
            ],
            SEEN_BOTH,
        ),
        ([made(op=["k1", "k2"])], Finding(FAIL, "kms made 2 keys for op", (1,))),
    )
]

OTHER: list[tuple[str, list[Row], Finding]] = [
    (
        "replicas_agree",
        [breaches(("k1", "b"), node="a"), breaches(("k1", "a"), node="b")],
        Finding(FAIL, "k1 is two keys, on a and b", (1,)),
    ),
    (
        "replicas_agree",
        replicas(a={"k1": 1}, b={}),
        Finding(FAIL, "1 of 1 keys differ: k1 is not on b", (1, 2)),
    ),
    (
        "replicas_agree",
        replicas(a={"k1": 1}, b={"k1": 2}),
        Finding(FAIL, "1 of 1 keys differ: k1 is not in the same state everywhere", (1, 2)),
    ),
    (
        "replicas_agree",
        replicas(a={"k1": 1}, b={"k1": 1}),
        Finding(PASS, "a, b have the same 1 keys"),
    ),
    (
        "no_fault_left",
        [known.CUT, known.HEAL],
        Finding(PASS, "1 faults, all seen gone"),
    ),
    (
        "no_fault_left",
        [known.CLEAR, heal("clear", verified=False, stays=True)],
        Finding(PASS, "1 faults, all seen gone, 1 irreversible by design"),
    ),
    (
        "no_internal_error",
        [known.COUNT, fell("start: x"), known.COUNT],
        Finding(FAIL, "esxi-001 fell: start: x", (2,)),
    ),
    (
        "nothing_left",
        [lies("before", "k"), lies("held")],
        Finding(PASS, "1 looks after removals found nothing"),
    ),
    (
        "nothing_left",
        [lies("before"), lies("held")],
        Finding(UNKNOWN, "no stored keys were removed"),
    ),
    ("nothing_left", [lies("before", "k")], Finding(UNKNOWN, "no stored keys were removed")),
    (
        "nothing_left",
        [lies("before", "k"), lies("held", closed=("a",))],
        Finding(UNKNOWN, "could not be opened: a of esxi-001"),
    ),
    (
        "guests_read_back",
        [known.RIGHT, known.RIGHT],
        Finding(PASS, "2 answers, all right"),
    ),
    (
        "tpm_sane",
        [known.boot(1), known.boot(2, tries=32)],
        Finding(FAIL, "in lockout: esxi-001", (2,)),
    ),
    ("tpm_sane", [known.boot(1), known.boot(2, tries=31)], Finding(PASS, "2 readings of 1 TPMs")),
    (
        "tpm_sane",
        [known.boot(1), known.boot(2, tries=5, most=0)],
        Finding(PASS, "2 readings of 1 TPMs"),
    ),
    (
        "lock_told",
        [known.MARKED, told([True])],
        Finding(FAIL, "x is unlocked, and no event told of it", (1, 2)),
    ),
    (
        "lock_told",
        [known.MARKED, told([])],
        Finding(FAIL, "x was locked, and no event told of it", (1, 2)),
    ),
    ("lock_told", [told([True, False])], Finding(UNKNOWN, "no VM was locked in this run")),
    (
        "lock_told",
        [known.MARKED, state("lock_events", told={})],
        Finding(UNKNOWN, "vCenter's events were not read at the end"),
    ),
]

GIVEN_UP = "no key was given up long enough before the end"


def given_up(*rows: Row, seconds: int, cache: str = "", type: str = "ok") -> list[Row]:
    """A key given up at 2 s, what happened then, and a look so many seconds after it; a host that
    reconciles each 60 s has it for a minute longer at most."""
    gone: list[Row] = [known.GONE[0], ("vm-01", type, "vm.come_and_go", {"gone": "k1"}), *rows]
    return [*gone, *known.LATER[: seconds - len(rows) - 1], held(cache=cache)]


HAS_IT = "esxi-001 has k1 in its cache"
NOTHING_FOUND = Finding(PASS, "1 looks for keys that were given up found none")
GIVEN: list[tuple[str, list[Row], Finding]] = [
    ("given_up_keys_gone", rows, finding)
    for rows, finding in (
        (given_up(seconds=120, cache="k1"), Finding(FAIL, HAS_IT, (122,))),
        (given_up(seconds=119, cache="k1"), Finding(UNKNOWN, GIVEN_UP)),
        (given_up(seconds=120), NOTHING_FOUND),
        (given_up(seconds=120, type="fail"), Finding(UNKNOWN, GIVEN_UP)),
        (given_up(state("node"), seconds=120), Finding(UNKNOWN, GIVEN_UP)),
        (given_up(state("node"), seconds=121), NOTHING_FOUND),
        (given_up(heal(), seconds=120), Finding(UNKNOWN, GIVEN_UP)),
        (given_up(known.CUT, seconds=120), Finding(UNKNOWN, GIVEN_UP)),
        (given_up(INJECT, seconds=120), Finding(UNKNOWN, GIVEN_UP)),
        (given_up(ENDING, seconds=120), Finding(UNKNOWN, GIVEN_UP)),
        (given_up(("", "note", "node", {}), seconds=120), NOTHING_FOUND),
        (given_up(state("look"), seconds=120), NOTHING_FOUND),
    )
]

AFTER = "event 1: h cannot get its key before a provider is unreachable"
TOLD: list[tuple[str, list[Row], Finding]] = [
    ("told_in_order", rows, finding)
    for rows, finding in (
        ([log("asks")], Finding(FAIL, AFTER, (1,))),
        (
            [state("staging", providers=[{"type": "vCenter"}]), log("asks")],
            Finding(FAIL, AFTER, (2,)),
        ),
        ([("p", "ok", "provider.delete", {}), log("asks")], Finding(FAIL, AFTER, (2,))),
        ([("p", "fault", "link.cut", {}), log("asks")], Finding(FAIL, AFTER, (2,))),
        (
            [("p", "invoke", "provider.add", {}), log("asks")],
            Finding(PASS, "1 events, each after its cause"),
        ),
        ([log("locked-missing")], Finding(PASS, "1 events, each after its cause")),
        (
            [state("event_log", told=[("TrustAuthority.HostAttestFailed", "h", "")]), log("asks")],
            Finding(FAIL, AFTER, (2,)),
        ),
    )
]
TRUSTED = state("staging", providers=[{"type": "trustAuthority"}])
REINSTALL: Row = ("esxi-001", "invoke", "host.reinstall", {"n": 1})


def unsealed(seq: int, boot: int = 2) -> Finding:
    text = f"opened though TPM or PCRs are not those of the sealing: esxi-001 (boot {boot})"
    return Finding(FAIL, text, (seq,))


def boots(count: int) -> Finding:
    return Finding(PASS, f"{count} boots, each as it was sealed or stopped")


CLEARED: Row = ("", "fault", "tpm.clear", known.TPM_FAULT)
OTHERS_TPM: Row = ("", "fault", "tpm.clear", {"id": "clear", "nodes": ["esxi-002"]})
STAYS_UP: Row = ("esxi-001", "state", "node", {"state": "running", "boot": 1})
NO_BOOT = Finding(UNKNOWN, "no host with a sealed configuration booted again")
PCRS: list[tuple[str, list[Row], Finding]] = [
    ("no_unseal_under_changed_pcr", [known.SEALED, known.boot(1), *rows], finding)
    for rows, finding in (
        ([known.boot(2, "bb")], unsealed(3)),
        ([REINSTALL, known.boot(2, "bb"), known.boot(3, "bb")], boots(1)),
        ([("esxi-001", "ok", *REINSTALL[2:]), known.boot(2, "bb")], unsealed(4)),
        ([("esxi-001", "invoke", "host.reboot", {}), known.boot(2, "bb")], unsealed(4)),
        ([("esxi-002", *REINSTALL[1:]), known.boot(2, "bb")], unsealed(4)),
        ([CLEARED, ("", "note", "ending", {"id": "clear"}), known.boot(2, ek="f")], unsealed(5)),
        ([CLEARED, ("", "note", "inject", known.CURING[3]), known.boot(2, ek="f")], unsealed(5)),
        ([CLEARED, (*known.CURED[:3], {"id": "clear", "cured": True}), known.boot(2)], unsealed(5)),
        (
            [CLEARED, (*known.CURED[:3], {"id": "clear", "verified": True}), known.boot(2)],
            unsealed(5),
        ),
        ([CLEARED, known.CURED, known.boot(2, ek="f")], boots(1)),
        ([("", "fault", "tpm.swap", {"id": "s", "nodes": ["esxi-002"]}), known.boot(2)], boots(1)),
        # The cure of another host's TPM excuses nothing here.
        ([OTHERS_TPM, known.CURING, known.boot(2, ek="f")], unsealed(5)),
        # A host that stays up shows no boot when its dead TPM shows no PCRs; one that was off does.
        ([known.TPM_DEAD, STAYS_UP, known.boot(2, pcrs={})], NO_BOOT),
        ([known.TPM_DEAD, known.HOST_OFF, known.boot(2, pcrs={})], unsealed(5)),
        ([("", "fault", "tpm.lockout", known.TPM_FAULT), known.boot(2, pcrs={})], unsealed(4)),
    )
]


def said(*events: str) -> Row:
    """vCenter's log of events on host h, of VM x, by their ids."""
    return state(
        "event_log", told=[(event, "h", "x" if ".vm." in event else "") for event in events]
    )


UNATTESTED, ASKS = Id.TA_HOST_ATTEST_FAIL.value, Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR.value
LOCKS, UNLOCKED = Id.VM_LOCKED_KMS_CLUSTER_ERROR.value, Id.VM_UNLOCKED.value
UNREACHABLE, UNSET = Id.KMS_UNREACHABLE.value, Id.TA_HOST_ATTEST_UNSET.value


def in_turn(count: int) -> Finding:
    return Finding(PASS, f"{count} events, each after its cause")


TRUST: list[tuple[str, list[Row], Finding]] = [
    ("told_in_order", rows, finding)
    for rows, finding in (
        ([said(UNATTESTED, ASKS)], in_turn(2)),
        ([said(UNSET, ASKS)], in_turn(2)),
        ([said(Id.KMS_TA_CLUSTER_NOT_AVAILABLE.value, ASKS)], in_turn(2)),
        ([said(Id.KMS_TA_CLUSTER_UNHEALTHY.value, ASKS)], in_turn(2)),
        ([said(Id.KMS_NOT_BACKED_UP_AFTER_UPDATE.value, Id.KMS_ALL_BACKED_UP.value)], in_turn(2)),
        ([TRUSTED, said(ASKS)], in_turn(1)),
        ([TRUSTED, said(LOCKS, ASKS, UNLOCKED)], in_turn(3)),
        (
            [said(UNREACHABLE, ASKS, LOCKS, UNLOCKED)],
            Finding(FAIL, "event 4: x is unlocked before its host h is safe", (1,)),
        ),
        (
            [said(UNATTESTED, LOCKS)],
            Finding(FAIL, "event 2: x is locked before a provider is unreachable", (1,)),
        ),
        (
            [said(Id.HOST_CRYPTO_ENABLED.value, UNLOCKED)],
            Finding(FAIL, "event 2: x is unlocked, and was not locked", (1,)),
        ),
    )
]


def alarms(*, rings: bool, connection: str) -> Row:
    name = ["alarm.HostConnectionFailure"] if rings else []
    seen = {"alarms": name, "connection": connection, "crypto": "safe"}
    return state("alarms", hosts={"h": seen}, vms={})


def ran(host: str, power: str = "poweredOn") -> Row:
    return on(host, power)


def challenges(count: int) -> list[Row]:
    return [("vm-01", "ok", "guest.challenge", {"wrong": f"w{n}"}) for n in range(count)]


FIRST_FIVE = "; ".join(f"w{n}" for n in range(5))
RINGS = "and alarm.HostConnectionFailure"
MIGRATED: Row = ("vm-01", "ok", "vm.migrate", {"n": 4})
HA_BOTH = Finding(FAIL, "vm-01 is on a and on b", (5, 6))


def shown(*, hosts: int = 2, refused: str = "", **differ: str) -> Row:
    return state("shown", hosts=hosts, vms=3, differ=differ, refused=refused.split())


def touched(op: str, type: str = "fault") -> Row:
    return ("", type, op, {"id": "f", "nodes": ["h"]})


NOT_ACCEPTED = Finding(FAIL, "h: vCenter does not accept its TPM", (2,))
SHOWN = Finding(PASS, "vCenter shows 2 hosts and 3 VMs as they are")
NOT_SHOWN = Finding(UNKNOWN, "no host was looked at beside its vCenter")
VIEWS: list[tuple[str, list[Row], Finding]] = [
    ("shown_as_it_is", rows, finding)
    for rows, finding in (
        ([], NOT_SHOWN),
        ([shown(hosts=0)], NOT_SHOWN),
        ([("", "note", "shown", shown()[3])], NOT_SHOWN),
        ([shown()], SHOWN),
        ([shown(x="it is on"), shown()], SHOWN),
        ([shown(), shown(x="it is on")], Finding(FAIL, "x: it is on", (2,))),
        ([touched("link.cut"), shown(refused="h")], NOT_ACCEPTED),
        ([touched("tpm.clear", "heal"), shown(refused="h")], NOT_ACCEPTED),
        ([touched("tpm.clear"), shown(refused="h")], SHOWN),
        ([touched("host.reinstall", "invoke"), shown(refused="h")], SHOWN),
        (
            [touched("tpm.clear"), shown(refused="h", x="it is on")],
            Finding(FAIL, "x: it is on", (2,)),
        ),
        (
            [state("shown", hosts=1, vms=1, refused=[], differ={f"v{n}": "off" for n in range(6)})],
            Finding(FAIL, "; ".join(f"v{n}: off" for n in range(5)), (1,)),
        ),
    )
]
MORE: list[tuple[str, list[Row], Finding]] = [
    (
        "accepted_order_kept",
        [
            ASKED,
            ("vm-01", "invoke", "guest.challenge", {"n": 2}),
            ("vm-01", "ok", "guest.challenge", {"n": 1}),
            ("vm-01", "ok", "vm.off_on", {**VM_ON, "left": "poweredOn"}),
        ],
        Finding(PASS, "1 pairs, each in its order"),
    ),
    (
        # Of a VM that nobody marked no record of a mark can be shown.
        "lock_told",
        [("vc", "state", "marks", {"locked": ["y"]}), *[known.told([])]],
        Finding(FAIL, "x was locked, and no event told of it", (2,)),
    ),
    ("guests_read_back", challenges(5), Finding(FAIL, FIRST_FIVE, (1, 2, 3, 4, 5))),
    ("guests_read_back", challenges(6), Finding(FAIL, FIRST_FIVE, (1, 2, 3, 4, 5, 6))),
    (
        "guests_read_back",
        [("vm-01", "ok", "vm.on", {"wrong": "x"}), known.RIGHT],
        Finding(PASS, "1 answers, all right"),
    ),
    (
        "alarms_have_causes",
        [alarms(rings=True, connection="connected")],
        Finding(FAIL, f"h is connected, {RINGS} stands", (1,)),
    ),
    (
        "alarms_have_causes",
        [alarms(rings=False, connection="notResponding")],
        Finding(FAIL, f"h is notResponding, {RINGS} does not stand", (1,)),
    ),
    (
        "tpm_sane",
        [known.boot(1), CLEARED, known.boot(2, lockout=True)],
        Finding(FAIL, "in lockout: esxi-001", (3,)),
    ),
    # A migration is over when it has ended, and the next look begins.
    ("one_effect", [MIGRATES, MIGRATED, known.LOOK, HA, on("a"), on("b"), made()], HA_BOTH),
    ("one_effect", [MIGRATES, known.LOOK, MIGRATED, HA, on("a"), on("b"), made()], ONCE),
    ("one_effect", [MIGRATES, known.LOOK, MIGRATED, known.LOOK, on("a"), on("b"), made()], HA_BOTH),
    ("one_effect", [MIGRATES, known.LOOK, HA, on("a"), on("b"), MIGRATED, made()], ONCE),
    (
        "one_host_per_vm",
        [ran("a"), ran("b", "poweredOff"), known.LOOK] * 2,
        Finding(PASS, "each VM that ran had one host"),
    ),
    (
        "one_host_per_vm",
        [ran("a"), ran("b"), known.LOOK] * 2,
        Finding(FAIL, "vm-01 runs on a and b at 6 s", (4, 5)),
    ),
    (
        "lock_given_back",
        [("vm-01", "info", "vm.on", {"kept": "x"})],
        Finding(UNKNOWN, "no VM was started on another host"),
    ),
    (
        "replicas_agree",
        [*replicas(a={"k1": 1}, b={"k1": 1}), *replicas(c={"k2": 2}, d={})],
        Finding(FAIL, "1 of 1 keys differ: k2 is not on d", (3, 4)),
    ),
    (
        "given_up_keys_gone",
        [
            ("vm-01", "ok", "vm.come_and_go", {"gone": "k1"}),
            *known.LATER,
            *known.LATER,
            *known.LATER,
            held(cache="k1"),
        ],
        Finding(FAIL, HAS_IT, (362,)),
    ),
    (
        "given_up_keys_gone",
        [
            ("vm-01", "ok", "vm.come_and_go", {"gone": "k1"}),
            *known.LATER,
            *known.LATER,
            *known.LATER[:118],
            held(cache="k1"),
        ],
        Finding(UNKNOWN, GIVEN_UP),
    ),
]

CASES: list[tuple[str, list[Row], Finding]] = [
    *KEYS,
    *VMS,
    *RATES,
    *ORDERS,
    *SCANS,
    *EFFECTS,
    *OTHER,
    *GIVEN,
    *TOLD,
    *PCRS,
    *TRUST,
    *VIEWS,
    *MORE,
    *HELD,
]


@pytest.mark.parametrize(
    ("name", "rows", "finding"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)]
)
def test_a_clause_on_both_of_its_sides(name: str, rows: list[Row], finding: Finding) -> None:
    assert CHECKS[name].judge(records(rows)) == finding
