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
from services.vcenter.hosts.mode import ModeStep, may_renew, next_mode_step

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
        (S.SAFE, OLD, None, True, ModeStep.RECORD),
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
