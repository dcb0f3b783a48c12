"""Host encryption mode [HEM-01, HEM-03]: which step is allowed from where. Pure.

| from | prepare | enable, same key | enable, other key | change key | disable |
|---|---|---|---|---|---|
| incapable | prepared | InvalidState | InvalidState | InvalidState | incapable |
| prepared | InvalidState | safe | safe | InvalidState | incapable |
| safe | InvalidState | safe | AlreadyExists | safe | pendingIncapable |
| pendingIncapable | InvalidState | safe | safe | InvalidState | InvalidState |

A reboot ends pendingIncapable, and with it the host key; so does an administrator who enables the
mode again before (``ConfigureCryptoKey``). After a reboot a safe host is safe only if it finds its
host key by itself; otherwise it is prepared.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from protocol.errors import AlreadyExists, InvalidState
from protocol.terms import HostCryptoState

_I, _P = HostCryptoState.INCAPABLE, HostCryptoState.PREPARED
_S, _X = HostCryptoState.SAFE, HostCryptoState.PENDING_INCAPABLE


class Trigger(StrEnum):
    """A requested change of the mode."""

    PREPARE = "prepare"
    ENABLE = "enable"  # with the host key in force, or when there is none
    ENABLE_OTHER = "enable with another key"
    CHANGE_KEY = "change the host key"
    DISABLE = "disable"


def next_state(state: HostCryptoState, trigger: Trigger) -> HostCryptoState:
    """The next state; ``InvalidState`` or ``AlreadyExists`` when the table has no such step."""
    match trigger:
        case Trigger.PREPARE:
            if state is _I:
                return _P
        case Trigger.ENABLE:
            if state is not _I:
                return _S
        case Trigger.ENABLE_OTHER:
            if state is _S:
                raise AlreadyExists("the host is safe with another host key")
            if state is not _I:
                return _S
        case Trigger.CHANGE_KEY:
            if state is _S:
                return _S
        case Trigger.DISABLE:
            if state is not _X:
                return _X if state is _S else _I
        case _:
            assert_never(trigger)
    raise InvalidState(f"cannot {trigger.value}: the host is {state.value}")


def state_after_boot(state: HostCryptoState, *, host_key_at_hand: bool) -> HostCryptoState:
    """The mode after a boot (step B5), from the saved one."""
    if state in (_I, _X):
        return _I
    return _S if host_key_at_hand else _P
