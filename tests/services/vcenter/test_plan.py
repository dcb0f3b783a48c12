"""What a pass of step B8 plans from what was seen, and whether a view asks for one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.events import EventTypeId
from protocol.messages.host.session import HostSummary, ProviderRef, VmSummary
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    KeyUnavailableReason,
    ManagementType,
    PowerState,
    ProtectionMode,
    ProviderId,
    VmName,
)
from services.vcenter import events
from services.vcenter.events import vm_locked, vm_unlocked
from services.vcenter.hosts.host_reports import needs_pass
from services.vcenter.hosts.plan import (
    Action,
    Evict,
    NoteDisabled,
    NoteRecoveryKey,
    PlannedHostFacts,
    PlannedKeyFacts,
    ReachMode,
    SetProviderList,
    Supply,
    TakeAway,
    find_expired_providers,
    keys_refused_by_mode,
    mark_changes,
    not_granted,
    plan_host,
    plan_keys,
    send_errors,
)
from services.vcenter.tables import DeletedRow, HostRow, ProviderRow, VmRow
from tests.services.vcenter.rig import CLUSTER, VM, A, B, P, Q

LOST = EventTypeId.VM_LOCKED_KEY_MISSING_ON_KMS
HOST_KEY = CryptoKeyId(KeyId("host-key"), P)
K1, K2, OTHER = (CryptoKeyId(KeyId(n), p) for n, p in (("1", P), ("2", P), ("1", Q)))
REFS = (ProviderRef(provider_id=P, management_type=ManagementType.VCENTER),)
TYPES = {P: ManagementType.VCENTER}


def summary(**how: Any) -> HostSummary:
    made: dict[str, Any] = {
        "host": A,
        "boot": 1,
        "version": "8.0U3",
        "crypto_state": HostCryptoState.SAFE,
        "crypto_key_id": HOST_KEY,
        "providers": REFS,
    }
    return HostSummary(**(made | how))


def of_host(view: HostSummary | None = None, **how: Any) -> PlannedHostFacts:
    made: dict[str, Any] = {
        "summary": view or summary(),
        "row": HostRow(name=A, cluster=CLUSTER),
        "providers": (ProviderRow(name=P, management_type=ManagementType.VCENTER),),
        "host_key": HOST_KEY,
        "needed": True,
    }
    return PlannedHostFacts(**(made | how))


PREPARED = HostCryptoState.PREPARED
DISABLED = HostCryptoState.PENDING_INCAPABLE
KEPT_OFF = HostRow(name=A, cluster=CLUSTER, kept_off=True)


@pytest.mark.parametrize(
    ("given", "planned"),
    [
        (of_host(), ()),
        (of_host(summary(providers=())), (SetProviderList(REFS),)),
        (
            of_host(summary(protection_mode=ProtectionMode.TPM, recovery_id="{A}")),
            (NoteRecoveryKey("{A}"),),
        ),
        (of_host(summary(recovery_id="{A}")), ()),  # without a TPM there is nothing to keep safe
        (of_host(summary(crypto_state=PREPARED)), (ReachMode(needed=True),)),
        (of_host(summary(crypto_state=PREPARED), needed=False), (ReachMode(needed=False),)),
        (
            of_host(summary(providers=(), crypto_state=PREPARED)),
            (SetProviderList(REFS), ReachMode(needed=True)),
        ),
        # Disabled at the host: recorded once, and left alone until an administrator asks (HEM-02).
        (of_host(summary(crypto_state=DISABLED), needed=False), (NoteDisabled(),)),
        (of_host(summary(crypto_state=DISABLED), needed=False, row=KEPT_OFF), ()),
        (
            of_host(summary(crypto_state=DISABLED), row=KEPT_OFF, requested=True),
            (ReachMode(needed=True, requested=True),),
        ),
    ],
)
def test_plan_for_a_host(given: PlannedHostFacts, planned: tuple[Action, ...]) -> None:
    assert plan_host(given) == planned


def of_keys(**how: Any) -> PlannedKeyFacts:
    made: dict[str, Any] = {
        "keys": (K1, K2),
        "absent": frozenset(),
        "expired": (),
        "released": (),
        "types": TYPES,
        "granted": frozenset({K1, K2, OTHER}),
    }
    return PlannedKeyFacts(**(made | how))


@pytest.mark.parametrize(
    ("given", "planned"),
    [
        (of_keys(), ()),
        (of_keys(absent=frozenset({K2})), (Supply(P, (K2,)),)),
        (of_keys(keys=(K1, OTHER), absent=frozenset({OTHER})), (Supply(Q, (OTHER,)),)),
        (
            of_keys(keys=(K1, OTHER), expired=(Q,)),
            (Evict(Q, (OTHER,)), Supply(Q, (OTHER,))),
        ),
        (
            of_keys(keys=(OTHER,), absent=frozenset({OTHER}), expired=(Q,)),
            (Evict(Q, ()), Supply(Q, (OTHER,))),  # what lies in its store, and the host key
        ),
        (of_keys(released=(OTHER, K1)), (TakeAway((OTHER,)),)),  # K1 is used again
        (
            of_keys(keys=(K1, OTHER, K2), absent=frozenset({K1, K2, OTHER})),
            (Supply(P, (K1, K2)), Supply(Q, (OTHER,))),
        ),
        (
            of_keys(absent=frozenset({K1}), types={P: ManagementType.NATIVE_PROVIDER}),
            (),  # hosts derive it
        ),
        # Removed by force though a VM uses it: it leaves, and is fetched no more than once.
        (
            of_keys(released=(K1,), forgotten=frozenset({K1})),
            (TakeAway((K1,)), Supply(P, (K1,))),
        ),
        (
            of_keys(keys=(OTHER,), released=(OTHER,), forgotten=frozenset({OTHER}), expired=(Q,)),
            (Evict(Q, (OTHER,)), TakeAway((OTHER,)), Supply(Q, (OTHER,))),
        ),
        (of_keys(absent=frozenset({K2}), takes_keys=False), ()),
        # No task gave it to the cluster (C28).
        (of_keys(absent=frozenset({K1, K2}), granted=frozenset({K1})), (Supply(P, (K1,)),)),
        (
            of_keys(keys=(OTHER,), expired=(Q,), granted=frozenset()),
            (Evict(Q, (OTHER,)),),
        ),
        (
            of_keys(released=(K1,), forgotten=frozenset({K1}), granted=frozenset()),
            (TakeAway((K1,)),),
        ),
    ],
)
def test_plan_for_its_keys(given: PlannedKeyFacts, planned: tuple[Action, ...]) -> None:
    assert plan_keys(given) == planned


@pytest.mark.parametrize(
    ("given", "withheld"),
    [
        (of_keys(absent=frozenset({K1, K2})), ()),
        (of_keys(absent=frozenset({K1, K2}), granted=frozenset({K1})), (K2,)),
        (of_keys(granted=frozenset()), ()),  # its host has them
        (of_keys(keys=(OTHER,), expired=(Q,), granted=frozenset()), (OTHER,)),  # it loses it
        (of_keys(released=(K1,), forgotten=frozenset({K1}), granted=frozenset()), (K1,)),
        (
            of_keys(
                absent=frozenset({K1}),
                types={P: ManagementType.NATIVE_PROVIDER},
                granted=frozenset(),
            ),
            (),
        ),
    ],
)
def test_what_is_withheld_from_a_host_is_named(
    given: PlannedKeyFacts, withheld: tuple[CryptoKeyId, ...]
) -> None:
    assert not_granted(given) == withheld
    if withheld:
        assert not any(
            set(withheld) & set(action.keys)
            for action in plan_keys(given)
            if isinstance(action, Supply)
        )


def test_nothing_is_granted_unless_it_is_said() -> None:
    facts = PlannedKeyFacts((K1,), frozenset({K1}), (), (), TYPES)
    assert (plan_keys(facts), not_granted(facts)) == ((), (K1,))


def test_what_a_host_cannot_take_in_its_mode_is_named() -> None:
    lacking = of_keys(absent=frozenset({K2}), takes_keys=False)
    assert keys_refused_by_mode(lacking) == (K2,)
    assert keys_refused_by_mode(of_keys(absent=frozenset({K2}))) == ()
    derived = {P: ManagementType.NATIVE_PROVIDER}
    assert (
        keys_refused_by_mode(of_keys(absent=frozenset({K2}), takes_keys=False, types=derived)) == ()
    )


@pytest.mark.parametrize(("now", "gone"), [(100.0, False), (399.0, False), (400.0, True)])
def test_grace_of_a_deleted_provider(now: float, gone: bool) -> None:
    rows = [DeletedRow(name=P, at=100.0), DeletedRow(name=Q, at=100.0, evicted_from=(B, A))]
    assert find_expired_providers(rows, A, now, 300.0) == ((P,) if gone else ())  # once from a host


def test_a_deletion_in_a_time_to_come_was_long_ago() -> None:
    """Monotonic time began anew with the lab."""
    assert find_expired_providers([DeletedRow(name=P, at=5000.0)], A, 10.0, 300.0) == (P,)


def row(*, missing: tuple[CryptoKeyId, ...] = (), **how: Any) -> VmRow:
    event = LOST if missing else None
    made: dict[str, Any] = {"host": A, "keys": (K1, K2), "lock_event": event, "missing": missing}
    return VmRow(name=VM, cluster=CLUSTER, **(made | how))


def lacks(*keys: CryptoKeyId, power: PowerState = PowerState.OFF) -> VmSummary:
    return VmSummary(vm=VM, power=power, keys=(K1, K2), missing=keys)


@pytest.mark.parametrize(
    ("listed", "known", "rang", "unlock", "needed"),
    [
        (lacks(), row(), False, True, False),
        (lacks(K1), row(), False, True, True),
        (lacks(K1), row(), False, False, True),
        (lacks(K1, power=PowerState.ON), row(), True, True, False),  # LOCK-04
        (lacks(K1, power=PowerState.ON), row(missing=(K1,)), False, False, True),  # a void mark
        (lacks(K1, power=PowerState.ON), row(host=B, missing=(K1,)), False, True, False),
        (lacks(K1), row(missing=(K1,)), False, True, False),  # it is known, and was tried
        (lacks(K1), row(missing=(K1,)), True, True, True),  # the host asks for it
        (lacks(K1, K2), row(missing=(K1,)), False, True, True),  # another key is news
        (lacks(K2), row(missing=(K1, K2)), False, True, True),  # one is cured
        (lacks(K2), row(missing=(K1, K2)), False, False, False),
        (lacks(), row(missing=(K1,)), False, True, True),
        (lacks(), row(missing=(K1,)), True, False, False),
        (lacks(K1), row(host=B), False, True, False),  # another host's
        (lacks(K1), row(host=B), True, True, True),  # registered on both: this one wants to run it
        (lacks(), row(host=B, missing=(K1,)), True, True, False),
        (lacks(OTHER), row(), True, True, False),  # no key of this VM
    ],
)
def test_need(listed: VmSummary, known: VmRow, rang: bool, unlock: bool, needed: bool) -> None:
    found = needs_pass(A, [listed], {VM: known}, TYPES, rang=rang, auto_unlock=unlock)
    assert found is needed


def test_a_vm_in_need_is_found_behind_others() -> None:
    unknown, elsewhere, well = (
        VmSummary(vm=VmName(name), power=PowerState.OFF, keys=(K1,), missing=(K1,))
        for name in ("unknown", "elsewhere", "well")
    )
    rows = {
        elsewhere.vm: VmRow(name=elsewhere.vm, cluster=CLUSTER, host=B, keys=(K1,)),
        well.vm: VmRow(name=well.vm, cluster=CLUSTER, host=A, keys=()),
        VM: row(),
    }
    others = [unknown, elsewhere, well]
    for last, needed in ((lacks(), False), (lacks(K1), True)):
        found = needs_pass(A, [*others, last], rows, TYPES, rang=False, auto_unlock=True)
        assert found is needed


def test_what_hosts_fetch_by_themselves_is_told_of_once_and_not_brought() -> None:
    types = {P: ManagementType.TRUST_AUTHORITY}
    assert needs_pass(A, [lacks(K1)], {VM: row()}, types, rang=True, auto_unlock=True)
    marked = row(lock_event=NO_TA, missing=(K1,))
    assert not needs_pass(A, [lacks(K1)], {VM: marked}, types, rang=True, auto_unlock=True)


def test_a_key_that_a_host_cannot_derive_is_a_reason_to_bring_the_kdk() -> None:
    """NKP-15."""
    types = {P: ManagementType.NATIVE_PROVIDER}
    assert needs_pass(A, [lacks(K1)], {VM: row()}, types, rang=True, auto_unlock=True)


def test_a_key_of_a_deleted_provider_is_a_need() -> None:
    assert needs_pass(A, [lacks(K1)], {VM: row()}, {}, rang=False, auto_unlock=True)


SILENT = {K1: KeyUnavailableReason.CLUSTER_UNREACHABLE}
CLUSTER_ERROR = EventTypeId.VM_LOCKED_KMS_CLUSTER_ERROR
NO_TA = EventTypeId.VM_LOCKED_TA_KMS_CLUSTER_UNAVAILABLE
TRUSTED = ManagementType.TRUST_AUTHORITY
LOCKED = vm_locked(VM, A, CLUSTER_ERROR, (K1,), SILENT)
TRUSTED_LOCKED = vm_locked(VM, A, NO_TA, (K1,), SILENT)
ON, OFF = PowerState.ON, PowerState.OFF
UNLIKE = {"lock_event": CLUSTER_ERROR, "missing": (K2,)}
ALIKE = {"lock_event": CLUSTER_ERROR, "missing": (K1,)}


@pytest.mark.parametrize(
    ("known", "lacking", "how", "draft", "mark"),
    [
        ({"power": OFF}, {K1}, {}, LOCKED, (CLUSTER_ERROR, (K1,))),
        ({"power": OFF} | UNLIKE, {K1}, {}, LOCKED, (CLUSTER_ERROR, (K1,))),
        ({"power": OFF} | ALIKE, {K1}, {}, None, (CLUSTER_ERROR, (K1,))),
        ({"power": ON}, {K1}, {}, None, (None, ())),  # LOCK-04
        ({"power": OFF}, {K1}, {"connected": False}, None, (None, ())),
        ({"power": OFF, "host": B}, {K1}, {}, None, (None, ())),
        ({"power": OFF}, {K1}, {"types": {P: TRUSTED}}, TRUSTED_LOCKED, (NO_TA, (K1,))),
        ({"power": OFF} | ALIKE, (), {}, vm_unlocked(VM, A), (None, ())),
        ({"power": OFF} | ALIKE, (), {"may_unlock": False}, None, (CLUSTER_ERROR, (K1,))),
    ],
)
def test_a_mark_its_event_and_its_edit_say_the_same(
    known: dict[str, Any],
    lacking: frozenset[CryptoKeyId],
    how: dict[str, Any],
    draft: events.EventDraft | None,
    mark: tuple[EventTypeId | None, tuple[CryptoKeyId, ...]],
) -> None:
    """``draft`` None: nothing is changed, as often as it is looked at."""
    before = msgspec.structs.replace(row(), **known)
    more: dict[str, Any] = {"types": TYPES, "connected": True, "may_unlock": True} | how
    changes = mark_changes(A, [before], lacking, SILENT, **more)
    after = before
    for change in changes:
        assert change.vm == change.edit.name == VM
        assert change.locked is (draft in (LOCKED, TRUSTED_LOCKED))
        changed = change.edit.change(before)
        assert isinstance(changed, VmRow)
        after = changed
    assert [change.draft for change in changes] == ([] if draft is None else [draft])
    assert after == msgspec.structs.replace(before, lock_event=mark[0], missing=mark[1])


def test_send_errors_by_provider_and_cause() -> None:
    R = KeyUnavailableReason
    own, third = (CryptoKeyId(KeyId("3"), name) for name in (P, ProviderId("third")))
    denied = {
        K1: R.MISSING_IN_KMS,
        K2: R.CLUSTER_UNREACHABLE,
        OTHER: R.CLUSTER_UNREACHABLE,
        own: R.MISSING_IN_CACHE,  # the host's own refusal
        third: R.MISSING_IN_CACHE,
    }
    told = [(d.provider, d.keys) for d in send_errors(A, denied, (), None)]
    assert told == [(P, (K2,)), (P, (K1,)), (Q, (OTHER,))]
    told = [(d.provider, d.keys) for d in send_errors(A, denied, {K1}, R.CLUSTER_UNREACHABLE)]
    assert told == []
