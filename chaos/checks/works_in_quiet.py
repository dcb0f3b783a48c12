"""In a time without faults each operation of the workload succeeds, and in the simulation it is
quick: what was disturbed has recovered a minute after the last fault.

Operations of administrators (``action``) end such a time for the rest of the run: what they take
away may be gone for good. A load offers more than a lab can do, and has limits of its own. A VM
that is off, or that an operation may have left anywhere, is judged by others (``truth_table``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import ActiveFaults, Record
from chaos.providers import kind_of
from protocol.terms import PowerState

AFTER_S: Final = 60.0
"""Lab seconds after the last fault: repairs of a campaign come once a minute."""
SAME_S: Final = 1.0
"""A fault that begins within an operation may be written down after the operation's end."""
QUICK_S: Final = 20.0
"""Lab seconds. A host is without stored keys for 15 of them (``esx.persistence.off_on``)."""
EXCUSED: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("vm.restart", "its host is connected"): "there is nothing to restart",
        ("esx.persistence.off_on", "the host has no stored keys already"): "it is under way",
        (
            "key.create",
            "GenerateKey for native key providers: not supported",
        ): "vCenter before 8.0 U1 makes no keys of native providers (SC-40)",
    }
)
"""Refusals, by operation and the beginning of the error, each with the reason why it says nothing
against the product."""
NO_KEYS_MADE: Final = ("key.create", "NotAvailable")
"""vCenter makes no keys of trusted providers (TA-06)."""
_OTHER_TPM: Final = "tpm.swap"
"""No cure brings the TPM back: a Trust Authority does not know the other one."""
_LOAD: Final = "load"  # the note with which a load begins
_ENDS: Final = ("ok", "fail", "info")
_CHANGE_NOTHING: Final = (
    *("guest.challenge", "vm.unlock", "host.console"),
    *("key.create", "vm.encrypt", "vm.come_and_go", "vm.live", "vsan.live", "keyprovider.live"),
)
"""Operations that leave the VM that they name as it is."""
_PERSISTS: Final = ("esx.persistence.off_on", "InvalidState")
_LEAVE: Final = ("vm.migrate", "vm.move")
_RESTART: Final = "vm.restart"  # after which two hosts may list the VM (HA-01)


class _Quiet:
    """What is known at one moment. ``since``: when the last disturbance was seen to be over;
    ``off``: VMs that were seen off; ``adrift``: those that an operation may have left anywhere.

    ``trusted``: all providers are trusted, ``attested``: one is. ``alone``: a cluster has one host.
    ``doing``: of each VM the operations under way, and whether they change it; ``overlapping``:
    those that another one on their VM may have disturbed. ``done``: the begin and the end of each
    that was quiet. ``unsealed``: hosts whose configuration no TPM seals."""

    def __init__(self) -> None:
        self.faults = ActiveFaults()
        self.since = -AFTER_S
        self.ended = False
        self.simulated = False
        self.trusted = self.attested = False
        self.unsealed: set[str] = set()
        self.off: set[str] = set()
        self.adrift: set[str] = set()
        self.alone = False
        self.under_way: dict[object, Record] = {}
        self.done: list[tuple[Record, Record]] = []
        self.doing: dict[str, dict[object, bool]] = {}
        self.overlapping: set[object] = set()

    def take(self, record: Record) -> None:
        """Follow one record."""
        self.faults.take(record)
        if record.type == "note" and record.op == "plan":
            self.simulated = record.data.get("mode") == "sim"
        elif record.type == "state" and record.op == "staging":
            kinds = {kind_of(found["type"]).attested for found in record.data.get("providers", ())}
            self.trusted, self.attested = kinds == {True}, True in kinds
            hosts = Counter(record.data.get("clusters", {}).values())
            self.alone = 1 in hosts.values()
        elif record.type == "state" and record.op == "protection" and not record.data["sealed"]:
            self.unsealed.add(record.node)
        elif record.type == "state" and record.op == "vm":
            on = record.data.get("power") == PowerState.ON.value
            (self.off.discard if on else self.off.add)(record.node)
        loaded = (record.type, record.op) == ("note", _LOAD)
        replaced = self.attested and (record.type, record.op) == ("fault", _OTHER_TPM)
        self.ended = self.ended or loaded or replaced or "action" in record.data
        begun = self._operation(record)
        if self.ended or self._disturbs(record):
            self.since = record.t
            self.under_way.clear()
            while not self.ended and self.done and record.t - self.done[-1][1].t < SAME_S:
                self.done.pop()
        elif begun is not None:
            self.done.append((begun, record))

    def _operation(self, record: Record) -> Record | None:
        number, doing = record.data.get("n"), self.doing.setdefault(record.node, {})
        if record.type == "invoke":
            changes = record.op not in _CHANGE_NOTHING
            if any(doing.values()):
                self.overlapping.add(number)
            if changes:
                self.overlapping |= set(doing)
            doing[number] = changes
            if record.t - self.since >= AFTER_S and record.node not in self.off | self.adrift:
                self.under_way[number] = record
            return None
        if record.type not in _ENDS:
            return None
        doing.pop(number, None)
        unknown = record.type == "info" and record.op not in _CHANGE_NOTHING
        if unknown or (record.op, record.type) == (_RESTART, "ok"):
            self.adrift.add(record.node)
        begun = self.under_way.pop(number, None)
        overlaps = number in self.overlapping
        self.overlapping.discard(number)
        return None if overlaps else begun

    def _disturbs(self, record: Record) -> bool:
        begins = (record.type, record.op) == ("note", "inject")
        return begins or record.type in ("fault", "heal") or bool(self.faults.began)

    def excuses(self, record: Record) -> bool:
        """Whether it says nothing against the product that this operation did not end well."""
        op, error = record.op, str(record.data.get("error", ""))
        known = any(op == excused and error.startswith(told) for excused, told in EXCUSED)
        # Keys are persisted where a TPM seals the configuration (KP-01).
        refused = (op, error) == _PERSISTS and record.data.get("host") in self.unsealed
        nowhere = self.alone and op in _LEAVE and error == "NotFound"  # no other host
        return known or refused or nowhere or (self.trusted and (op, error) == NO_KEYS_MADE)


def works_in_quiet(records: Sequence[Record]) -> Finding:
    """Pass when each operation that began a minute after the last fault, and ended before the next
    one, ended ``ok`` and in time. Unknown when there was none."""
    quiet = _Quiet()
    for record in records:
        quiet.take(record)
    bad: list[tuple[str, int]] = []
    for begun, record in quiet.done:
        seconds = record.t - begun.t
        what = f"{record.op} {record.node}".rstrip()
        if record.type != "ok":
            if not quiet.excuses(record):
                bad.append((f"{what} ended {record.type}: {record.data.get('error')}", record.seq))
        elif quiet.simulated and seconds > QUICK_S:
            bad.append((f"{what} took {seconds:.1f} s", record.seq))
    if bad:
        text = "without any fault " + "; ".join(told for told, _ in bad[:5])
        return Finding(CheckOutcome.FAIL, text, tuple(seq for _, seq in bad))
    if not quiet.done:
        return Finding(CheckOutcome.UNKNOWN, "no operation in a time without faults")
    return Finding(CheckOutcome.PASS, f"{len(quiet.done)} operations in times without faults")
