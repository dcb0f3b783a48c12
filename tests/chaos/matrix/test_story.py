"""A cell's records as sentences: every kind that a play writes has words, and only its own event's
records are told."""

from __future__ import annotations

from typing import Any

from chaos.history import Record
from chaos.matrix.looks import plain
from chaos.matrix.story import lines_of, sentence
from chaos.oracle.terms import TableEvent
from tests.chaos.matrix.evidence import REQUIRED, SILENT, added, bare, groups, host, locked, running


def record(type: str, op: str, node: str = "esxi-001", t: float = 10.0, **data: Any) -> Record:
    return Record(seq=7, t=t, node=node, type=type, op=op, data=data)


def told(type: str, op: str, node: str = "esxi-001", **data: Any) -> str:
    return sentence(record(type, op, node, **data))


def test_what_was_asked_and_how_it_ended() -> None:
    assert told("invoke", "PowerOnVm", "vcenter", request={"vm": "e4-off"}) == (
        "vcenter is asked: PowerOnVm (vm e4-off)"
    )
    assert told("ok", "PowerOnVm", "vcenter") == "vcenter: PowerOnVm is done"
    refused = told("fail", "PowerOnVm", "vcenter", **plain(REQUIRED))
    assert refused == "vcenter refuses: EncryptionKeyRequired: required"
    assert told("info", "AddHost", "vcenter", **plain(SILENT)).startswith("vcenter gives no answer")


def test_what_was_seen() -> None:
    vm = told("probe", "vm", vm="e4-off", **plain(locked()))
    assert "e4-off: its host shows poweredOff on esxi-001, locked, invalid" in vm
    assert "gives no answer; told: com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError" in vm
    down = told("probe", "vm", vm="v", **plain(running(vcenter=None, vcenter_up=False)))
    assert "vCenter: it does not answer; its guest answers right" in down
    safe = "esxi-001 says that it is safe; it decrypts its dump; vCenter: connected, safe; it has"
    assert told("probe", "host", **plain(host())).startswith(safe)
    assert "cannot decrypt its dump" in told("probe", "host", **plain(host(dump=False)))
    halted = host(answers=False, crypto=None, screen="A", connection=None)
    assert "does not answer; its screen: A" in told("probe", "host", **plain(halted))
    assert told("probe", "keys", keys=[{"present": True}, {"present": False}]).endswith(
        "1 of 2 keys"
    )
    assert "with its host key and 2 of 2 keys" in told("probe", "added", **plain(added()))
    assert "is not in the inventory" in told("probe", "added", **plain(added(listed=False)))
    assert told("probe", "groups", **plain(groups())) == (
        "the disk groups of esxi-001 are mounted, its component reads right; vCenter: active; "
        "another replica reads right"
    )
    gone = told("probe", "groups", **plain(bare(shown=None)))
    assert "not mounted, its component cannot be read; another" in gone
    assert gone.endswith("it tells of keknotavailable")
    assert told("probe", "profiles", servers={"a": 0, "b": 2}).endswith("know of: a 0, b 2")
    assert told("probe", "left", files=True, keys=0).endswith(
        "files on the datastore, 0 keys at the provider"
    )
    assert told("probe", "witness", reason=6, held=False, seen="no") == "witness of R6: MISSING: no"


def test_what_the_harness_did() -> None:
    assert (
        told("fault", "F1.cut", "vcenter", servers=["k1", "k2"]) == "vcenter: cut (servers k1, k2)"
    )
    assert told("heal", "F4.up", "k1") == "k1: up"
    up = told("fault", "F1.up", took=25.0, state="running", boot=2, screen="", unlocked=[])
    assert up == "esxi-001: up (took 25.0, state running, boot 2)"
    assert told("note", "dumped", key="P/kek") == "esxi-001 writes an encrypted dump"
    assert told("note", "t0", "", fault="F1") == "the fault F1 begins"
    assert told("note", "letters", "", E2="SAFE") == "the letters are fixed: E2 SAFE"
    assert told("note", "made", vm="e4-off", kind="off") == "e4-off is made on esxi-001, off"
    assert told("note", "void", "", why="it does not bite").endswith("it does not bite")
    assert "takes 1 keys" in told("note", "keys removed", keys=["P/kek"])
    assert "runs there" in told("note", "clear", vm="e2-clear", runs=True)
    assert told("note", "bites", "", fault="F1") == "F1 is seen to bite"
    assert told("heal", "healed", "", fault="F1") == "F1 is seen to be over"
    assert told("state", "new", "x", value=1) == "state x new {'value': 1}"


def test_only_what_is_about_the_event_is_told_with_times_after_the_fault() -> None:
    history = [
        record("note", "made", t=1.0, vm="e4-off", kind="off"),
        record("note", "made", t=1.0, vm="e3-off", kind="off"),
        record("note", "t0", "", t=100.0, fault="F1"),
        record("fault", "F1.down", "esxi-001", t=130.0),
        record("fault", "F1.down", "esxi-009", t=130.0),
        record("note", "dumped", "esxi-009", t=130.0),
        record("ok", "PowerOnVm", "esxi-001", t=131.5, event="E4"),
        record("ok", "PowerOnVm", "esxi-002", t=131.5, event="E3"),
        record("end", "", "", t=140.0),
    ]
    found = list(lines_of(history, TableEvent.E4))
    assert [line.at for line in found] == [-99.0, 0.0, 30.0, 31.5]
    assert all(line.record == 7 for line in found) and "e3" not in " ".join(x.text for x in found)
