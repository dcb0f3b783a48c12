"""What vCenter makes of a step with a key server that went wrong.

Taken from sessions of a real vCenter and from what its makers and users say of it; the names of
reasons are those of ``QueryCryptoKeyStatus`` (STD-20).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """A part of what vCenter does with a server, in the order of a replay."""

    ADD = "add server"
    HEALTH = "health"
    CREATE = "create key"
    TAG = "tag key"
    USE = "use key"
    REFETCH = "fetch again"
    STATE = "key status"
    MISSING = "missing key"


class Weight(StrEnum):
    """How much it is worth: ``fails`` means that no VM can be encrypted, or none comes back."""

    DEGRADED = "degraded"
    FAILS = "fails"


FORGIVEN: Final = "forgiven: the key has no custom attributes, and is used all the same"
UNREACHABLE: Final = (
    "the provider is not connected: keys have the reason KeyStateClusterUnreachable, and tasks "
    "that need one fail until a server of the provider answers"
)
UNTRUSTED_SERVER: Final = (
    "the client does not trust the server: the provider is not connected until vCenter is told to "
    "trust what the server shows"
)
UNTRUSTED: Final = (
    "the server does not trust the client: the provider is not connected until the server is told "
    "to take what vCenter shows"
)

_OF: Final[dict[Phase, tuple[Weight, str]]] = {
    Phase.ADD: (Weight.FAILS, "the server cannot be added: no trust is established"),
    Phase.HEALTH: (
        Weight.DEGRADED,
        "the provider turns red and an alarm goes off; keys that hosts have go on",
    ),
    Phase.CREATE: (Weight.FAILS, "no key is made: encrypting a VM fails"),
    Phase.TAG: (Weight.DEGRADED, FORGIVEN),
    Phase.USE: (
        Weight.FAILS,
        "'Cannot get key from KMS server': the task fails, and a VM with this key stays locked "
        "after a reboot of its hosts",
    ),
    Phase.REFETCH: (
        Weight.FAILS,
        "a host that has lost its cache does not get the key again: its VMs stay locked",
    ),
    Phase.STATE: (
        Weight.DEGRADED,
        "the key's status cannot be told, and its VMs raise an alarm",
    ),
    Phase.MISSING: (
        Weight.DEGRADED,
        "a key that is gone is not known as such: its reason is KeyStateClusterUnreachable and "
        "not KeyStateMissingInKMS, so people look at the network",
    ),
}

_BROKEN: Final = ("Refused", "TimedOut", "Disconnected", "TlsFailure")
_OF_CLIENT: Final = ("certificate", "unknown ca", "access denied")
"""Words of the alerts by which a server says that it is the client's certificate."""


def consequence(phase: Phase, error: str) -> tuple[Weight, str]:
    """How heavy a failure is, and what vCenter does; ``error`` begins with the kind of it."""
    weight, text = _OF[phase]
    if phase is not Phase.TAG and error.partition(":")[0] in _BROKEN:
        return weight, _unanswered(error)
    return weight, text


def _unanswered(error: str) -> str:
    """STD-03: who does not trust whom, when it is that."""
    kind, _, why = error.partition(": ")
    if kind == "TlsFailure" and why.startswith("the certificate of the other end"):
        return UNTRUSTED_SERVER
    _, alert, said = why.partition("alert ")
    if kind == "TlsFailure" and alert and any(word in said for word in _OF_CLIENT):
        return UNTRUSTED
    return UNREACHABLE
