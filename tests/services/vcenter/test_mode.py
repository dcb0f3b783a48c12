"""Which step brings a host to its mode, and when a host key is renewed."""

from __future__ import annotations

import msgspec
import pytest

from protocol.messages.host.session import HostSummary
from protocol.terms import (
    CryptoKeyId,
    CryptoMode,
    HostCryptoState,
    KeyId,
    KeyUnavailableReason,
    ManagementType,
    NodeName,
    ProviderId,
)
from services.vcenter.hosts.mode import (
    ModeStep,
    is_adoptable,
    may_renew,
    next_mode_step,
    should_be_safe,
)

P, Q = ProviderId("p"), ProviderId("q")
OLD, NEW = CryptoKeyId(KeyId("old"), P), CryptoKeyId(KeyId("new"), P)
S = HostCryptoState
R = KeyUnavailableReason


@pytest.mark.parametrize(
    ("state", "configured", "recorded", "needed", "step"),
    [
        (S.INCAPABLE, None, None, False, ModeStep.NONE),
        (S.INCAPABLE, None, None, True, ModeStep.PREPARE),
        (S.INCAPABLE, None, OLD, False, ModeStep.NONE),
        (S.INCAPABLE, None, OLD, True, ModeStep.PREPARE),
        (S.PREPARED, None, None, False, ModeStep.NONE),
        (S.PREPARED, None, None, True, ModeStep.ENABLE),
        (S.PREPARED, OLD, OLD, False, ModeStep.ENABLE),
        (S.PREPARED, OLD, NEW, True, ModeStep.ENABLE),
        (S.SAFE, OLD, OLD, True, ModeStep.NONE),
        (S.SAFE, OLD, OLD, False, ModeStep.NONE),
        (S.SAFE, OLD, NEW, False, ModeStep.CHANGE),
        (S.SAFE, OLD, NEW, True, ModeStep.CHANGE),
        (S.SAFE, OLD, None, True, ModeStep.CHANGE),  # C28: no key is delivered on its word
        (S.SAFE, None, None, True, ModeStep.NONE),
        (S.PENDING_INCAPABLE, OLD, OLD, True, ModeStep.NONE),
        (S.PENDING_INCAPABLE, OLD, NEW, True, ModeStep.NONE),
    ],
)
def test_step(
    state: HostCryptoState,
    configured: CryptoKeyId | None,
    recorded: CryptoKeyId | None,
    needed: bool,
    step: ModeStep,
) -> None:
    assert next_mode_step(state, configured, recorded, needed=needed) is step


def test_a_host_key_is_adopted_where_hosts_get_its_value_by_themselves() -> None:
    for recorded, step in ((None, ModeStep.RECORD), (OLD, ModeStep.NONE), (NEW, ModeStep.CHANGE)):
        assert next_mode_step(S.SAFE, OLD, recorded, needed=True, adoptable=True) is step


@pytest.mark.parametrize(
    ("kind", "check", "adoptable"),
    [
        (ManagementType.VCENTER, "", False),
        (None, "", False),
        (ManagementType.TRUST_AUTHORITY, "", True),
        (ManagementType.NATIVE_PROVIDER, "abc", True),
        (None, "abc", True),  # its provider is not there yet, and is a native one by its check
    ],
)
def test_which_host_keys_are_adoptable(
    kind: ManagementType | None, check: str, adoptable: bool
) -> None:
    types = {} if kind is None else {P: kind}
    view = HostSummary(
        host=NodeName("esxi-001"),
        boot=1,
        version="8.0U3",
        crypto_state=S.SAFE,
        crypto_key_id=OLD,
        crypto_key_check=check,
    )
    assert is_adoptable(view, types) is adoptable
    assert not is_adoptable(msgspec.structs.replace(view, crypto_key_id=None), types)


@pytest.mark.parametrize(
    ("reason", "provider", "default", "knob", "renewed"),
    [
        (R.MISSING_IN_KMS, P, P, True, True),  # R30
        (R.NOT_ACTIVE_OR_ENABLED, P, P, True, True),
        (R.MISSING_IN_KMS, P, P, False, False),  # C17 off
        (R.MISSING_IN_KMS, P, None, True, False),
        (R.CLUSTER_UNREACHABLE, P, P, True, False),  # F1: the default is the one that is down
        (R.CLUSTER_UNREACHABLE, P, Q, True, True),
        (R.CLUSTER_INVALID, P, None, True, False),  # F7: the default went with the provider
        (R.CLUSTER_INVALID, P, Q, True, True),
    ],
)
def test_renewal(
    reason: KeyUnavailableReason,
    provider: ProviderId,
    default: ProviderId | None,
    knob: bool,
    renewed: bool,
) -> None:
    assert may_renew(reason, provider, default, knob=knob) is renewed


@pytest.mark.parametrize("holds_keys", [False, True])
@pytest.mark.parametrize("kept_off", [False, True])
def test_whether_vcenter_keeps_a_host_safe(holds_keys: bool, kept_off: bool) -> None:
    """HEM-02 and HEM-05: by force always, on demand while its cluster's keys ask for it."""
    asked = {"holds_keys": holds_keys, "kept_off": kept_off}
    assert should_be_safe(CryptoMode.FORCE_ENABLE, **asked) is True
    assert should_be_safe(CryptoMode.ON_DEMAND, **asked) is (
        (holds_keys, kept_off) == (True, False)
    )
