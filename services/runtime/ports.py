"""The five ports through which a service touches the world, and nothing else.

Each port has two drivers that lie side by side: ``services/runtime/real`` (real broker, wall
clock, files, libtpms) and ``services/runtime/sim`` (memory, virtual time). One conformance
test per port runs the same body against both.

Times are *lab seconds*: product time, which the lab clock divides by ``pace`` before it waits.
Every call may raise ``NodeDown`` when the incarnation it was made for is over.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from protocol.messages.base import Event, Request
from protocol.terms import NodeName
from protocol.tpm.structures import (
    EkKind,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    Quote,
    SealedBlob,
    TpmInfo,
)

R = TypeVar("R")
T = TypeVar("T")


class Bus(Protocol):
    """Typed request/reply and broadcast over directed links; at most once, never resent."""

    @property
    def me(self) -> NodeName:
        """The name under which the broker knows this node."""
        ...

    async def request(self, to: NodeName, message: Request[R], *, within: float) -> R:
        """Send ``message`` to ``to`` and wait for its reply for ``within`` lab seconds.

        Raises ``NotSent`` and ``Refused`` (it certainly did not happen), ``TimedOut`` and
        ``Disconnected`` (it may have happened), or the error the other side answered with.
        A sealed field of the message is encrypted to ``to``'s key; those of the reply are open.
        """
        ...

    def publish(self, event: Event) -> None:
        """Broadcast ``event``; best effort. Lost while the broker is away, never buffered."""
        ...


class Choices(Protocol):
    """The part of ``random.Random`` a service may use for choices (never for secrets)."""

    def random(self) -> float: ...
    def uniform(self, a: float, b: float) -> float: ...
    def randrange(self, start: int, stop: int) -> int: ...
    def expovariate(self, lambd: float) -> float: ...


class Rng(Protocol):
    """Randomness. In the simulation everything comes from the seed."""

    def stream(self, name: str) -> Choices:
        """The node's stream of choices called ``name``; the same object at each call."""
        ...

    def token(self, size: int) -> bytes:
        """``size`` bytes for keys, nonces, ids and serials; no decision may depend on them."""
        ...


class Clock(Protocol):
    """Time in lab seconds."""

    def now(self) -> float:
        """Wall clock, Unix seconds; chaos may skew it. For stamps and validity, not for limits."""
        ...

    def monotonic(self) -> float:
        """Lab seconds since some start, the same for all nodes of a lab; never skewed."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` lab seconds."""
        ...

    def every(self, period: float, jitter: float = 0.0) -> AsyncIterator[int]:
        """Yield 1, 2, ... at each ``period`` (plus up to ``jitter`` more, drawn from the Rng).

        The first tick comes after one period. A slow body delays the next tick, never piles up.
        """
        ...

    def limit(self, seconds: float) -> float:
        """``seconds``, raised so that it never lasts less than the lab's shortest real limit."""
        ...

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """``asyncio.timeout`` of ``limit(seconds)`` lab seconds; raises ``TimeoutError``."""
        ...


class Database(Protocol):
    """One SQLite database of a node; each commit is durable before anyone resumes.

    A full or failing device is ``OSError`` (``ENOSPC``, ``EIO``), as in ``Disk``. SQL may not read
    the clock, draw random values, end the transaction or set pragmas: ``sqlite3.DatabaseError``.
    """

    async def transact(
        self,
        fn: Callable[[sqlite3.Connection], T],
        applied: Callable[[T], None] | None = None,
    ) -> T:
        """Run ``fn(connection)`` in a write transaction and return its value after the commit.

        ``fn`` is synchronous, takes and gives values only, and runs in the writer; several
        share one commit. If it raises, only its own changes are undone and the error is raised
        here. ``applied(result)`` runs on the loop, in commit order, before any caller resumes.
        """
        ...

    async def query(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``fn(connection)`` for reading; sees every commit acknowledged before the call."""
        ...


class Datastore(Protocol):
    """The cluster's shared array: files in a folder per VM; a write is durable on return.

    File names are plain (no separators). ``FileNotFoundError`` for what is not there.
    """

    async def lock(self, vm: str) -> None:
        """Take the VM's lock for this incarnation; taking it again is no change.

        Raises ``VmLockHeld`` (names the holder) while another live incarnation has it.
        """
        ...

    async def unlock(self, vm: str) -> None:
        """Give the lock back; no change when it is not held. It also dies with the incarnation."""
        ...

    async def read(self, vm: str, file: str) -> bytes: ...
    async def write(self, vm: str, file: str, data: bytes) -> None:
        """Replace the file atomically."""
        ...

    async def read_block(self, vm: str, file: str, index: int, size: int) -> bytes:
        """Block ``index`` of ``size`` bytes; shorter only at the end of the file."""
        ...

    async def write_block(self, vm: str, file: str, index: int, data: bytes) -> None:
        """Overwrite (or append) block ``index``; ``len(data)`` is the block size.

        ``ValueError`` for a block beyond the end; the file must be there (``write`` makes it).
        """
        ...

    async def files(self, vm: str) -> tuple[str, ...]:
        """Sorted file names of ``vm``; empty when it has no folder."""
        ...

    async def vms(self) -> tuple[str, ...]:
        """Sorted folder names."""
        ...

    async def remove(self, vm: str) -> None:
        """Remove the VM's folder with all files; no change when it is not there."""
        ...


class Disk(Protocol):
    """This node's own storage. Paths are relative, parts joined by ``/``.

    A write reaches the *written* image; ``sync`` (content) and ``sync_folder`` (names) carry it
    to the *synced* image. A crash keeps the first, a power loss only the second. Errors are
    ``FileNotFoundError`` and ``OSError`` with ``errno`` (``ENOSPC``, ``EIO``).
    """

    async def read(self, path: str) -> bytes: ...
    async def write(self, path: str, data: bytes) -> None:
        """Create or truncate ``path`` and its folders. Durable only after the syncs."""
        ...

    async def append(self, path: str, data: bytes) -> None: ...
    async def sync(self, path: str) -> None: ...
    async def replace(self, source: str, target: str) -> None:
        """Atomic rename; durable after ``sync_folder`` of the target's folder."""
        ...

    async def sync_folder(self, folder: str = "") -> None:
        """Make the names in ``folder`` durable. A new folder is a name in its parent: until
        ``sync_folder`` of the parent too, a power loss takes it with all that is in it."""
        ...

    async def list(self, folder: str = "") -> tuple[str, ...]:
        """Sorted names in ``folder``; empty when there is no such folder."""
        ...

    async def remove(self, path: str) -> None:
        """Remove a file, durable after ``sync_folder``; ``FileNotFoundError`` if absent."""
        ...

    async def database(self, name: str, schema: Sequence[str] = ()) -> Database:
        """Open (or make) the database ``name``; ``schema`` statements run once, idempotent."""
        ...

    async def datastore(self, name: str) -> Datastore:
        """The shared array ``name``; all hosts of its cluster see the same files."""
        ...


class Tpm(Protocol):
    """The host's TPM 2.0; calls are serialised. Raises ``TpmError`` with the real code.

    Only the host's boot and its secure configuration use it; clear, swap, lock-out and the
    like are commands of the lab (``TpmDevice``), never of a service.
    """

    async def power_on(self) -> None: ...
    async def power_off(self, orderly: bool) -> None: ...
    async def extend_log(self, events: Sequence[MeasuredEvent]) -> bytes:
        """Extend every event into its PCR; return the TCG2 event log of exactly these."""
        ...

    async def pcrs(self, selection: PcrSelection) -> dict[int, bytes]: ...
    async def ensure_srk(self) -> bytes:
        """Create and persist the storage root key once; return its TPM name."""
        ...

    async def seal(self, secret: bytes, policy: bytes) -> SealedBlob: ...
    async def unseal(self, blob: SealedBlob, selection: PcrSelection) -> bytes: ...
    async def ek(self, kind: EkKind) -> tuple[PublicArea, bytes | None]: ...
    async def ak(self) -> tuple[PublicArea, bytes]: ...
    async def activate(self, id_object: bytes, encrypted_seed: bytes) -> bytes: ...
    async def quote(self, selection: PcrSelection, nonce: bytes) -> Quote: ...
    async def counter(self, index: int, bump: bool = False) -> int: ...
    async def nv_read(self, index: int) -> bytes: ...
    async def nv_write(self, index: int, data: bytes) -> None: ...
    async def info(self) -> TpmInfo: ...


class VmLockHeld(Exception):
    """Another live incarnation holds the VM's lock on the datastore (``holder`` names it)."""

    def __init__(self, vm: str, holder: str) -> None:
        super().__init__(f"{vm} is locked on the datastore by {holder}")
        self.vm = vm
        self.holder = holder


@dataclass(frozen=True)
class Ports:
    """What one incarnation of one node may touch; ``tpm`` is None on a host without TPM."""

    bus: Bus
    clock: Clock
    rng: Rng
    disk: Disk
    tpm: Tpm | None = None
