"""Events of vCenter come in the order of their causes (A22): a provider is unreachable before a
host or a VM suffers from it, a host is safe again before its VMs are unlocked, and nothing ends
that had not started.

- ``ReqEnable.KMSClusterError`` and ``VMLocked.KMSClusterError``: after ``Unreachable``, or what a
  Trust Authority has in its place (an event of its own, or that the host is not attested); unless a
  provider was taken away
- ``VMUnlocked``: after that VM's ``VMLocked``; on a host that could not get its key from the
  provider, after ``host.Crypto.Enabled`` of it
- ``AllBackedUp``: after ``NotBackedUp`` or ``NotBackedUpAfterUpdate``

With a trusted provider a host asks for each key by itself, and vCenter asks no key server (TA-06):
none has to be unreachable before, and a VM may have its key before its host has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record
from chaos.providers import kind_of
from protocol.events import EventTypeId as Id

TAKES_PROVIDERS: Final = "provider."
"""How a fault or an operation is named that takes a provider away, or brings another one."""


class ReadEvent(NamedTuple):
    """One event as read at the end of a run."""

    event: str
    host: str
    vm: str


def told_in_order(records: Sequence[Record]) -> Finding:
    """Pass when each event of vCenter's log follows the event of its cause. Unknown when no log was
    read (it is read when VMs were locked in the run).

    ``told`` of the ``event_log`` state has all events of a vCenter's log in order.
    """
    read = [r for r in records if r.type == "state" and r.op == "event_log"]
    if not read:
        text = "no VM was locked in this run, or vCenter's events were not read"
        return Finding(CheckOutcome.UNKNOWN, text)
    taken = any(r.type in ("fault", "invoke") and r.op.startswith(TAKES_PROVIDERS) for r in records)
    trusted = any(
        kind_of(found["type"]).attested
        for r in records
        if r.type == "state" and r.op == "staging"
        for found in r.data.get("providers", ())
    )
    wrong = [
        (text, record.seq)
        for record in read
        for text in _find_misplaced(_events(record.data["told"]), taken=taken, trusted=trusted)
    ]
    if wrong:
        return Finding(
            CheckOutcome.FAIL,
            "; ".join(text for text, _ in wrong),
            tuple(dict.fromkeys(seq for _, seq in wrong)),
        )
    count = sum(len(record.data["told"]) for record in read)
    return Finding(CheckOutcome.PASS, f"{count} events, each after its cause")


def _events(told: Sequence[Sequence[Any]]) -> Iterator[ReadEvent]:
    return (ReadEvent(str(event), str(host), str(vm)) for event, host, vm in told)


def _find_misplaced(told: Iterator[ReadEvent], *, taken: bool, trusted: bool) -> Iterator[str]:
    unreachable, owing = taken or trusted, False
    locked: set[str] = set()
    asking: set[str] = set()
    unattested: set[str] = set()
    for at, (event, host, vm) in enumerate(told, 1):
        match event:
            case Id.KMS_UNREACHABLE | Id.KMS_TA_CLUSTER_NOT_AVAILABLE | Id.KMS_TA_CLUSTER_UNHEALTHY:
                unreachable = True
            case Id.TA_HOST_ATTEST_FAIL | Id.TA_HOST_ATTEST_UNSET:
                unattested.add(host)
            case Id.KMS_NOT_BACKED_UP | Id.KMS_NOT_BACKED_UP_AFTER_UPDATE:
                owing = True
            case Id.KMS_ALL_BACKED_UP:
                if not owing:
                    yield f"event {at}: all is backed up, and nothing was said to be missing"
                owing = False
            case Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR:
                asking.add(host)
                if not unreachable and host not in unattested:
                    yield f"event {at}: {host} cannot get its key before a provider is unreachable"
            case Id.HOST_CRYPTO_ENABLED | Id.HOST_REQ_ENABLE_KEY_MISSING_ON_KMS:
                asking.discard(host)
            case Id.VM_UNLOCKED:
                if vm not in locked:
                    yield f"event {at}: {vm} is unlocked, and was not locked"
                elif host in asking and not trusted:
                    yield f"event {at}: {vm} is unlocked before its host {host} is safe"
                locked.discard(vm)
            case _ if ".VMLocked." in event:
                locked.add(vm)
                if event == Id.VM_LOCKED_KMS_CLUSTER_ERROR and not unreachable:
                    yield f"event {at}: {vm} is locked before a provider is unreachable"
