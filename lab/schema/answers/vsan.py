"""A cluster's vSAN: its encryption, disk groups, objects, and their health."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer, KeyRef
from lab.schema.tables import ColumnTable, field
from protocol.terms import ClusterName, NodeName, ProviderId
from protocol.vsan import (
    ComponentState,
    VsanChange,
    VsanEncryptionIssue,
    VsanTransitionState,
)
from protocol.vsan import VsanHealthState as Colour


class VsanDiskLine(msgspec.Struct, frozen=True, kw_only=True):
    """A disk as its label says; ``key``: the KEK that wraps its data key."""

    disk: str
    encrypted: bool
    key: KeyRef | None = None
    dek_generation: int = 0


class VsanGroupLine(msgspec.Struct, frozen=True, kw_only=True):
    """A disk group; ``why`` it is not mounted."""

    host: NodeName
    group: str
    mounted: bool
    why: str = ""
    disks: tuple[VsanDiskLine, ...] = ()
    components: int = 0


class VsanComponentLine(msgspec.Struct, frozen=True, kw_only=True):
    """A component of an object."""

    host: NodeName
    kind: str
    state: ComponentState


class VsanObjectLine(msgspec.Struct, frozen=True, kw_only=True):
    """An object with its components."""

    object: str
    accessible: bool
    components: tuple[VsanComponentLine, ...]


class Vsan(Answer, frozen=True, kw_only=True):
    """``silent``: hosts that do not answer vCenter, so that their groups are not known."""

    cluster: ClusterName
    encryption_enabled: bool
    provider: ProviderId | None = None
    kek: KeyRef | None = None
    host_key: KeyRef | None = None
    dek_generation: int = 0
    erase_disks_before_use: bool = False
    transition_state: VsanTransitionState
    change: VsanChange | None = None
    groups: tuple[VsanGroupLine, ...] = ()
    objects: tuple[VsanObjectLine, ...] = ()
    silent: tuple[NodeName, ...] = ()


class VsanTestLine(msgspec.Struct, frozen=True, kw_only=True):
    """One test and what it found."""

    test: str
    health: Colour
    details: tuple[str, ...] = ()


class VsanHostHealthLine(msgspec.Struct, frozen=True, kw_only=True):
    """A host: whether it reaches a key server, None without one; its encryption issues."""

    host: NodeName
    health: Colour
    kms_connected: bool | None = None
    issues: tuple[VsanEncryptionIssue, ...] = ()


class VsanHealthReport(Answer, frozen=True, kw_only=True):
    """The encryption health of a cluster's vSAN."""

    cluster: ClusterName
    health: Colour
    tests: tuple[VsanTestLine, ...]
    hosts: tuple[VsanHostHealthLine, ...]


class VsanObjectContent(Answer, frozen=True, kw_only=True):
    """SHA-256 over the nonce and the blocks asked for, in hexadecimal."""

    host: NodeName
    object: str
    digest: str

    table = ColumnTable("host", (field("host"), field("object"), field("digest")))
