"""What a host's own administrator does there with its keys and core dumps; vCenter is not told.

A key is written ``provider/id``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from lab.schema.commands.base import Command, check_names, wrong
from lab.schema.commands.crypto import check_key
from protocol import names
from protocol.messages.host import MARKER_LIMIT

if TYPE_CHECKING:
    from lab.schema.answers import Dump, DumpContent, DumpList, HostView, RemovedKeyList

A = TypeVar("A", covariant=True)


class HostRemoveProvider(Command["HostView"], frozen=True, tag="host.remove-provider"):
    """A native provider leaves a host's list, its key derivation key with it, at the host itself.

    vCenter is not told, and brings it again at its next look [NKP-15]. Cached keys stay.
    """

    host: str
    provider: str

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class HostRemoveKeys(Command["RemovedKeyList"], frozen=True, tag="host.remove-keys"):
    """RemoveKeys at the host: keys leave its cache, used or not, and by the knob
    ``store_follows_cache`` its store.

    vCenter is not told, and brings them again when it looks next [STD-13]. Running VMs go on
    [LOCK-04], and so does a host whose host key it was, until its next boot.
    """

    host: str
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise wrong("name at least one key, provider/id")
        for key in self.keys:
            check_key(key)


class HostDumpWrite(Command["Dump"], frozen=True, tag="host.dump.write"):
    """Write a core dump of the host's agent to its disk: encrypted when the host is safe [DUMP-01].

    ``dump`` empty: the next ``hostd-zdump.NNN``; one that is there is not written again.
    ``marker`` goes into it, so that who reads it can tell. ``vm``: of the process of that running
    VM instead, under the VM's key if it has one, ``vmx-zdump.NNN``.
    """

    host: str
    dump: str = ""
    marker: bytes = b""
    vm: str = ""

    def __post_init__(self) -> None:
        check_names(names.DUMP, self.dump)
        check_names(names.VM, self.vm)
        if len(self.marker) > MARKER_LIMIT:
            raise wrong(f"a marker has at most {MARKER_LIMIT} bytes")


class HostDumpList(Command["DumpList"], frozen=True, tag="host.dump.list"):
    """The core dumps on a host's disk, and whether the host key of each is in its memory."""

    host: str


class _OneDump(Command[A], Generic[A], frozen=True):
    """``dump`` is its name on the host."""

    host: str
    dump: str

    def __post_init__(self) -> None:
        if not self.dump:
            raise wrong("a dump has a name")
        check_names(names.DUMP, self.dump)


class HostDumpDecrypt(_OneDump["DumpContent"], frozen=True, tag="host.dump.decrypt"):
    """Read a core dump in clear, at the host: its host key must be in memory there [DUMP-02]."""


class HostDumpRemove(_OneDump["DumpList"], frozen=True, tag="host.dump.remove"):
    """Remove a core dump from a host's disk; those that are left."""
