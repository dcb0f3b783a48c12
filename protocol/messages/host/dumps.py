"""Core dumps of a host, written and read by who stands at it (DUMP-01 to DUMP-04)."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host.session import Done
from protocol.terms import CryptoKeyId, VmName

MARKER_LIMIT: Final = 4096  # bytes
DUMPS_LIMIT: Final = 16
"""Dumps that a host has room for."""


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """A dump as it lies on the host's disk, by name.

    ``boot`` and ``at`` (Unix seconds of the host's clock) say which life of the host wrote it.
    ``key`` is the key that it is under, the host's or a VM's; None: it is in clear.
    ``readable``: that key is in the host's memory now. ``problem``: the file is damaged, and
    nothing else is known of it.
    """

    dump: str
    boot: int = 0
    at: float = 0.0
    key: CryptoKeyId | None = None
    readable: bool = False
    problem: str = ""


class WriteDump(Request["DumpWritten"], frozen=True, kw_only=True):
    """Dump the host's agent: a safe host encrypts it under a key of its own, and that under the
    host key; durable on return. With ``vm`` the process of that running VM: under the VM's key, if
    it is encrypted (DUMP-01).

    ``marker`` (at most ``MARKER_LIMIT`` bytes) goes into it, so that who reads it can tell. A
    repeat finds the dump of that name there, and changes nothing. ``ResourceInUse`` when there
    are ``DUMPS_LIMIT`` dumps; ``EncryptionKeyRequired`` when the VM's key is not in the cache.
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
    """By name."""

    dumps: tuple[Dump, ...]


class DecryptDump(Request["DumpDecrypted"], frozen=True, kw_only=True):
    """Read a dump in clear; the file stays as it is.

    ``EncryptionKeyRequired`` names the host key that is not in memory, ``NotFound`` when there is
    no such dump, ``InvalidState`` when it is damaged.
    """

    dump: str


class DumpDecrypted(Reply, frozen=True, kw_only=True):
    """What was dumped: lines of text about the host, and the marker. Keys are left out."""

    dump: Dump
    content: bytes


class RemoveDump(Request[Done], frozen=True, kw_only=True):
    """Remove a dump from the disk; no change when it is not there."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    dump: str
