"""Actions of a host's local administrator on its keys and core dumps, without vCenter.

A key is written ``provider/id``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Generic

from lab.schema.commands.arguments import HostName, doc
from lab.schema.commands.base import A, Command, Look, check_names, wrong
from lab.schema.commands.crypto import check_key
from lab.schema.tables import ColumnTable, field
from protocol import names
from protocol.messages.host import MARKER_LIMIT

if TYPE_CHECKING:
    from lab.schema.answers import Dump, DumpContent, DumpList, HostView, RemovedKeyList


class HostRemoveProvider(Command["HostView"], frozen=True, tag="host.remove-provider"):
    """Remove a native key provider from a host, on the host itself.

    keystead host remove-provider esxi-003 nkp
    keystead host remove-provider esxi-003 nkp -o json

    Removes the provider's key derivation key [NKP-15]; cached keys stay. vCenter configures the
    provider again when it next checks the host.
    """

    table = ColumnTable(
        "host", (field("host"), field("crypto_state"), field("cached_keys"), field("providers"))
    )
    host: HostName
    provider: str

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class HostRemoveKeys(Command["RemovedKeyList"], frozen=True, tag="host.remove-keys"):
    """Remove keys from a host's key cache, on the host itself; vCenter is not notified.

    keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json

    Keys are removed even when they are in use. With the knob ``store_follows_cache`` they are also
    removed from the persisted store. vCenter pushes them again when it next checks the host
    [STD-13]. Running VMs keep running [LOCK-04]. A host that loses its host key keeps working until
    its next boot.
    """

    host: HostName
    keys: Annotated[tuple[str, ...], doc("Keys, each as provider/id.")]

    def __post_init__(self) -> None:
        if not self.keys:
            raise wrong("name at least one key, as provider/id")
        for key in self.keys:
            check_key(key)


class HostDumpWrite(Command["Dump"], frozen=True, tag="host.dump.write"):
    """Write a core dump of a host, encrypted with the host key if the host is safe.

    keystead host dump write esxi-001
    keystead host dump write esxi-001 before-the-outage --marker 'found again'
    keystead host dump write esxi-001 --vm vm-01

    An existing dump is not overwritten [DUMP-01].
    """

    host: HostName
    dump: Annotated[str, doc("Name of the dump. Default: the next free number.", word=True)] = ""
    marker: Annotated[
        bytes, doc("Text to store in the dump, to recognize it later.", reads="bytes")
    ] = b""
    vm: Annotated[
        str,
        doc("Dump the process of this running VM instead; encrypted with the VM's key, if any."),
    ] = ""

    def __post_init__(self) -> None:
        check_names(names.DUMP, self.dump)
        check_names(names.VM, self.vm)
        if len(self.marker) > MARKER_LIMIT:
            raise wrong(f"a marker has at most {MARKER_LIMIT} bytes")


class HostDumpList(Look["DumpList"], frozen=True, tag="host.dump.list"):
    """List core dumps of a host, the key of each, and whether that key is in memory.

    keystead host dump list esxi-001
    keystead host dump list esxi-001 -o json
    """

    host: HostName


class _OneDump(Command[A], Generic[A], frozen=True):
    host: HostName
    dump: str

    def __post_init__(self) -> None:
        if not self.dump:
            raise wrong("the name of the dump is empty")
        check_names(names.DUMP, self.dump)


class HostDumpDecrypt(_OneDump["DumpContent"], frozen=True, tag="host.dump.decrypt"):
    """Decrypt and read a core dump on the host; needs its key in the host's memory.

    keystead host dump decrypt esxi-001 hostd-zdump.000
    keystead host dump decrypt esxi-001 before-the-outage -o json

    Rule [DUMP-02].
    """

    changes = False


class HostDumpRemove(_OneDump["DumpList"], frozen=True, tag="host.dump.remove"):
    """Delete a core dump from a host's disk, and list the remaining ones.

    keystead host dump remove esxi-001 hostd-zdump.000
    keystead host dump remove esxi-001 before-the-outage -o json
    """
