"""A host in an intruder's hands: VMs that it claims to vCenter beside the truth. Pure.

It lists VMs that it does not have, so that vCenter may bring the keys which they are said to need.
At its own console it tells the truth, and everything else of the host is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from protocol.messages.host import ClaimedVm, HostSummary, VmSummary
from protocol.terms import CryptoKeyId, PowerState, VmConnectionState, VmCryptoState


def with_claims(
    view: HostSummary, claims: Sequence[ClaimedVm], has: Callable[[CryptoKeyId], bool]
) -> HostSummary:
    """The view as vCenter is told it, VMs by name; ``has``: whether a key is in the cache."""
    listed = {vm.vm: vm for vm in view.vms} | {one.vm: _listed(one, has) for one in claims}
    return msgspec.structs.replace(view, vms=tuple([listed[name] for name in sorted(listed)]))


def _listed(claimed: ClaimedVm, has: Callable[[CryptoKeyId], bool]) -> VmSummary:
    missing = tuple(key for key in claimed.keys if not has(key))
    return VmSummary(
        vm=claimed.vm,
        power=PowerState.OFF,
        crypto=VmCryptoState.LOCKED if missing else VmCryptoState.UNLOCKED,
        connection=VmConnectionState.INVALID if missing else VmConnectionState.CONNECTED,
        keys=claimed.keys,
        missing=missing,
    )
