"""What is below a node, and how the lab acts on it: TPM, firmware, disk, clock."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import NodeName
from protocol.tpm.structures import TpmInfo


class TpmBackend(StrEnum):
    """The TPM implementation of a host: ``model`` exists for the speed of the simulation."""

    NONE = "none"
    LIBTPMS = "libtpms"
    MODEL = "model"


class FirmwareEvent(msgspec.Struct, frozen=True):
    """An event that the next boots also measure: PCR, TCG event type, body."""

    pcr: int
    type: int
    body: bytes


class BootBanks(msgspec.Struct, frozen=True, kw_only=True):
    """The images on a host's boot device, each by its release, written as ``8.0U3``.

    ``release``: the image that it boots; empty: that of its installation. ``other``: the image
    before; empty: there is none to roll back to. ``until``: the last boot of the image before this
    one. ``rolled_back``: it boots what was the other image, with the configuration there (UPG-02).
    """

    release: str = ""
    other: str = ""
    until: int = 0
    rolled_back: bool = False


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """The set-up of a host's firmware, in force from its next power-on.

    ``build``: another signed image in the boot bank that it boots; empty: the installed one.
    ``banks``: the releases of its images.
    """

    secure_boot: bool = True
    tpm_enabled: bool = True
    version: str = "1.0"
    build: str = ""
    banks: BootBanks = BootBanks()
    extra: tuple[FirmwareEvent, ...] = ()


class TpmAct(StrEnum):
    """Commands of the lab to a TPM; a host never sends them."""

    INFO = "info"
    CLEAR = "clear"
    SWAP = "swap"  # the mainboard is replaced: a new TPM
    OCCUPY = "occupy"  # another key is persisted in place of the storage root key
    LOCKOUT = "lockout"  # failed tries up to the limit
    FAIL = "fail"  # NV writes fail: failure mode until the next power cycle
    UNFAIL = "unfail"
    SAVE = "save"  # keep an image of its NV under a label
    ROLLBACK = "rollback"  # restore the image of that label


class TpmAction(Request["TpmActed"], frozen=True, kw_only=True):
    """Act on the TPM under a node, as its owner would at the bench, without the node.

    ``label`` names the image that SAVE keeps and ROLLBACK restores. ``InvalidState`` when the node
    has no TPM, or is on and must be off for this; ``NotFound`` when no image has that label.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    act: TpmAct
    label: str = ""


class TpmActed(Reply, frozen=True, kw_only=True):
    """``ek`` is the SHA-256 of the endorsement key's public area: another value is another TPM.

    ``srk`` is the name of the storage root key, empty when there is none; what was sealed under
    another one does not load. ``pcrs`` are PCR 0 to 13. ``pcrs``, ``srk`` and ``info`` are only set
    while the TPM has power and works.
    """

    info: TpmInfo | None = None
    ek: str = ""
    pcrs: dict[int, bytes] = {}
    srk: str = ""


class SetFirmware(Request[Done], frozen=True, kw_only=True):
    """Change the set-up of a node's firmware, in force from the next power-on."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    firmware: Firmware


class SkewClock(Request[Done], frozen=True, kw_only=True):
    """Set a node's wall clock ahead by ``skew_s`` lab seconds (behind, when negative), in this life
    and later ones. Waits are not affected."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    skew_s: float


class DiskAct(StrEnum):
    """Copy a disk under a label; restore the copy or only its databases; delete the copy; wipe the
    disk; check whether the machine has room to start from a copy, and to make one."""

    SAVE = "save"
    RESTORE = "restore"
    RESTORE_DATABASES = "restore-databases"
    DROP = "drop"
    WIPE = "wipe"
    ROOM = "room"
    ROOM_TO_COPY = "room-to-copy"


class DiskAction(Request[Done], frozen=True, kw_only=True):
    """Act on a node's disk, or on the copy under ``label``. The node must be off, except for the
    check of room."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    act: DiskAct
    label: str
