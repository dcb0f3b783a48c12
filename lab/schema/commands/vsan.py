"""vSAN encryption of a cluster: on, off, new keys, health, objects, disks.

Commands always name the key provider: vSAN does not use the default key provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.base import Command, HostName, Look, check_names, doc, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Vsan, VsanHealthReport, VsanObjectContent


class VsanDescribe(Look["Vsan"], frozen=True, tag="vsan.describe"):
    """Describe a cluster's vSAN: encryption, disk groups, objects.

    keystead vsan describe cluster-a
    keystead vsan describe cluster-a -o json
    """

    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class VsanEnable(Command["Vsan"], frozen=True, tag="vsan.enable"):
    """Enable vSAN encryption of a cluster, or change its key provider.

    keystead vsan enable cluster-a --provider kms-provider
    keystead vsan enable cluster-a --provider native-provider -o json
    """

    cluster: str
    provider: Annotated[
        str, doc("Key provider; vSAN does not use the default one.", name="--provider")
    ]
    erase_disks_before_use: Annotated[
        bool, doc("Not supported: refused.", name="--erase-disks")
    ] = False

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        if not self.provider:
            raise wrong("vSAN encryption needs a key provider: --provider")
        check_names(names.PROVIDER, self.provider)


class VsanDisable(Command["Vsan"], frozen=True, tag="vsan.disable"):
    """Disable vSAN encryption of a cluster; its data is rewritten in clear text.

    keystead vsan disable cluster-a
    keystead vsan disable cluster-a -o json
    """

    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class VsanRekey(Command["Vsan"], frozen=True, tag="vsan.rekey"):
    """Rekey a cluster's vSAN: new KEK and host key, and with --deep new DEKs.

    keystead vsan rekey cluster-a
    keystead vsan rekey cluster-a --deep --allow-reduced-redundancy

    A deep rekey changes one disk group after the other.
    """

    cluster: str
    deep: Annotated[bool, doc("Also create new DEKs, one for each disk.")] = False
    allow_reduced_redundancy: Annotated[
        bool, doc("Rebuild data that cannot be evacuated from other replicas.")
    ] = False

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        if self.allow_reduced_redundancy and not self.deep:
            raise wrong("--allow-reduced-redundancy needs --deep: a shallow rekey moves no data")


class VsanHealth(Command["VsanHealthReport"], frozen=True, tag="vsan.health"):
    """Run the encryption tests of vSAN health on vCenter and every host.

    keystead vsan health cluster-a
    keystead vsan health cluster-a -o yaml
    """

    cluster: str

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)


class VsanObjectCreate(Command["Vsan"], frozen=True, tag="vsan.object-create"):
    """Create a vSAN object on three hosts, or recreate its lost components.

    keystead vsan object-create cluster-a papers
    keystead vsan object-create cluster-a papers --blocks 8

    An object has two replicas and a witness.
    """

    cluster: str
    object: str
    blocks: Annotated[int, doc("Size in blocks of 4,096 bytes.")] = 64

    def __post_init__(self) -> None:
        check_names(names.CLUSTER, self.cluster)
        check_names(names.VSAN_OBJECT, self.object)


class VsanObjectWrite(Command["VsanObjectContent"], frozen=True, tag="vsan.object-write"):
    """On a host itself, fill its replica of an object with blocks derived from ``marker``."""

    words = ""
    host: str
    object: str
    marker: bytes


class VsanObjectRead(Look["VsanObjectContent"], frozen=True, tag="vsan.object-read"):
    """Read blocks of a host's replica from disk, and print their digest.

    keystead vsan object-read esxi-001 object-1
    keystead vsan object-read esxi-001 object-1 3 5
    """

    host: HostName
    object: str
    nonce: Annotated[bytes, doc("Prefix of the digested data.", hidden=True)] = b""
    blocks: Annotated[tuple[int, ...], doc("Block numbers. Default: 0.", word=True)] = (0,)


class VsanDiskAdd(Command["Vsan"], frozen=True, tag="vsan.disk-add"):
    """Add a disk to a host's disk group; encrypted if the group is.

    keystead vsan disk-add esxi-001 group-1 disk-3
    keystead vsan disk-add esxi-001 group-1 disk-3 -o json
    """

    host: HostName
    group: str
    disk: str


class VsanDiskRemove(Command["Vsan"], frozen=True, tag="vsan.disk-remove"):
    """Remove a disk without components from a host's disk group.

    keystead vsan disk-remove esxi-001 group-1 disk-3
    keystead vsan disk-remove esxi-001 group-1 disk-3 -o json
    """

    host: HostName
    group: str
    disk: str


class VsanMount(Command["Vsan"], frozen=True, tag="vsan.mount"):
    """Retry to mount a host's disk groups with the keys that are available now.

    keystead vsan mount esxi-001
    keystead vsan mount esxi-001 -o json
    """

    host: HostName
