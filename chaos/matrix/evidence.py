"""What was seen, in shapes that letters are read from. No shape has a secret in it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from protocol.events import EventTypeId
from protocol.terms import (
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    NodeName,
    PowerState,
    ProviderId,
    VmConnectionState,
    VmCryptoState,
    VmName,
)
from protocol.vsan import ComponentState, VsanEncryptionIssue


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that was seen."""


class RequestOutcome(StrEnum):
    """How a request ended for who asked."""

    DONE = "done"
    REFUSED = "refused"
    SILENT = "silent"  # nobody answered: it cannot be reached, or is too late


class Answered(Sighting, frozen=True, kw_only=True):
    """A request and its end. ``error`` is the fault's name, ``keys`` what it names."""

    outcome: RequestOutcome
    error: str = ""
    text: str = ""
    keys: tuple[CryptoKeyId, ...] = ()

    @property
    def done(self) -> bool:
        """Whether it was done."""
        return self.outcome is RequestOutcome.DONE

    @property
    def key_required(self) -> bool:
        """Whether it was refused for lack of keys."""
        return self.outcome is RequestOutcome.REFUSED and self.error == "EncryptionKeyRequired"


class Works(Sighting, frozen=True, kw_only=True):
    """What a guest answered: ``right`` None: nobody answered."""

    right: bool | None
    detail: str = ""


class VmView(Sighting, frozen=True, kw_only=True):
    """A VM as one party shows it."""

    host: NodeName
    power: PowerState
    crypto: VmCryptoState | None
    connection: VmConnectionState
    missing: tuple[CryptoKeyId, ...] = ()

    @property
    def on(self) -> bool:
        """Whether it runs."""
        return self.power is PowerState.ON

    @property
    def locked(self) -> bool:
        """Whether it shows as locked."""
        return self.crypto is VmCryptoState.LOCKED


class EventSeen(Sighting, frozen=True, kw_only=True):
    """An entry of vCenter's log, without its text. ``at``: Unix time of the lab."""

    sequence: int
    at: float
    event: EventTypeId
    vm: VmName | None = None
    host: NodeName | None = None
    provider: ProviderId | None = None
    keys: tuple[CryptoKeyId, ...] = ()

    @property
    def locks(self) -> bool:
        """Whether it says that a VM is locked."""
        return ".VMLocked." in self.event


class VmSeen(Sighting, frozen=True, kw_only=True):
    """A VM at one moment: by its host, by vCenter (None: it does not answer), and by its guest.

    ``vcenter_up``: whether vCenter answers at all. ``locks``: events that it is locked, since the
    fault began. ``clear``: it was made without encryption.
    """

    own: VmView | None
    vcenter: VmView | None
    vcenter_up: bool
    works: Works
    locks: tuple[EventSeen, ...] = ()
    clear: bool = False

    @property
    def shown(self) -> VmView | None:
        """vCenter's view when it is up, else the host's own."""
        return self.vcenter if self.vcenter_up else self.own


class HostSeen(Sighting, frozen=True, kw_only=True):
    """A host at one moment.

    ``screen`` is what it stands at. ``crypto`` is its own word, ``connection`` and
    ``vcenter_crypto`` are vCenter's (None: it does not know). ``vcenter_up``: whether vCenter
    answers at all. ``messages``: how many messages it has sent on any link since its power-on.
    ``dump``: whether the dump of before the fault can be decrypted on it; None: nobody could ask.
    """

    answers: bool
    screen: str = ""
    crypto: HostCryptoState | None = None
    connection: HostConnectionState | None = None
    vcenter_crypto: HostCryptoState | None = None
    vcenter_up: bool = True
    messages: int = 0
    dump: bool | None = None


class GroupsSeen(Sighting, frozen=True, kw_only=True):
    """A host with an encrypted vSAN, and a component on its disk groups, at one moment.

    ``mounted``: whether all of its groups are, by its own word; None: nobody answers. ``read``:
    what comes of the component when it is read on the host, ``neighbour``: the same of another
    replica. ``shown``: how the component is for vCenter, ``accessible``: whether the object is;
    None: it does not answer. ``reached``: how many key servers the host reaches; None: it has none
    to ask. ``issues`` are those that it tells of its encryption. ``handed``: whether vCenter has
    sent it the KEK since the fault began.
    """

    host: HostSeen
    mounted: bool | None
    read: Works
    neighbour: Works
    shown: ComponentState | None = None
    accessible: bool | None = None
    reached: int | None = None
    issues: tuple[VsanEncryptionIssue, ...] = ()
    handed: bool = False


class Left(Sighting, frozen=True, kw_only=True):
    """What a refused creation has left: files on the datastore, and how many keys at P."""

    files: bool = False
    keys: int = 0


class ClearContent(Sighting, frozen=True, kw_only=True):
    """What the files of a VM hold that was in clear, and how many more keys P has than before."""

    vtpm: bool
    home_encrypted: bool
    disks_encrypted: bool
    keys: int = 0


class Added(Sighting, frozen=True, kw_only=True):
    """A host that was to be added.

    ``listed``: it is in vCenter's inventory. ``wanted`` keys are those of its cluster's VMs,
    ``claimed`` those that it says it has, ``present`` those of which it showed that it has the
    value that a host has whose VM works; ``hit`` belong to the judged VM. ``events`` are about it.
    ``vcenter_crypto`` is vCenter's word on its mode, ``crypto`` its own.
    ``dump``: whether a safe one decrypts a dump that it has just written, under its host key.
    """

    listed: bool
    connection: HostConnectionState | None
    vcenter_crypto: HostCryptoState | None
    crypto: HostCryptoState | None
    host_key: bool
    wanted: tuple[CryptoKeyId, ...]
    present: tuple[CryptoKeyId, ...]
    claimed: tuple[CryptoKeyId, ...]
    hit: tuple[CryptoKeyId, ...] = ()
    events: tuple[EventTypeId, ...] = ()
    dump: bool | None = None

    @property
    def mode(self) -> HostCryptoState:
        """Its own word on its mode."""
        return self.crypto or HostCryptoState.INCAPABLE

    @property
    def whole(self) -> bool:
        """Whether nothing is lacking."""
        connected = self.connection is HostConnectionState.CONNECTED
        safe = self.crypto is HostCryptoState.SAFE
        return connected and safe and self.dump is True and set(self.present) == set(self.wanted)


class MovedVm(Sighting, frozen=True, kw_only=True):
    """A VM that was to move: at the host that it was on, and at the one that it was to go to.

    ``same_run``: its guest is the one that ran before. ``gap_s``: from the first part of its memory
    on the wire to the target's word that it goes on; None when neither was heard.
    """

    asked: Answered
    here: VmSeen
    there: VmSeen
    same_run: bool
    gap_s: float | None


class JudgedLetter(msgspec.Struct, frozen=True, kw_only=True):
    """The letter that evidence gives, and what of the evidence decided on it."""

    letter: str
    why: str


class Wrapped(msgspec.Struct, frozen=True, kw_only=True):
    """What a VM's files name and hold: the keys that it is under, and its DEKs as they lie there,
    wrapped, the home's first."""

    keys: tuple[CryptoKeyId, ...]
    deks: tuple[bytes, ...]
