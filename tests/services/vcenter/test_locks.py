"""LOCK-01..07 as a table whose expected column was written from the rules, row by row."""

from __future__ import annotations

import pytest

from protocol.events import EventTypeId
from protocol.terms import CryptoKeyId, KeyId, KeyUnavailableReason, ManagementType, ProviderId
from services.vcenter.locks import (
    Decision,
    Keep,
    Lock,
    Unlock,
    VmLockFacts,
    decide,
    event_for,
    shows_invalid,
)
from services.vcenter.providers.capabilities import CAPABILITIES

HOME = CryptoKeyId(KeyId("home"), ProviderId("p"))
DISK = CryptoKeyId(KeyId("disk"), ProviderId("q"))
R = KeyUnavailableReason
E = EventTypeId
CLUSTER_ERROR = E.VM_LOCKED_KMS_CLUSTER_ERROR
ON_KMS = E.VM_LOCKED_KEY_MISSING_ON_KMS
ON_HOST = E.VM_LOCKED_KEY_MISSING_ON_HOST


def facts(
    *,
    keys: tuple[CryptoKeyId, ...] = (HOME,),
    running: bool = False,
    connected: bool = True,
    absent: tuple[CryptoKeyId, ...] = (),
    denied: dict[CryptoKeyId, KeyUnavailableReason] | None = None,
    mark: EventTypeId | None = None,
    marked: tuple[CryptoKeyId, ...] = (),
    may_unlock: bool = True,
) -> VmLockFacts:
    return VmLockFacts(
        keys, running, connected, frozenset(absent), denied or {}, mark, marked, may_unlock
    )


TABLE: list[tuple[str, VmLockFacts, Decision]] = [
    ("all keys cached", facts(), Keep()),
    ("unencrypted", facts(keys=()), Keep()),
    # LOCK-01: both halves are needed
    ("absent, supply not tried or cut short", facts(absent=(HOME,)), Keep()),
    ("denied but cached", facts(denied={HOME: R.CLUSTER_UNREACHABLE}), Keep()),
    (
        "absent and provider down",
        facts(absent=(HOME,), denied={HOME: R.CLUSTER_UNREACHABLE}),
        Lock(CLUSTER_ERROR, (HOME,), {HOME: R.CLUSTER_UNREACHABLE}),
    ),
    (
        "absent and provider deleted (F7)",
        facts(absent=(HOME,), denied={HOME: R.CLUSTER_INVALID}),
        Lock(CLUSTER_ERROR, (HOME,), {HOME: R.CLUSTER_INVALID}),
    ),
    (
        "absent and destroyed at the KMS (F8)",
        facts(absent=(HOME,), denied={HOME: R.MISSING_IN_KMS}),
        Lock(ON_KMS, (HOME,), {HOME: R.MISSING_IN_KMS}),
    ),
    (
        "absent and deactivated (F8 variant)",
        facts(absent=(HOME,), denied={HOME: R.NOT_ACTIVE_OR_ENABLED}),
        Lock(ON_KMS, (HOME,), {HOME: R.NOT_ACTIVE_OR_ENABLED}),
    ),
    (
        "absent and the host does not take it",
        facts(absent=(HOME,), denied={HOME: R.MISSING_IN_CACHE}),
        Lock(ON_HOST, (HOME,), {HOME: R.MISSING_IN_CACHE}),
    ),
    # LOCK-04: a running VM needs nothing
    (
        "running without its key",
        facts(running=True, absent=(HOME,), denied={HOME: R.CLUSTER_INVALID}),
        Keep(),
    ),
    (
        "running and marked",
        facts(running=True, absent=(HOME,), denied={HOME: R.CLUSTER_INVALID}, mark=CLUSTER_ERROR),
        Unlock(),
    ),
    (
        "running and marked, no automatic unlock",
        facts(running=True, mark=CLUSTER_ERROR, marked=(HOME,), may_unlock=False),
        Unlock(),
    ),
    # what is not seen is not judged
    (
        "host not connected",
        facts(connected=False, absent=(HOME,), denied={HOME: R.CLUSTER_UNREACHABLE}),
        Keep(),
    ),
    ("host not connected, marked", facts(connected=False, mark=ON_KMS, marked=(HOME,)), Keep()),
    # LOCK-05
    ("cure arrived", facts(mark=CLUSTER_ERROR, marked=(HOME,)), Unlock()),
    (
        "cure arrived, no automatic unlock",
        facts(mark=CLUSTER_ERROR, marked=(HOME,), may_unlock=False),
        Keep(),
    ),
    (
        "marked and still so",
        facts(
            absent=(HOME,),
            denied={HOME: R.CLUSTER_UNREACHABLE},
            mark=CLUSTER_ERROR,
            marked=(HOME,),
        ),
        Keep(),
    ),
    (
        "marked, cause is another now",
        facts(absent=(HOME,), denied={HOME: R.MISSING_IN_KMS}, mark=CLUSTER_ERROR, marked=(HOME,)),
        Lock(ON_KMS, (HOME,), {HOME: R.MISSING_IN_KMS}),
    ),
    ("marked, supply cut short", facts(absent=(HOME,), mark=ON_KMS, marked=(HOME,)), Keep()),
    # two providers: the worse result; only what is really missing is named
    (
        "disk key lost, home key there",
        facts(keys=(HOME, DISK), absent=(DISK,), denied={DISK: R.MISSING_IN_KMS}),
        Lock(ON_KMS, (DISK,), {DISK: R.MISSING_IN_KMS}),
    ),
    (
        "one unreachable, one destroyed",
        facts(
            keys=(HOME, DISK),
            absent=(HOME, DISK),
            denied={HOME: R.CLUSTER_UNREACHABLE, DISK: R.MISSING_IN_KMS},
        ),
        Lock(ON_KMS, (HOME, DISK), {DISK: R.MISSING_IN_KMS, HOME: R.CLUSTER_UNREACHABLE}),
    ),
    # each key on its own
    (
        "one denied again, one not tried now and marked before",
        facts(
            keys=(HOME, DISK),
            absent=(HOME, DISK),
            denied={HOME: R.MISSING_IN_KMS},
            mark=ON_KMS,
            marked=(HOME, DISK),
        ),
        Keep(),
    ),
    (
        "one denied, one not tried now and marked for what may be worse",
        facts(
            keys=(HOME, DISK),
            absent=(HOME, DISK),
            denied={HOME: R.CLUSTER_UNREACHABLE},
            mark=ON_KMS,
            marked=(DISK,),
        ),
        Lock(ON_KMS, (HOME, DISK), {HOME: R.CLUSTER_UNREACHABLE}),
    ),
    (
        "the marked one is there, another is absent and was not tried",
        facts(keys=(HOME, DISK), absent=(DISK,), mark=ON_KMS, marked=(HOME,)),
        Unlock(),
    ),
    (
        "one delivered, one denied",
        facts(keys=(HOME, DISK), absent=(HOME, DISK), denied={DISK: R.CLUSTER_INVALID}),
        Lock(CLUSTER_ERROR, (DISK,), {DISK: R.CLUSTER_INVALID}),
    ),
]


@pytest.mark.parametrize(
    ("given", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_decision(given: VmLockFacts, expected: Decision) -> None:
    assert decide(given) == expected


@pytest.mark.parametrize("home", R)
@pytest.mark.parametrize("disk", R)
def test_the_reason_that_takes_most_to_cure_is_named_first(
    home: KeyUnavailableReason, disk: KeyUnavailableReason
) -> None:
    """Whatever the order of the keys, and whatever their names."""
    cure = [R.MISSING_IN_KMS, R.WRAPPING_KEY_MISSING_IN_KMS]
    cure += [R.NOT_ACTIVE_OR_ENABLED, R.WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED]
    cure += [R.CLUSTER_INVALID, R.CLUSTER_UNREACHABLE]
    cure += [R.MISSING_IN_CACHE, R.MANAGED_BY_TRUST_AUTHORITY, R.MANAGED_BY_NKP]
    assert set(cure) == set(R)
    for keys in ((HOME, DISK), (DISK, HOME)):
        made = decide(facts(keys=keys, absent=keys, denied={HOME: home, DISK: disk}))
        assert isinstance(made, Lock)
        reasons = list(made.reasons.values())
        assert reasons == sorted((home, disk), key=cure.index) and made.missing == keys


@pytest.mark.parametrize(
    ("reason", "event"),
    [
        (R.CLUSTER_INVALID, "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError"),
        (R.CLUSTER_UNREACHABLE, "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError"),
        (R.MISSING_IN_KMS, "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnKMS"),
        (R.NOT_ACTIVE_OR_ENABLED, "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnKMS"),
        (R.MISSING_IN_CACHE, "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnHost"),
        (R.MANAGED_BY_TRUST_AUTHORITY, "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnHost"),
        (R.MANAGED_BY_NKP, "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnHost"),
    ],
)
def test_event_of_each_reason(reason: KeyUnavailableReason, event: str) -> None:
    events = CAPABILITIES[ManagementType.VCENTER].lock_events
    assert event_for(reason, events).value == event


@pytest.mark.parametrize(
    ("mark", "missing", "invalid"),
    [
        (None, (), False),
        (ON_KMS, (HOME,), True),  # LOCK-02
        (ON_KMS, (DISK,), False),  # LOCK-03
        (ON_KMS, (HOME, DISK), True),
    ],
)
def test_invalid_with_the_home_key_only(
    mark: EventTypeId | None, missing: tuple[CryptoKeyId, ...], invalid: bool
) -> None:
    assert shows_invalid((HOME, DISK), mark, missing) is invalid
