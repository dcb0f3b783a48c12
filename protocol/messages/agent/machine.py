"""What lies under a node, and the lab's hand on it: TPM, firmware, disk, clock."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import NodeName
from protocol.tpm.structures import TpmInfo


class TpmBackend(StrEnum):
    """What lies under a host: ``model`` is for the speed of the simulation only."""

    NONE = "none"
    LIBTPMS = "libtpms"
    MODEL = "model"


class FirmwareEvent(msgspec.Struct, frozen=True):
    """An event that the next boots measure in addition: PCR, TCG event type, body."""

    pcr: int
    type: int
    body: bytes


class BootBanks(msgspec.Struct, frozen=True, kw_only=True):
    """The images on a host's boot device, each by its release, written as ``8.0U3``.

    ``release``: of the one that it boots; empty: that of its installation. ``other``: of the one
    before; empty: there is none to go back to. ``until``: the last boot of the image before this
    one. ``rolled_back``: it boots what was the other one, with the configuration there (UPG-02).
    """

    release: str = ""
    other: str = ""
    until: int = 0
    rolled_back: bool = False


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """Set-up of a host's firmware, in force from its next power-on.

    ``build``: another signed image in the boot bank that it boots; empty: the one that the host was
    installed with. ``banks``: the releases of its images.
    """

    secure_boot: bool = True
    tpm_enabled: bool = True
    version: str = "1.0"
    build: str = ""
    banks: BootBanks = BootBanks()
    extra: tuple[FirmwareEvent, ...] = ()


class TpmAct(StrEnum):
    """Commands of the lab to a TPM, never of the host."""

    INFO = "info"
    CLEAR = "clear"
    SWAP = "swap"  # the mainboard is replaced: a new TPM
    OCCUPY = "occupy"  # a key of an earlier installation in the place of the storage root key
    LOCKOUT = "lockout"  # failed tries up to the limit
    FAIL = "fail"  # NV writes fail: failure mode until the next power cycle
    UNFAIL = "unfail"
    SAVE = "save"  # keep an image of its NV under a label
    ROLLBACK = "rollback"  # put the image of that label back


class TpmAction(Request["TpmActed"], frozen=True, kw_only=True):
    """Act on the TPM under a node as its owner at the bench would; the node itself is not asked.

    ``label`` names the image that SAVE keeps and ROLLBACK puts back. ``InvalidState`` when the node
    has no TPM, or must be off for this and is on; ``NotFound`` when no image has that label.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    act: TpmAct
    label: str = ""


class TpmActed(Reply, frozen=True, kw_only=True):
    """``ek`` is the SHA-256 of the endorsement key's public area: another one, another TPM.

    ``srk`` is the name of the storage root key, empty when there is none: under another one, what
    was sealed before does not load. ``pcrs`` are PCR 0 to 13, and with ``srk`` and ``info`` only
    told while the TPM has power and works.
    """

    info: TpmInfo | None = None
    ek: str = ""
    pcrs: dict[int, bytes] = {}
    srk: str = ""


class SetFirmware(Request[Done], frozen=True, kw_only=True):
    """Set up the firmware of a node anew; it is in force from the next power-on."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    firmware: Firmware


class SkewClock(Request[Done], frozen=True, kw_only=True):
    """Set a node's wall clock ahead by ``skew_s`` lab seconds (behind, when negative), in this
    life and the next ones; what it waits for takes as long as ever."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    skew_s: float


class DiskAct(StrEnum):
    """Make the copy of a disk under a label, put it or its databases back, drop it; wipe a disk. Or
    see whether its machine has room: to start from it, and to make a copy of it too."""

    SAVE = "save"
    RESTORE = "restore"
    RESTORE_DATABASES = "restore-databases"
    DROP = "drop"
    WIPE = "wipe"
    ROOM = "room"
    ROOM_TO_COPY = "room-to-copy"


class DiskAction(Request[Done], frozen=True, kw_only=True):
    """Keep or put back a copy of a node's disk under a label, or wipe it; the node must be off. It
    may be on while it is seen whether there is room."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    act: DiskAct
    label: str
