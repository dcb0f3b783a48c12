"""Core dumps of a host, written and read by an administrator at its console (DUMP-01 to
DUMP-04)."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host.session import Done
from protocol.terms import CryptoKeyId, VmName

MARKER_LIMIT: Final = 4096  # bytes
DUMPS_LIMIT: Final = 16
"""Dumps that a host can keep."""


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """A dump on the host's disk, by name.

    ``boot`` and ``at`` (Unix seconds of the host's clock) identify the life that wrote it. ``key``
    is the key that encrypts it, the host's or a VM's; None: it is in clear. ``readable``: that key
    is in the host's memory now. ``problem``: the file is damaged, and the other fields are unknown.
    """

    dump: str
    boot: int = 0
    at: float = 0.0
    key: CryptoKeyId | None = None
    readable: bool = False
    problem: str = ""


class WriteDump(Request["DumpWritten"], frozen=True, kw_only=True):
    """Dump the host's agent; durable on return. A safe host encrypts the dump under a key of its
    own, which the host key wraps. With ``vm``: dump the process of that running VM, under the VM's
    key if it is encrypted (DUMP-01).

    ``marker`` (at most ``MARKER_LIMIT`` bytes) goes into the dump, so that its reader can recognise
    it. A repeat finds the dump of that name and changes nothing. ``ResourceInUse`` when there are
    ``DUMPS_LIMIT`` dumps; ``EncryptionKeyRequired`` when the VM's key is not in the cache.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    dump: str
    marker: bytes = b""
    vm: VmName | None = None


class DumpWritten(Reply, frozen=True, kw_only=True):
    """The dump is on the disk."""

    dump: Dump


class ListDumps(Request["DumpList"], frozen=True, kw_only=True):
    """All dumps on the host's disk."""


class DumpList(Reply, frozen=True, kw_only=True):
    """Dumps by name."""

    dumps: tuple[Dump, ...]


class DecryptDump(Request["DumpDecrypted"], frozen=True, kw_only=True):
    """Read a dump in clear; the file stays as it is.

    ``EncryptionKeyRequired`` names the host key that is not in memory, ``NotFound`` when there is
    no such dump, ``InvalidState`` when it is damaged.
    """

    dump: str


class DumpDecrypted(Reply, frozen=True, kw_only=True):
    """The content of the dump: lines of text about the host, and the marker, without keys."""

    dump: Dump
    content: bytes


class RemoveDump(Request[Done], frozen=True, kw_only=True):
    """Remove a dump from the disk; no change when it is not there."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    dump: str
