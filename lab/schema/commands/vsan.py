"""vSAN encryption of a cluster: on, off, new keys, health, objects, disks.

The key provider is always named: vSAN never takes the default one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.arguments import HostName, doc
from lab.schema.commands.base import Command, Look, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Vsan, VsanHealthReport, VsanObjectContent


class VsanDescribe(Look["Vsan"], frozen=True, tag="vsan.describe"):
    """Encryption, disk groups and objects of a cluster's vSAN.

    keystead vsan describe cluster-a
    keystead vsan describe cluster-a -o json
    """

    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class VsanEnable(Command["Vsan"], frozen=True, tag="vsan.enable"):
    """Encrypt a cluster's vSAN; of one that is encrypted, change its key provider.

    keystead vsan enable cluster-a --provider kms-provider
    keystead vsan enable cluster-a --provider native-provider -o json
    """

    cluster: str
    provider: Annotated[
        str, doc("The key provider; vSAN never takes the default.", name="--provider")
    ]
    erase_disks_before_use: Annotated[
        bool, doc("Not available: refused.", name="--erase-disks")
    ] = False

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        if not self.provider:
            raise wrong("provider: vSAN encryption names its key provider")
        check_names(names.PROVIDER, self.provider)


class VsanDisable(Command["Vsan"], frozen=True, tag="vsan.disable"):
    """Write a cluster's vSAN in clear again.

    keystead vsan disable cluster-a
    keystead vsan disable cluster-a -o json
    """

    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class VsanRekey(Command["Vsan"], frozen=True, tag="vsan.rekey"):
    """New keys for a cluster's vSAN: KEK and host key, and with --deep the key of each disk.

    keystead vsan rekey cluster-a
    keystead vsan rekey cluster-a --deep --allow-reduced-redundancy

    Data keys change disk group after disk group.
    """

    cluster: str
    deep: Annotated[bool, doc("New data keys too.")] = False
    allow_reduced_redundancy: Annotated[
        bool, doc("Rebuild what cannot be evacuated from other replicas.")
    ] = False

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        if self.allow_reduced_redundancy and not self.deep:
            raise wrong("allow-reduced-redundancy: a shallow rekey moves no data")


class VsanHealth(Command["VsanHealthReport"], frozen=True, tag="vsan.health"):
    """The encryption tests of vSAN health, made now by vCenter and every host.

    keystead vsan health cluster-a
    keystead vsan health cluster-a -o yaml
    """

    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class VsanObjectCreate(Command["Vsan"], frozen=True, tag="vsan.object-create"):
    """Make an object of two replicas and a witness, on three hosts; or what one has lost of them.

    keystead vsan object-create cluster-a papers
    keystead vsan object-create cluster-a papers --blocks 8
    """

    cluster: str
    object: str
    blocks: Annotated[int, doc("Of 4096 bytes.")] = 64

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        check_names(names.VSAN_OBJECT, self.object)


class VsanObjectWrite(Command["VsanObjectContent"], frozen=True, tag="vsan.object-write"):
    """At a host itself: fill its replica of an object with blocks made of ``marker``."""

    words = ""
    host: str
    object: str
    marker: bytes


class VsanObjectRead(Look["VsanObjectContent"], frozen=True, tag="vsan.object-read"):
    """Read blocks of a host's replica from its disk now; their digest.

    keystead vsan object-read esxi-001 object-1
    keystead vsan object-read esxi-001 object-1 3 5
    """

    host: HostName
    object: str
    nonce: Annotated[bytes, doc("The digest begins with it.", hidden=True)] = b""
    blocks: Annotated[tuple[int, ...], doc("Blocks, by number; the first.", word=True)] = (0,)


class VsanDiskAdd(Command["Vsan"], frozen=True, tag="vsan.disk-add"):
    """Add a disk to a disk group of a host, encrypted from the start where the others are.

    keystead vsan disk-add esxi-001 group-1 disk-3
    keystead vsan disk-add esxi-001 group-1 disk-3 -o json
    """

    host: HostName
    group: str
    disk: str


class VsanDiskRemove(Command["Vsan"], frozen=True, tag="vsan.disk-remove"):
    """Remove a disk that has no components from a disk group of a host.

    keystead vsan disk-remove esxi-001 group-1 disk-3
    keystead vsan disk-remove esxi-001 group-1 disk-3 -o json
    """

    host: HostName
    group: str
    disk: str


class VsanMount(Command["Vsan"], frozen=True, tag="vsan.mount"):
    """Have a host try again to mount its disk groups, with keys as they can be had now.

    keystead vsan mount esxi-001
    keystead vsan mount esxi-001 -o json
    """

    host: HostName
