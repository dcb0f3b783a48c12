"""The five ports: the only way in which a service reaches the world.

Each port has two drivers, side by side: ``services/runtime/real`` (real broker, wall clock, files,
libtpms) and ``services/runtime/sim`` (memory, virtual time). One conformance test per port runs the
same body against both.

Times are *lab seconds*: product time, which the lab clock divides by ``pace`` before it waits.
Every call may raise ``NodeDown`` once the incarnation that it was made for has ended.
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
    """Typed requests and broadcasts over directed links. At most once: nothing is resent."""

    @property
    def me(self) -> NodeName:
        """The name under which the broker knows this node."""
        ...

    async def request(self, to: NodeName, message: Request[R], *, within_s: float) -> R:
        """Send ``message`` to ``to`` and wait up to ``within_s`` lab seconds for its reply.

        Raises ``NotSent`` or ``Refused`` (it certainly did not happen), ``TimedOut`` or
        ``Disconnected`` (it may have happened), or the error that the other node answered with.
        Sealed fields of the message are encrypted to the key of ``to``; those of the reply are
        decrypted.
        """
        ...

    def publish(self, event: Event) -> None:
        """Broadcast ``event``, best effort. While the broker is away the event is lost, not
        buffered."""
        ...

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter of this node's status (``NodeStatus.counters``), for the people who
        watch the lab; nothing that a node does depends on it."""
        ...


class Choices(Protocol):
    """The part of ``random.Random`` that a service may use: for choices, never for secrets."""

    def random(self) -> float:
        """A number from 0 up to, but not including, 1."""
        ...

    def uniform(self, a: float, b: float) -> float:
        """A number from ``a`` to ``b``, uniformly distributed."""
        ...

    def randrange(self, start: int, stop: int) -> int:
        """A whole number from ``start`` up to, but not including, ``stop``."""
        ...

    def expovariate(self, lambd: float) -> float:
        """An exponentially distributed gap: independent events come at a rate of ``lambd`` per
        unit."""
        ...


class Rng(Protocol):
    """Randomness. In the simulation everything comes from the seed."""

    def stream(self, name: str) -> Choices:
        """The node's stream of choices called ``name``; each call returns the same object."""
        ...

    def token(self, size: int) -> bytes:
        """``size`` bytes for keys, nonces, ids and serials; no decision may depend on them."""
        ...


class Clock(Protocol):
    """Time in lab seconds."""

    def now(self) -> float:
        """Wall clock, Unix seconds. Chaos may skew it: use it for timestamps and validity, not for
        limits."""
        ...

    def monotonic(self) -> float:
        """Lab seconds since some start, the same for all nodes of a lab; never skewed."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` lab seconds."""
        ...

    def every(self, period_s: float, jitter_s: float = 0.0) -> AsyncIterator[int]:
        """Yield 1, 2, ... every ``period_s`` lab seconds, plus up to ``jitter_s`` drawn from the
        Rng.

        The first tick comes after one period. A slow body delays the next tick; ticks never pile
        up.
        """
        ...

    def limit(self, seconds: float) -> float:
        """``seconds``, raised to the lab's shortest real limit if it is below it."""
        ...

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """``asyncio.timeout`` of ``limit(seconds)`` lab seconds; raises ``TimeoutError``."""
        ...

    def alarm(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``act`` in ``limit(seconds)`` lab seconds, unless the alarm is cancelled before."""
        ...


class Database(Protocol):
    """One SQLite database of a node. Each commit is durable before any caller resumes.

    A full or failing device raises ``OSError`` (``ENOSPC``, ``EIO``), as in ``Disk``. SQL that
    reads the clock, draws random values, ends the transaction or sets pragmas raises
    ``sqlite3.DatabaseError``.
    """

    async def transact(
        self,
        fn: Callable[[sqlite3.Connection], T],
        applied: Callable[[T], None] | None = None,
    ) -> T:
        """Run ``fn(connection)`` in a write transaction and return its value after the commit.

        ``fn`` is synchronous, takes and returns values only, and runs in the writer; several calls
        share one commit. If ``fn`` raises, only its own changes are undone and the error is raised
        here. ``fn`` runs again when it, or another one of the same commit, has failed.
        ``applied(result)`` runs on the loop, in commit order, before any caller resumes.
        """
        ...

    async def query(self, fn: Callable[[sqlite3.Connection], T], *, long: bool = False) -> T:
        """Run ``fn(connection)`` for reading. It sees every commit acknowledged before the call.

        ``long``: the query may take its time; only other long queries wait for it.
        """
        ...


class Datastore(Protocol):
    """The cluster's shared array: files in a folder per VM. A write is durable on return.

    File names are plain (no separators). A missing file raises ``FileNotFoundError``.
    """

    async def lock(self, vm: str) -> None:
        """Take the VM's lock for this incarnation. No change when it has the lock already.

        Raises ``VmLockHeld``, which names the holder, while another live incarnation has it.
        """
        ...

    async def unlock(self, vm: str) -> None:
        """Release the lock; no change when it is not held. The end of the incarnation releases it
        too."""
        ...

    async def holders(self, vms: Sequence[str]) -> dict[str, NodeName]:
        """The node that holds the lock of each of these VMs now; unlocked VMs are left out.

        It takes no lock, and no other node is refused a lock because of it.
        """
        ...

    async def read(self, vm: str, file: str) -> bytes:
        """The whole content of a file of ``vm``; ``FileNotFoundError`` when there is none."""
        ...

    async def write(self, vm: str, file: str, data: bytes) -> None:
        """Replace the file atomically."""
        ...

    async def read_blocks(
        self, vm: str, file: str, blocks: Sequence[int], size: int
    ) -> list[bytes]:
        """These blocks of ``size`` bytes, in the given order; shorter only at the end of the file.

        They are read from the array at each call: no cache answers.
        """
        ...

    async def write_blocks(self, vm: str, file: str, blocks: Mapping[int, bytes]) -> None:
        """Overwrite or append these blocks, in this order. All have the same size, which is the
        block size.

        All are durable on return. After a crash in the middle each block is either the old or the
        new one. ``ValueError`` for a block beyond the end or of another size than the first;
        nothing is written then. The file must exist (``write`` creates it).
        """
        ...

    async def files(self, vm: str) -> tuple[str, ...]:
        """The sorted file names of ``vm``; empty when it has no folder."""
        ...

    async def vms(self) -> tuple[str, ...]:
        """Sorted folder names."""
        ...

    async def remove(self, vm: str) -> None:
        """Remove the VM's folder with all files; no change when there is none."""
        ...


class Disk(Protocol):
    """This node's own storage. Paths are relative, with components joined by ``/``.

    A write changes the *written* image. ``sync`` (content) and ``sync_folder`` (names) carry it to
    the *synced* image. A crash keeps the written image, a power loss only the synced one. Errors
    are ``FileNotFoundError`` and ``OSError`` with ``errno`` (``ENOSPC``, ``EIO``).
    """

    async def read(self, path: str) -> bytes:
        """The whole content as last written; ``FileNotFoundError`` when there is no such file."""
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Create or truncate ``path`` and its folders. Durable only after the syncs."""
        ...

    async def append(self, path: str, data: bytes, *, sync: bool = False) -> None:
        """Write ``data`` at the end of the file, which is created if needed. Durable only after the
        syncs.

        ``sync``: also ``sync`` the file; the incarnation may end between the two.
        """
        ...

    async def sync(self, path: str) -> None:
        """Make the content of the file durable, but not its name (see ``sync_folder``)."""
        ...

    async def replace(self, source: str, target: str) -> None:
        """Atomic rename; durable after ``sync_folder`` of the target's folder."""
        ...

    async def sync_folder(self, folder: str = "") -> None:
        """Make the names in ``folder`` durable. A new folder is itself a name in its parent: until
        ``sync_folder`` of the parent, a power loss removes the folder with its content."""
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
        """Open the database ``name``, created if needed. The statements of ``schema`` run at each
        opening and must be idempotent.

        ``OSError`` (EIO) when a table or index is damaged. ``ledger``: count its commits in a file
        beside it, and refuse (``OSError``) to open a database that was emptied or has lost
        acknowledged commits.
        """
        ...

    async def datastore(self, name: str) -> Datastore:
        """The shared array ``name``; all hosts of its cluster see the same files."""
        ...


class Tpm(Protocol):
    """The host's TPM 2.0. Calls are serialised. Raises ``TpmError`` with the real return code.

    Only the host's boot and its secure configuration use it. Clear, swap, lock-out and the like are
    commands of the lab (``TpmDevice``), not of a service.
    """

    async def power_on(self) -> None:
        """Power the TPM on and start it: TPM2_Startup(CLEAR), with all PCRs as after a reset.

        Raises ``TpmError`` 0x101 when its NV is damaged or cannot be written.
        """
        ...

    async def power_off(self, orderly: bool) -> None:
        """Power the TPM off, after TPM2_Shutdown(CLEAR) if ``orderly``. No change when it is off.

        Without the shutdown the next start counts as unsafe, as after a power cut.
        """
        ...

    async def extend_log(self, events: Sequence[MeasuredEvent]) -> bytes:
        """Extend each event into its PCR; return the TCG2 event log of exactly these events."""
        ...

    async def pcrs(self, selection: PcrSelection) -> dict[int, bytes]:
        """The SHA-256 values of the PCRs in ``selection``, by number."""
        ...

    async def ensure_srk(self) -> bytes:
        """Create and persist the storage root key once; return its TPM name."""
        ...

    async def seal(self, secret: bytes, policy: bytes) -> SealedBlob:
        """Seal 1..128 bytes under the storage root key and a policy digest of 32 bytes.

        Raises ``ValueError`` for other sizes, ``TpmError`` 0x18B without a storage root key.
        """
        ...

    async def unseal(self, blob: SealedBlob, selection: PcrSelection) -> bytes:
        """The secret in ``blob``, sealed under a policy over the PCRs in ``selection``.

        Raises ``TpmError``: 0x99D when the PCRs do not match the policy, 0x1DF when the blob is
        altered or of another storage root key, 0x18B without a storage root key.
        """
        ...

    async def ek(self, kind: EkKind) -> tuple[PublicArea, bytes | None]:
        """The endorsement key of this kind, and its certificate; None when the key has no
        certificate."""
        ...

    async def ek_chain(self) -> tuple[bytes, ...]:
        """The certificates (DER) that issued the endorsement key certificates, root first; empty
        when the keys have no certificates."""
        ...

    async def ak(self) -> tuple[PublicArea, bytes]:
        """The attestation key and its TPM name. It stays the same when the TPM is cleared."""
        ...

    async def activate(self, id_object: bytes, encrypted_seed: bytes) -> bytes:
        """The secret of a credential made for this endorsement key and this attestation key.

        Raises ``TpmError`` 0x1DF for a credential of other keys, 0x1D5 or 0x2D5 for a malformed
        one.
        """
        ...

    async def quote(self, selection: PcrSelection, nonce: bytes) -> Quote:
        """PCR values signed by the attestation key, over a ``nonce`` of at most 64 bytes."""
        ...

    async def counter(self, index: int, bump: bool = False) -> int:
        """The value of an NV counter. ``bump`` increments it first, and defines it if needed.

        Raises ``TpmError`` 0x18B when it is not defined, 0x282 to increment an index that is no
        counter.
        """
        ...

    async def nv_read(self, index: int) -> bytes:
        """The whole content of an NV index.

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
    """Another live incarnation (``holder``) holds the VM's lock on the datastore."""

    def __init__(self, vm: str, holder: str) -> None:
        super().__init__(f"{vm} is locked on the datastore by {holder}")
        self.vm = vm
        self.holder = holder


@dataclass(frozen=True)
class Ports:
    """The ports of one incarnation of one node. ``tpm`` is None on a host without a TPM.

    ``vtpms`` belongs to the Tpm port: TPMs of virtual machines, which need no TPM of the host
    (VTPM-01). None on a node that runs no virtual machines. ``streams`` belongs to the Bus port;
    None on a host, which has no such connections.
    """

    bus: Bus
    clock: Clock
    rng: Rng
    disk: Disk
    tpm: Tpm | None = None
    vtpms: VirtualTpms | None = None
    streams: Streams | None = None
