"""VMs that a host reports to vCenter without having them, to get keys of other VMs (C28). Pure.

The lab uses them to play a compromised host. The host's own console shows the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from protocol.messages.host import ClaimedVm, HostSummary, VmSummary
from protocol.terms import CryptoKeyId, PowerState, VmConnectionState, VmCryptoState

Missing = Callable[[tuple[CryptoKeyId, ...]], tuple[CryptoKeyId, ...]]
"""Returns which of these keys the host lacks."""


def add_claims(view: HostSummary, claims: Sequence[ClaimedVm], missing_of: Missing) -> HostSummary:
    """The host's view with the claimed VMs added, ordered by name, as vCenter gets it."""
    listed = {vm.vm: vm for vm in view.vms} | {
        one.vm: _summarize_claim(one, missing_of) for one in claims
    }
    return msgspec.structs.replace(view, vms=tuple([listed[name] for name in sorted(listed)]))


def _summarize_claim(claimed: ClaimedVm, missing_of: Missing) -> VmSummary:
    missing = missing_of(claimed.keys)
    return VmSummary(
        vm=claimed.vm,
        power=PowerState.OFF,
        crypto=VmCryptoState.LOCKED if missing else VmCryptoState.UNLOCKED,
        connection=VmConnectionState.INVALID if missing else VmConnectionState.CONNECTED,
        keys=claimed.keys,
        missing=missing,
    )
