"""VMs that a host lists to vCenter without having them, to get keys of others (C28). Pure.

The lab plays a compromised host with them. The host's own console shows the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from protocol.messages.host import ClaimedVm, HostSummary, VmSummary
from protocol.terms import CryptoKeyId, PowerState, VmConnectionState, VmCryptoState

Missing = Callable[[tuple[CryptoKeyId, ...]], tuple[CryptoKeyId, ...]]
"""Which of these keys the host lacks: what it says of a key of a VM of its own too."""


def with_claims(view: HostSummary, claims: Sequence[ClaimedVm], missing_of: Missing) -> HostSummary:
    """The view as vCenter gets it, VMs by name."""
    listed = {vm.vm: vm for vm in view.vms} | {one.vm: _listed(one, missing_of) for one in claims}
    return msgspec.structs.replace(view, vms=tuple([listed[name] for name in sorted(listed)]))


def _listed(claimed: ClaimedVm, missing_of: Missing) -> VmSummary:
    missing = missing_of(claimed.keys)
    return VmSummary(
        vm=claimed.vm,
        power=PowerState.OFF,
        crypto=VmCryptoState.LOCKED if missing else VmCryptoState.UNLOCKED,
        connection=VmConnectionState.INVALID if missing else VmConnectionState.CONNECTED,
        keys=claimed.keys,
        missing=missing,
    )
