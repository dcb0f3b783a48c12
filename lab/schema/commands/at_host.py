"""What a host's own administrator does there with its keys and core dumps; vCenter is not told.

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
    """Take a native provider from a host, at the host: vCenter brings it again at its next look.

    keystead host remove-provider esxi-003 nkp
    keystead host remove-provider esxi-003 nkp -o json

    Its key derivation key goes with it [NKP-15]; cached keys stay.
    """

    table = ColumnTable(
        "host", (field("host"), field("crypto_state"), field("cached_keys"), field("providers"))
    )
    host: HostName
    provider: str

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class HostRemoveKeys(Command["RemovedKeyList"], frozen=True, tag="host.remove-keys"):
    """Remove keys from a host's cache and store, at the host: vCenter is not told.

    keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json

    Keys leave the cache, used or not, and by the knob ``store_follows_cache`` the store. vCenter
    brings them again when it looks next [STD-13]. Running VMs go on [LOCK-04], and so does a host
    whose host key it was, until its next boot.
    """

    host: HostName
    keys: Annotated[tuple[str, ...], doc("Keys, provider/id each.")]

    def __post_init__(self) -> None:
        if not self.keys:
            raise wrong("name at least one key, provider/id")
        for key in self.keys:
            check_key(key)


class HostDumpWrite(Command["Dump"], frozen=True, tag="host.dump.write"):
    """Write a core dump of the host's agent: encrypted under the host key when the host is safe.

    keystead host dump write esxi-001
    keystead host dump write esxi-001 before-the-outage --marker 'found again'
    keystead host dump write esxi-001 --vm vm-01

    A dump that is there is not written again [DUMP-01].
    """

    host: HostName
    dump: Annotated[str, doc("Its name; the next number when left out.", word=True)] = ""
    marker: Annotated[
        bytes, doc("Text that goes into it, so that who reads it can tell.", reads="bytes")
    ] = b""
    vm: Annotated[
        str, doc("Of the process of this running VM, under the VM's key if it has one.")
    ] = ""

    def __post_init__(self) -> None:
        check_names(names.DUMP, self.dump)
        check_names(names.VM, self.vm)
        if len(self.marker) > MARKER_LIMIT:
            raise wrong(f"a marker has at most {MARKER_LIMIT} bytes")


class HostDumpList(Look["DumpList"], frozen=True, tag="host.dump.list"):
    """Core dumps of a host, by which host key each is locked, and whether that is in memory.

    keystead host dump list esxi-001
    keystead host dump list esxi-001 -o json
    """

    host: HostName


class _OneDump(Command[A], Generic[A], frozen=True):
    host: HostName
    dump: str

    def __post_init__(self) -> None:
        if not self.dump:
            raise wrong("a dump has a name")
        check_names(names.DUMP, self.dump)


class HostDumpDecrypt(_OneDump["DumpContent"], frozen=True, tag="host.dump.decrypt"):
    """Read a core dump in clear, at the host; without its host key in memory it is refused.

    keystead host dump decrypt esxi-001 hostd-zdump.000
    keystead host dump decrypt esxi-001 before-the-outage -o json

    Rule [DUMP-02].
    """

    changes = False


class HostDumpRemove(_OneDump["DumpList"], frozen=True, tag="host.dump.remove"):
    """Remove a core dump from a host's disk; those that are left are listed.

    keystead host dump remove esxi-001 hostd-zdump.000
    keystead host dump remove esxi-001 before-the-outage -o json
    """
