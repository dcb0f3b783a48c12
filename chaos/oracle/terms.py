"""The terms of the truth table: blocks, faults, events, and the letters of a cell."""

from __future__ import annotations

from enum import StrEnum


class Block(StrEnum):
    """Kind of provider (S standard, T trusted, N native), TPM (0, 1), persistence (0, 1, x any)."""

    S00 = "S00"
    S10 = "S10"
    S11 = "S11"
    T10 = "T10"
    T11 = "T11"
    N0X = "N0x"
    N1X = "N1x"


class TableFault(StrEnum):
    """A fault of the table, present during the event; ``keystead explain F1`` explains each."""

    F0 = "F0"  # nothing
    F1 = "F1"  # no key server of the provider can be reached
    F2 = "F2"  # vCenter is down
    F3 = "F3"  # the trusted side is down
    F4 = "F4"  # everything outside the hosts is down
    F5A = "F5a"  # the boot violates the sealing policy
    F5B = "F5b"  # the boot measures something else, and the policy holds
    F6 = "F6"  # the TPM was cleared, replaced or died before the boot
    F7 = "F7"  # the provider is deleted from vCenter
    F8 = "F8"  # the key is gone at its source


class TableEvent(StrEnum):
    """An event of the table, tried under the fault; ``keystead explain E4`` explains each."""

    E1 = "E1"  # nothing: VMs run
    E2 = "E2"  # one host reboots
    E3 = "E3"  # power-on, on a host that has not rebooted since it got the key
    E4 = "E4"  # power-on, on the host that rebooted
    E5 = "E5"  # HA restart on another host that has the key
    E6 = "E6"  # HA restart on another host that has not
    E7 = "E7"  # vMotion to a host that has the key
    E8 = "E8"  # vMotion to a host that has not
    E9 = "E9"  # a new encrypted VM, a virtual TPM added
    E10 = "E10"  # shallow recrypt
    E11 = "E11"  # a host is added
    E12 = "E12"  # encrypted disk groups of the rebooted host


class Letter(StrEnum):
    """The outcome of a cell."""

    OK = "OK"
    SAFE = "SAFE"  # the host is up and crypto-safe
    UNSAFE = "UNSAFE"  # the host is up and not crypto-safe
    LOCKED = "LK"  # refused for lack of a key; the VM is locked, once vCenter sees it
    NO = "NO"  # refused or impossible, the VM is not locked by it, and it can be tried again
    PURPLE_SCREEN = "PS"
    PARTLY = "PT"  # part of it, as ``table.parts`` tells
    NONE = "--"  # does not apply


class CellTag(StrEnum):
    """The evidence for a cell."""

    DOCUMENTED = "d"
    FOLLOWS = "f"
    UNKNOWN = "u"  # an open question: the value is that of a knob's default
    RECALLED = "r"
