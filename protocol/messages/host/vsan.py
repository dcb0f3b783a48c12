"""vSAN on a host: encryption of its disk groups, their components, and what they hold."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.messages.host.session import Command, Done
from protocol.terms import NodeName
from protocol.vsan import (
    ComponentKind,
    VsanDiskGroup,
    VsanEncryption,
    VsanEncryptionIssue,
    VsanPlacement,
)


class PrepareVsanEncryption(Command[Done], frozen=True, kw_only=True):
    """The host fetches host key and KEK of this configuration by itself, and keeps the profile.

    Nothing on its disks changes. ``EncryptionKeyRequired`` names what it cannot have; the profile
    is on its disk then all the same. ``InvalidState``: a disk group of it is not mounted.
    """

    encryption: VsanEncryption


class ApplyVsanEncryption(Command["VsanState"], frozen=True, kw_only=True):
    """Every disk of the host is brought to this configuration, one after the other.

    Each disk is at all times as it was or as it shall be, and its label names the key that opens
    it. A higher ``dek_generation_id`` makes new data encryption keys: a disk group is evacuated to
    another one of the host, or with ``allow_reduced_redundancy`` rebuilt from the other replicas;
    ``InvalidState`` when neither is possible. Answered when all is durable.
    """

    encryption: VsanEncryption
    allow_reduced_redundancy: bool = False


class MountVsanDiskGroups(Command["VsanState"], frozen=True, kw_only=True):
    """Try again to mount what is not mounted, with keys as they can be had now (VSAN-04)."""


class AddVsanDisk(Command["VsanState"], frozen=True, kw_only=True):
    """A disk more in a group: encrypted from the start if the host's others are (VSAN-05).

    No change when it is there.
    """

    group: str
    disk: str


class RemoveVsanDisk(Command["VsanState"], frozen=True, kw_only=True):
    """A disk less. ``ResourceInUse`` while it has components; no change when it is not there."""

    group: str
    disk: str


class CreateVsanComponent(Command[Done], frozen=True, kw_only=True):
    """A component of an object on this host, in its first mounted group; once per object.

    ``marker``: what the blocks of a replica are made of. ``places``: of all components. ``again``:
    one that was lost; it has no vote before the others have told it how far the object is, and a
    replica gets its blocks from the current one. ``InvalidState`` when they do not, or when a disk
    group of this host that is not mounted may have the component.
    """

    object: str
    kind: ComponentKind
    blocks: int = 0
    marker: bytes = b""
    places: tuple[VsanPlacement, ...] = ()
    again: bool = False


class QueryVsan(Request["VsanState"], frozen=True, kw_only=True):
    """The configuration that the host has, its disk groups and their components."""


class VsanState(Reply, frozen=True, kw_only=True):
    """What the host has now; ``preparing``: it keeps the profile of a change that is on its way, or
    was given up."""

    encryption: VsanEncryption
    preparing: bool = False
    groups: tuple[VsanDiskGroup, ...] = ()


class QueryVsanEncryptionHealth(Request["VsanHostHealth"], frozen=True, kw_only=True):
    """The host asks every key server of its profile itself, and looks at its keys."""


class VsanServerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One key server as this host finds it; ``why`` it cannot be used."""

    name: str
    connected: bool
    why: str = ""


class VsanHostHealth(Reply, frozen=True, kw_only=True):
    """``aesni``: the processor has AES instructions."""

    encryption: VsanEncryption
    servers: tuple[VsanServerHealth, ...] = ()
    issues: tuple[VsanEncryptionIssue, ...] = ()
    aesni: bool = True


class GenerateVsanClientCert(Request["VsanClientCert"], frozen=True, kw_only=True):
    """At the host itself: the certificate that it shows key servers which it asks by KMIP.

    Made when there is none, or in the place of the one before (``renew``), and durable in its
    encrypted configuration with its private key. ``InvalidState`` on a host without vSAN.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    renew: bool = False


class VsanClientCert(Reply, frozen=True, kw_only=True):
    """``certificate``: DER; key servers are to take it in the role vsan."""

    certificate: bytes


class WriteVsanObject(Request["VsanObjectAnswer"], frozen=True, kw_only=True):
    """At the host itself, as a guest there: write the object's blocks, made of ``marker``, and read
    them back.

    Answered when more than half of its components have seen the write durably, this host's replica
    among them. ``InvalidState``: too few components answer, or no current replica; nothing was
    written. ``TimedOut``: they went away meanwhile, or what was written cannot be read back now; it
    may be kept or lost, as after the ``DatastoreFault`` of a disk that refuses.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    object: str
    marker: bytes


class ReadVsanObject(Request["VsanObjectAnswer"], frozen=True, kw_only=True):
    """At the host itself, as a guest there: read these blocks of its replica from the disk now.

    A replica that has missed a write is made current before; ``InvalidState`` when it cannot be, or
    too few components answer to know.
    """

    object: str
    nonce: bytes
    blocks: tuple[int, ...]


class VsanObjectAnswer(Reply, frozen=True, kw_only=True):
    """SHA-256 over nonce and contents, as ``protocol.guest.challenge_digest`` has it."""

    digest: bytes


REPLICA_RUN: Final = 16
"""Blocks of a replica that travel in one message."""


class FetchVsanReplica(Request["VsanReplica"], frozen=True, kw_only=True):
    """A host of the same cluster copies this host's replica; ``NotFound`` without one.

    ``first`` and ``count``: of the blocks, at most ``REPLICA_RUN``.
    """

    object: str
    first: int
    count: int


class VsanReplica(Reply, frozen=True, kw_only=True):
    """Blocks of the replica, sealed on their way, and the write that they are of."""

    object: str
    content: Sealed
    stamp: int


class QueryVsanComponent(Request["VsanVote"], frozen=True, kw_only=True):
    """A host of the same cluster asks how far this host's component is.

    ``NotFound`` without one; ``InvalidState`` when it has no vote: its group is not mounted, or it
    was made again and has not been told yet.
    """

    object: str


class ReserveVsanWrite(Request["VsanReserved"], frozen=True, kw_only=True):
    """A writer asks for this number. It is granted once, and only above all that were granted.

    Answered when that is durable. Errors as ``QueryVsanComponent``.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    object: str
    number: int


class VsanReserved(Reply, frozen=True, kw_only=True):
    """``promised``: the highest number that was granted so far, to this writer or another one."""

    granted: bool
    promised: int


class SyncVsanComponent(Request["VsanVote"], frozen=True, kw_only=True):
    """The component is to be at this write, or a later one; a replica copies it from ``source``.

    Answered when that is durable. Errors as ``QueryVsanComponent``.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    object: str
    stamp: int
    source: NodeName


class VsanVote(Reply, frozen=True, kw_only=True):
    """How far a component is; ``promised``: the highest number that it has granted; ``whole``: a
    replica that has its blocks."""

    kind: ComponentKind
    stamp: int
    promised: int
    whole: bool
