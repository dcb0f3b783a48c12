"""vSAN encryption of a cluster: on, off, new keys, health, objects, disks.

The key provider is always named: vSAN never takes the default one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Vsan, VsanHealthReport, VsanObjectContent


class VsanDescribe(Command["Vsan"], frozen=True, tag="vsan.describe"):
    """The encryption of a cluster's vSAN, its disk groups, its objects."""

    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class VsanEnable(Command["Vsan"], frozen=True, tag="vsan.enable"):
    """Encrypt a cluster's vSAN with keys of ``provider``; of an encrypted one: change provider."""

    cluster: str
    provider: str
    erase_disks_before_use: bool = False

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        if not self.provider:
            raise wrong("provider: vSAN encryption names its key provider")
        check_names(names.PROVIDER, self.provider)


class VsanDisable(Command["Vsan"], frozen=True, tag="vsan.disable"):
    """Write a cluster's vSAN in clear again."""

    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class VsanRekey(Command["Vsan"], frozen=True, tag="vsan.rekey"):
    """A new KEK and host key; ``deep``: new data keys too, disk group after disk group.

    ``allow_reduced_redundancy``: a group that cannot be evacuated is rebuilt from other replicas.
    """

    cluster: str
    deep: bool = False
    allow_reduced_redundancy: bool = False

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        if self.allow_reduced_redundancy and not self.deep:
            raise wrong("allow-reduced-redundancy: a shallow rekey moves no data")


class VsanHealth(Command["VsanHealthReport"], frozen=True, tag="vsan.health"):
    """The encryption tests of vSAN health, made now by vCenter and every host."""

    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class VsanObjectCreate(Command["Vsan"], frozen=True, tag="vsan.object-create"):
    """An object: two replicas and a witness on three hosts. Of one that is there, what it has lost
    of them is made again, a replica from the other one."""

    cluster: str
    object: str
    blocks: int = 64

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        check_names(names.VSAN_OBJECT, self.object)


class VsanObjectWrite(Command["VsanObjectContent"], frozen=True, tag="vsan.object-write"):
    """At a host itself: fill its replica of an object with blocks made of ``marker``."""

    host: str
    object: str
    marker: bytes


class VsanObjectRead(Command["VsanObjectContent"], frozen=True, tag="vsan.object-read"):
    """At a host itself: read blocks of its replica from the disk now."""

    host: str
    object: str
    nonce: bytes = b""
    blocks: tuple[int, ...] = (0,)


class VsanDiskAdd(Command["Vsan"], frozen=True, tag="vsan.disk-add"):
    """A disk more in a disk group of a host; encrypted from the start where the others are."""

    host: str
    group: str
    disk: str


class VsanDiskRemove(Command["Vsan"], frozen=True, tag="vsan.disk-remove"):
    """A disk less; refused while it has components."""

    host: str
    group: str
    disk: str


class VsanMount(Command["Vsan"], frozen=True, tag="vsan.mount"):
    """Have a host try again to mount its disk groups, with keys as they can be had now."""

    host: str
