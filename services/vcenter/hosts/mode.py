"""Which step brings a host to the encryption mode it should have (HEM-01, HEM-02). Pure.

| state            | its host key          | step |
|---|---|---|
| pendingIncapable | any                   | enable if an administrator asks, else none (HEM-03) |
| safe             | none recorded         | record its own if adoptable, else change it |
| safe             | the same              | none |
| safe             | another               | change it (the old one was renewed) |
| prepared         | any                   | enable, if needed or it once was safe |
| incapable        | any                   | prepare, then enable, if needed |

*Adoptable*: hosts get the value by themselves. vCenter delivers no key on a host's word (C28).
*Needed*: vCenter keeps it safe (``should_be_safe``), or a task on this host asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import assert_never

from protocol.messages.host.session import HostSummary
from protocol.terms import (
    CryptoKeyId,
    CryptoMode,
    HostCryptoState,
    KeyUnavailableReason,
    ManagementType,
    ProviderId,
)
from services.vcenter.providers.capabilities import of_provider
from services.vcenter.providers.provider import UNUSABLE_AT_SERVER


class ModeStep(StrEnum):
    """One step towards a safe host; the table above says which."""

    NONE = "none"
    RECORD = "record"
    CHANGE = "change"
    ENABLE = "enable"
    PREPARE = "prepare"


def next_mode_step(
    state: HostCryptoState,
    configured: CryptoKeyId | None,
    recorded: CryptoKeyId | None,
    *,
    needed: bool,
    requested: bool = False,
    adoptable: bool = False,
) -> ModeStep:
    """The next step. ``configured``: the key id that the host names; ``recorded``: vCenter's for
    it.

    ``requested``: an administrator asks for the mode of this very host (``ConfigureCryptoKey``).
    ``adoptable``: vCenter may record the key that the host names (``is_adoptable``).
    """
    match state:
        case HostCryptoState.PENDING_INCAPABLE:
            return ModeStep.ENABLE if requested else ModeStep.NONE
        case HostCryptoState.SAFE:
            if recorded is None and configured is not None and adoptable:
                return ModeStep.RECORD
            if recorded is None and configured is None:
                return ModeStep.NONE
            return ModeStep.NONE if configured == recorded else ModeStep.CHANGE
        case HostCryptoState.PREPARED:
            return ModeStep.ENABLE if needed or configured is not None else ModeStep.NONE
        case HostCryptoState.INCAPABLE:
            return ModeStep.PREPARE if needed else ModeStep.NONE
        case _:
            assert_never(state)


def is_adoptable(view: HostSummary, types: Mapping[ProviderId, ManagementType]) -> bool:
    """Whether vCenter may record the host key that the host names: hosts derive or fetch such keys
    by themselves, so that vCenter never delivers its value (C28).

    A key with a check value is a derived one, whatever providers there are now.
    """
    key = view.crypto_key_id
    if key is None:
        return False
    return bool(view.crypto_key_check) or of_provider(types, key.provider_id).self_served


def should_be_safe(policy: CryptoMode, *, holds_keys: bool, kept_off: bool) -> bool:
    """Whether vCenter keeps a host of a cluster with this policy safe (HEM-05).

    ``holds_keys``: its cluster has encrypted VMs (HEM-02). ``kept_off``: an administrator disabled
    the mode of this host, or a task had to leave it off; with mode on demand that holds until a
    task or an administrator asks for the mode.
    """
    match policy:
        case CryptoMode.FORCE_ENABLE:
            return True
        case CryptoMode.ON_DEMAND:
            return holds_keys and not kept_off
        case _:
            assert_never(policy)


def may_renew(
    reason: KeyUnavailableReason, provider: ProviderId, default: ProviderId | None, *, knob: bool
) -> bool:
    """HEM-07: whether to create a new host key instead of reporting, if a default provider may be
    usable.

    A provider that has just failed is not asked for a new one; one that only lacks the old key is.
    """
    if not knob or default is None:
        return False
    return reason in UNUSABLE_AT_SERVER or default != provider


def is_safe(view: HostSummary | None) -> bool:
    """Whether the host was safe when it was last seen."""
    return view is not None and view.crypto_state is HostCryptoState.SAFE


def takes_keys(view: HostSummary | None) -> bool:
    """Whether the host's mode, as last seen, lets it take keys."""
    modes = (HostCryptoState.PREPARED, HostCryptoState.SAFE)
    return view is not None and view.crypto_state in modes
