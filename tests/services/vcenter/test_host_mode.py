"""Which step brings a host to its mode, and when a host key is renewed."""

from __future__ import annotations

import pytest

from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    KeyUnavailableReason,
    ProviderId,
)
from services.vcenter.host_mode import Step, may_renew, next_step

P, Q = ProviderId("p"), ProviderId("q")
OLD, NEW = CryptoKeyId(KeyId("old"), P), CryptoKeyId(KeyId("new"), P)
S = HostCryptoState
R = KeyUnavailableReason


@pytest.mark.parametrize(
    ("state", "configured", "recorded", "needed", "step"),
    [
        (S.INCAPABLE, None, None, False, Step.NONE),
        (S.INCAPABLE, None, None, True, Step.PREPARE),
        (S.INCAPABLE, None, OLD, False, Step.NONE),
        (S.INCAPABLE, None, OLD, True, Step.PREPARE),
        (S.PREPARED, None, None, False, Step.NONE),
        (S.PREPARED, None, None, True, Step.ENABLE),
        (S.PREPARED, OLD, OLD, False, Step.ENABLE),
        (S.PREPARED, OLD, NEW, True, Step.ENABLE),
        (S.SAFE, OLD, OLD, True, Step.NONE),
        (S.SAFE, OLD, OLD, False, Step.NONE),
        (S.SAFE, OLD, NEW, False, Step.CHANGE),
        (S.SAFE, OLD, NEW, True, Step.CHANGE),
        (S.SAFE, OLD, None, True, Step.ADOPT),
        (S.PENDING_INCAPABLE, OLD, OLD, True, Step.NONE),
        (S.PENDING_INCAPABLE, OLD, NEW, True, Step.NONE),
    ],
)
def test_step(
    state: HostCryptoState,
    configured: CryptoKeyId | None,
    recorded: CryptoKeyId | None,
    needed: bool,
    step: Step,
) -> None:
    assert next_step(state, configured, recorded, needed=needed) is step


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
