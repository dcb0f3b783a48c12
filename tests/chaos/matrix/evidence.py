"""Evidence for tests of letters: what a VM or a host looks like when all is well, to be changed."""

from __future__ import annotations

from typing import Any

from chaos.matrix.evidence import (
    Added,
    Answered,
    EventSeen,
    GroupsSeen,
    HostSeen,
    RequestOutcome,
    VmSeen,
    VmView,
    Works,
)
from protocol.events import EventTypeId
from protocol.terms import (
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    KeyId,
    NodeName,
    PowerState,
    ProviderId,
    VmConnectionState,
    VmCryptoState,
)
from protocol.vsan import ComponentState, VsanEncryptionIssue

HOST, ELSEWHERE = NodeName("esxi-001"), NodeName("esxi-002")
KEY = CryptoKeyId(KeyId("kek"), ProviderId("P"))
OTHER = CryptoKeyId(KeyId("other"), ProviderId("P"))
DONE = Answered(outcome=RequestOutcome.DONE)
REQUIRED = Answered(
    outcome=RequestOutcome.REFUSED, error="EncryptionKeyRequired", text="required", keys=(KEY,)
)
REFUSED = Answered(outcome=RequestOutcome.REFUSED, error="HostUnreachable", text="not responding")
SILENT = Answered(outcome=RequestOutcome.SILENT, error="TimedOut")
LOCK = EventSeen(
    sequence=7,
    at=1.0,
    event=EventTypeId.VM_LOCKED_KMS_CLUSTER_ERROR,
    provider=ProviderId("P"),
    keys=(KEY,),
)


def view(on: bool = True, *, locked: bool = False, **more: Any) -> VmView:
    """A VM as one party shows it."""
    return VmView(
        **{
            "host": HOST,
            "power": PowerState.ON if on else PowerState.OFF,
            "crypto": VmCryptoState.LOCKED if locked else VmCryptoState.UNLOCKED,
            "connection": VmConnectionState.INVALID if locked else VmConnectionState.CONNECTED,
            **more,
        }
    )


def running(**more: Any) -> VmSeen:
    """A VM that runs and answers right."""
    right = Works(right=True)
    return VmSeen(**{"own": view(), "vcenter": view(), "vcenter_up": True, "works": right, **more})


def stopped(**more: Any) -> VmSeen:
    """A VM that is off and not locked."""
    off = {"own": view(False), "vcenter": view(False), "works": Works(right=None)}
    return running(**{**off, **more})


def locked(**more: Any) -> VmSeen:
    """A VM that is off, locked and invalid, with an event that says so."""
    view_ = view(False, locked=True)
    return stopped(**{"own": view_, "vcenter": view_, "locks": (LOCK,), **more})


def host(**more: Any) -> HostSeen:
    """A host that is safe."""
    return HostSeen(
        **{
            "answers": True,
            "crypto": HostCryptoState.SAFE,
            "vcenter_crypto": more.get("crypto", HostCryptoState.SAFE),
            "connection": HostConnectionState.CONNECTED,
            "dump": True,
            **more,
        }
    )


def added(**more: Any) -> Added:
    """A host that was added, with every key."""
    return Added(
        **{
            "listed": True,
            "connection": HostConnectionState.CONNECTED,
            "vcenter_crypto": more.get("crypto", HostCryptoState.SAFE),
            "crypto": HostCryptoState.SAFE,
            "host_key": True,
            "wanted": (KEY, OTHER),
            "present": (KEY, OTHER),
            "claimed": more.get("present", (KEY, OTHER)),
            "hit": (KEY,),
            "dump": True,
            **more,
        }
    )


def groups(**more: Any) -> GroupsSeen:
    """A host whose disk groups are mounted, its component right."""
    right = Works(right=True)
    return GroupsSeen(
        **{
            "host": host(),
            "mounted": True,
            "read": right,
            "neighbour": right,
            "shown": ComponentState.ACTIVE,
            "accessible": True,
            "reached": 2,
            **more,
        }
    )


def bare(**more: Any) -> GroupsSeen:
    """A host that is up without its disk groups, for lack of their key."""
    lacking = {
        "host": host(crypto=HostCryptoState.PREPARED, dump=False),
        "mounted": False,
        "read": Works(right=None, detail="absent"),
        "shown": ComponentState.ABSENT,
        "reached": 0,
        "issues": (VsanEncryptionIssue.KEK_NOT_AVAILABLE,),
    }
    return groups(**{**lacking, **more})
