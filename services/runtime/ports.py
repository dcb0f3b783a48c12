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
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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
from services.runtime.streams import Streams
from services.runtime.virtual_tpm import VirtualTpms

R = TypeVar("R")
T = TypeVar("T")


class Bus(Protocol):
    """Typed request/reply and broadcast over directed links; at most once, never resent."""

    @property
    def me(self) -> NodeName:
        """The name under which the broker knows this node."""
        ...

    async def request(self, to: NodeName, message: Request[R], *, within_s: float) -> R:
        """Send ``message`` to ``to`` and wait for its reply for ``within_s`` lab seconds.

        Raises ``NotSent`` and ``Refused`` (it certainly did not happen), ``TimedOut`` and
        ``Disconnected`` (it may have happened), or the error the other side answered with.
        A sealed field of the message is encrypted to ``to``'s key; those of the reply are open.
        """
        ...

    def publish(self, event: Event) -> None:
        """Broadcast ``event``; best effort. Lost while the broker is away, never buffered."""
        ...


class Choices(Protocol):
    """What a service may use of ``random.Random``, for choices and never for secrets."""

    def random(self) -> float:
        """A number from 0 up to, but not including, 1."""
        ...

    def uniform(self, a: float, b: float) -> float:
        """A number from ``a`` to ``b``, each place equally likely."""
        ...

    def randrange(self, start: int, stop: int) -> int:
        """A whole number from ``start`` up to, but not including, ``stop``."""
        ...

    def expovariate(self, lambd: float) -> float:
        """A gap between events that know nothing of each other, ``lambd`` of them per unit."""
        ...


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

    def every(self, period_s: float, jitter_s: float = 0.0) -> AsyncIterator[int]:
        """Yield 1, 2, ... at each ``period_s`` (plus up to ``jitter_s`` more, drawn from the Rng).

        The first tick comes after one period. A slow body delays the next tick, never piles up.
        """
        ...

    def limit(self, seconds: float) -> float:
        """``seconds``, raised so that it never lasts less than the lab's shortest real limit."""
        ...

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """``asyncio.timeout`` of ``limit(seconds)`` lab seconds; raises ``TimeoutError``."""
        ...

    def alarm(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``act`` in ``limit(seconds)`` lab seconds, unless the alarm is cancelled before."""
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
        here; it is run again when it, or one that shares its commit, has failed.
        ``applied(result)`` runs on the loop, in commit order, before any caller resumes.
        """
        ...

    async def query(self, fn: Callable[[sqlite3.Connection], T], *, long: bool = False) -> T:
        """Run ``fn(connection)`` for reading; sees every commit acknowledged before the call.

        A ``long`` one may take its time: only others that are long wait for it.
        """
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

    async def holders(self, vms: Sequence[str]) -> dict[str, NodeName]:
        """Which node holds the lock of each of these VMs now; VMs that nobody locks are left out.

        A look that disturbs nobody: no lock is taken, and no taker is refused because of it.
        """
        ...

    async def read(self, vm: str, file: str) -> bytes:
        """The whole content of a file of ``vm``; ``FileNotFoundError`` when it is not there."""
        ...

    async def write(self, vm: str, file: str, data: bytes) -> None:
        """Replace the file atomically."""
        ...

    async def read_blocks(
        self, vm: str, file: str, blocks: Sequence[int], size: int
    ) -> list[bytes]:
        """These blocks of ``size`` bytes, in the order asked; shorter only at the end of the file.

        What lies there now: nothing that was read or written earlier answers.
        """
        ...

    async def write_blocks(self, vm: str, file: str, blocks: Mapping[int, bytes]) -> None:
        """Overwrite (or append) these blocks, in this order; what each has is the block size.

        All are durable on return. Who falls in the midst leaves each as it was or as it was to
        be, some of both. ``ValueError`` for a block beyond the end, or of another size than the
        first, and nothing is written; the file must be there (``write`` makes it).
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
    """This node's own storage. Paths are relative, their components joined by ``/``.

    A write reaches the *written* image; ``sync`` (content) and ``sync_folder`` (names) carry it
    to the *synced* image. A crash keeps the first, a power loss only the second. Errors are
    ``FileNotFoundError`` and ``OSError`` with ``errno`` (``ENOSPC``, ``EIO``).
    """

    async def read(self, path: str) -> bytes:
        """The whole content as it was written last; ``FileNotFoundError`` when it is not there."""
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Create or truncate ``path`` and its folders. Durable only after the syncs."""
        ...

    async def append(self, path: str, data: bytes, *, sync: bool = False) -> None:
        """Write ``data`` at the end of the file, made if need be. Durable only after the syncs.

        ``sync``: go on with ``sync`` of the file; an end may come between the two.
        """
        ...

    async def sync(self, path: str) -> None:
        """Make the content of the file durable, but not its name: see ``sync_folder``."""
        ...

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

    async def database(
        self, name: str, schema: Sequence[str] = (), *, ledger: bool = False
    ) -> Database:
        """Open (or make) the database ``name``; ``schema`` statements run once, idempotent.

        ``OSError`` (EIO) when a table or an index of it is damaged. ``ledger``: keep count of its
        commits beside it, and refuse (``OSError``) to open one that was emptied, or has lost
        commits that were acknowledged.
        """
        ...

    async def datastore(self, name: str) -> Datastore:
        """The shared array ``name``; all hosts of its cluster see the same files."""
        ...


class Tpm(Protocol):
    """The host's TPM 2.0; calls are serialised. Raises ``TpmError`` with the real code.

    Only the host's boot and its secure configuration use it; clear, swap, lock-out and the
    like are commands of the lab (``TpmDevice``), never of a service.
    """

    async def power_on(self) -> None:
        """Give it power and start it: TPM2_Startup(CLEAR), all PCRs as after a reset.

        Raises ``TpmError`` 0x101 when its NV is damaged or cannot be written.
        """
        ...

    async def power_off(self, orderly: bool) -> None:
        """Take the power, after TPM2_Shutdown(CLEAR) if ``orderly``. No change when it is off.

        Without the shutdown the next start counts as unsafe, as after a power cut.
        """
        ...

    async def extend_log(self, events: Sequence[MeasuredEvent]) -> bytes:
        """Extend every event into its PCR; return the TCG2 event log of exactly these."""
        ...

    async def pcrs(self, selection: PcrSelection) -> dict[int, bytes]:
        """The SHA-256 values of the PCRs in ``selection``, by number."""
        ...

    async def ensure_srk(self) -> bytes:
        """Create and persist the storage root key once; return its TPM name."""
        ...

    async def seal(self, secret: bytes, policy: bytes) -> SealedBlob:
        """Seal 1..128 bytes under the root key and a policy digest of 32 bytes.

        Raises ``ValueError`` for other sizes, ``TpmError`` 0x18B without a root key.
        """
        ...

    async def unseal(self, blob: SealedBlob, selection: PcrSelection) -> bytes:
        """The secret in ``blob``, sealed under a policy over the PCRs in ``selection``.

        Raises ``TpmError``: 0x99D when the PCRs differ from the policy, 0x1DF when the blob is
        altered or not of this root key, 0x18B without a root key.
        """
        ...

    async def ek(self, kind: EkKind) -> tuple[PublicArea, bytes | None]:
        """The endorsement key of this kind, and its certificate; None when the key is bare."""
        ...

    async def ek_chain(self) -> tuple[bytes, ...]:
        """The certificates (DER) above that of an endorsement key, from the root; empty when
        keys are bare."""
        ...

    async def ak(self) -> tuple[PublicArea, bytes]:
        """The attestation key and its TPM name. It stays the same when the TPM is cleared."""
        ...

    async def activate(self, id_object: bytes, encrypted_seed: bytes) -> bytes:
        """The secret of a credential made for this endorsement key and this attestation key.

        Raises ``TpmError`` 0x1DF when it was made for others, 0x1D5 or 0x2D5 when it is none.
        """
        ...

    async def quote(self, selection: PcrSelection, nonce: bytes) -> Quote:
        """PCR values signed by the attestation key, over a ``nonce`` of at most 64 bytes."""
        ...

    async def counter(self, index: int, bump: bool = False) -> int:
        """The value of an NV counter, after one step up if ``bump``, which also defines it.

        Raises ``TpmError`` 0x18B when it is not defined, 0x282 to bump what is no counter.
        """
        ...

    async def nv_read(self, index: int) -> bytes:
        """All of an NV index.

        Raises ``TpmError`` 0x18B when it is not defined, 0x14A when it was never written.
        """
        ...

    async def nv_write(self, index: int, data: bytes) -> None:
        """Define the owner's NV index (0x01800000..0x01BFFFFF) with exactly this content.

        ``data`` has 1..2,048 bytes. Raises ``TpmError`` 0x14B when NV is full, 0x82 when the index
        is a counter.
        """
        ...

    async def info(self) -> TpmInfo:
        """Its maker and version, its reset counters and its lockout state."""
        ...


class VmLockHeld(Exception):
    """Another live incarnation holds the VM's lock on the datastore (``holder`` names it)."""

    def __init__(self, vm: str, holder: str) -> None:
        super().__init__(f"{vm} is locked on the datastore by {holder}")
        self.vm = vm
        self.holder = holder


@dataclass(frozen=True)
class Ports:
    """What one incarnation of one node may touch; ``tpm`` is None on a host without TPM.

    ``vtpms`` is the other half of the Tpm port: TPMs of virtual machines, for which a host needs
    none (VTPM-01). None on a node that runs no virtual machines. ``streams`` is the other half of
    the Bus port; None on a host, which has no such connections.
    """

    bus: Bus
    clock: Clock
    rng: Rng
    disk: Disk
    tpm: Tpm | None = None
    vtpms: VirtualTpms | None = None
    streams: Streams | None = None
