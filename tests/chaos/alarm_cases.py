"""Last looks at alarms, and what the check says of each."""

from __future__ import annotations

from typing import Any, Final

from chaos.checks.result import CheckOutcome

Row = tuple[str, str, str, dict[str, Any]]

_PASS, _FAIL = CheckOutcome.PASS, CheckOutcome.FAIL
_NEEDS, _GONE, _LOCKED = (
    f"alarm.{name}" for name in ("HostRequiresEncryptionMode", "HostConnectionFailure", "VmLocked")
)


def host(*alarms: str, connection: str = "connected", crypto: str = "safe") -> Row:
    """A look at one host."""
    seen = {"alarms": list(alarms), "connection": connection, "crypto": crypto}
    return ("", "state", "alarms", {"hosts": {"esxi-001": seen}, "vms": {}})


def vm(
    *alarms: str, marked: bool = False, crypto: str = "unlocked", power: str = "poweredOff"
) -> Row:
    """A look at one VM."""
    seen = {"alarms": list(alarms), "marked": marked, "crypto": crypto, "power": power}
    return ("", "state", "alarms", {"hosts": {}, "vms": {"vm-01": seen}})


ALARMS: Final[tuple[tuple[CheckOutcome, Row], ...]] = (
    (_PASS, host()),
    (_PASS, host(_NEEDS, crypto="prepared")),
    (_FAIL, host(_NEEDS)),
    (_PASS, host(_GONE, connection="notResponding")),
    (_FAIL, host(_GONE)),
    (_FAIL, host(connection="notResponding")),
    (_PASS, vm()),
    (_PASS, vm(_LOCKED, marked=True, crypto="locked")),
    (_PASS, vm(crypto="locked")),  # vCenter has not looked yet
    (_FAIL, vm(_LOCKED)),
    (_FAIL, vm(_LOCKED, crypto="locked", power="poweredOn")),
    (_FAIL, vm(marked=True, crypto="locked")),
)
