"""The end of the trail, stored outside of the database, so that an older database is noticed.

After each change of a key the end of the trail goes behind what is in the file ``keys.anchor``,
signed with a key of the vault, before the change is answered; the last one counts (decision 21). A
database that has no such row, because it was emptied, deleted or put back from a copy, is not
served from until an administrator accepts that.
With a TPM under the server, its NV counter counts the anchors, so that file and database put
back together are noticed too; without one, a whole disk put back is not.

| TPM's counter | counter in the anchor | at start |
|---|---|---|
| n | n, or n + 1: the end came between the two | it is the last anchor, and the counter rises |
| n, or none | begun | the end came when the counter was made |
| n | anything else | an older anchor was put back, or the TPM is another one |

Before the counter is made, an anchor says so (*begun*): a crash between the two, which nothing else
tells from files that were removed, is no rollback then, whatever the new counter is at. Whoever has
the disk of that very moment may put it back.

The trail may be ahead of the anchor: reading is written down too, and a crash may fall between.

A server whose audit is ``buffered`` answers first and has the anchor follow at most
``audit_buffer_s`` later, one for all changes of that time (decision 66).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable
from typing import Final, NamedTuple

from protocol.errors import CryptographicFailure
from protocol.tpm.errors import TpmError
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import EMPTY, TrailEnd
from services.kms.commit.unit_of_work import Written
from services.kms.sealing.vault import Vault
from services.kms.settings.knobs import KmsNode
from services.runtime.durable import read_counter, replace_durably
from services.runtime.ports import Clock, Database, Disk, Tpm

ANCHOR_FILE: Final = "keys.anchor"
INDEX: Final = 0x01800200
"""The NV index of the counter."""

ANCHORS: Final = 64
"""Anchors in one file; then a new file begins with the last one."""

_KIND: Final = b"anchor"
_BEGUN: Final = 2**64 - 1
"""The number of an anchor written before the counter is made."""

_FIELDS: Final = struct.Struct(">Q32sQ")
TAG_SIZE: Final = 32
SIZE: Final = _FIELDS.size + TAG_SIZE
"""Bytes of one anchor."""


class _Anchor(NamedTuple):
    sequence: int
    digest: bytes
    counter: int  # of the TPM; 0 without a TPM


class RolledBack(Exception):
    """The database is not the last one; the text says how that shows."""


class AnchorKeeper:
    """Keeps the anchor up to date with the trail; a ``CommitWitness`` of the commits.

    One anchor is written at a time: changes that are committed meanwhile share the next one. A
    failing disk or TPM keeps no change from being answered, because the change itself is durable;
    the failure is recorded, and the next change, or a stop, tries again.

    ``follows``: the clock of a keeper whose anchor may come after the answer; None: it must not.
    """

    def __init__(
        self,
        node: KmsNode,
        disk: Disk,
        vault: Vault,
        tpm: Tpm | None,
        follows: Clock | None = None,
    ) -> None:
        self._node, self._disk, self._vault, self._tpm = node, disk, vault, tpm
        self._follows = follows
        self._latest = EMPTY
        self._due = 0  # the highest row that needs an anchor
        self._tried = 0  # the highest row whose anchor was written or refused
        self._kept = 0  # the highest row whose anchor was written
        self._written: asyncio.Event | None = None  # set when the anchor in progress is written
        self._following = False
        self._room = 0  # anchors that the file still has room for; 0: a new file begins
        self._number = 0  # the number of the last anchor in the file

    # ---- at start ---------------------------------------------------------------------------

    async def check(self, database: Database) -> None:
        """``RolledBack`` unless the trail contains the anchor, and this is the last anchor."""
        head = await database.query(lambda connection: audit_trail.head(connection, self._vault))
        try:
            anchor = await self._read()
        except RolledBack:
            if head.sequence:
                raise
            raise RolledBack(
                "its database is older than the server, or another one: its trail is empty, and "
                f"{ANCHOR_FILE} is not"
            ) from None
        if anchor is None:
            if head.sequence:
                raise RolledBack(f"{ANCHOR_FILE}, which has the end of its audit trail, is missing")
        else:
            end = TrailEnd(anchor.sequence, anchor.digest)
            if not await database.query(lambda connection: audit_trail.has(connection, end)):
                raise RolledBack(
                    f"its database is older than the server, or another one: it has "
                    f"{head.sequence} rows in its trail, and row {end.sequence} as it was is not "
                    "among them"
                )
        await self._check_count(0 if anchor is None else anchor.counter)

    async def _check_count(self, known: int) -> None:
        """``known``: the counter in the anchor, 0 when it was written without a TPM."""
        if self._tpm is None:
            if known:
                raise RolledBack("the TPM that counts how far it has come is not there")
            return
        try:
            count = await read_counter(self._tpm, INDEX)
        except TpmError as error:
            raise RolledBack(f"the TPM that counts how far it has come fails: {error}") from None
        if known == _BEGUN or (known == 0 and count is None):
            return
        self._number = known
        if count is None or known not in (count, count + 1):
            text = "has no counter" if count is None else f"is at {count}"
            raise RolledBack(
                f"its disk is not the last one, or its TPM is another: {ANCHOR_FILE} has "
                f"number {known}, the TPM {text}"
            )

    async def begin(self, database: Database, *, accepted: bool = False) -> None:
        """Write the anchor of the present database; ``accepted``: even if ``check`` raised.

        If the TPM fails only now, the existing anchor, which is right, stays, and the next change
        tries again.
        """
        self._latest = await database.query(
            lambda connection: audit_trail.head(connection, self._vault)
        )
        self._due = self._tried = self._latest.sequence
        try:
            await self._write(self._latest)
        except TpmError as error:
            self._record_failure(error)
            if accepted:  # this life continues without the TPM
                self._tpm = None
                await self._write(self._latest)
        except OSError as error:
            self._record_failure(error)

    @property
    def is_behind(self) -> bool:
        """Whether a due anchor could not be written."""
        return self._kept < self._due

    # ---- a witness of the commits --------------------------------------------------------------

    def handle_commit(self, written: Written) -> None:
        """See ``CommitWitness``."""
        if written.end is not None and written.end.sequence > self._latest.sequence:
            self._latest = written.end

    def confirm(self, written: Written) -> Awaitable[None] | None:
        """See ``CommitWitness``."""
        if written.end is None or not written.changed:
            return None
        self._due = max(self._due, written.end.sequence)
        if self._follows is None or written.anchored:
            return self.write_anchor()
        if not self._following:
            self._following = True
            self._node.background("kms.anchor", self._follow(self._follows))
        return None

    async def _follow(self, clock: Clock) -> None:
        try:
            while self._tried < self._due:
                await clock.sleep(self._node.knobs.audit_buffer_s)
                await self.write_anchor()
        finally:
            self._following = False

    async def write_anchor(self) -> None:
        """Return when the anchor of all changes so far was written or refused."""
        due = self._due
        while self._tried < due:
            if self._written is not None:
                await self._written.wait()
                continue
            self._written, end = asyncio.Event(), self._latest
            try:
                await self._try_write(end)
            finally:  # also after a cancellation: a stop tries again
                self._written.set()
                self._written = None

    async def finish(self) -> None:
        """At a stop: as ``write_anchor``, with one more try after a refusal, because no change
        follows."""
        await self.write_anchor()
        if self._kept < self._due:
            await self._try_write(self._latest)

    async def _try_write(self, end: TrailEnd) -> None:
        try:
            await self._write(end)
        except (OSError, TpmError) as error:
            self._record_failure(error)
        self._tried = max(self._tried, end.sequence)

    def _record_failure(self, error: Exception) -> None:
        self._node.record("kms.anchor_failed", level="error", text=str(error))

    # ---- file and counter -------------------------------------------------------------------

    async def _write(self, end: TrailEnd) -> None:
        count = 0 if self._tpm is None else await self._next(self._tpm, end)
        await self._put(_Anchor(*end, count))
        if self._tpm is not None:
            await self._tpm.counter(INDEX, bump=True)
        self._kept = max(self._kept, end.sequence)

    async def _put(self, anchor: _Anchor) -> None:
        """Append the anchor durably, or begin a new file with it."""
        fields = _FIELDS.pack(*anchor)
        signed = fields + self._vault.tag(_KIND, fields)
        room, self._room = self._room, 0  # a failed write may leave a part of an anchor
        if room:
            await self._disk.append(ANCHOR_FILE, signed, sync=True)
        else:
            room = ANCHORS
            await replace_durably(self._disk, ANCHOR_FILE, signed)
        self._room, self._number = room - 1, anchor.counter

    async def _next(self, tpm: Tpm, end: TrailEnd) -> int:
        """The number of the next anchor, which no earlier one has; the counter is made when there
        is none.

        The counter is raised first for the last anchor if that was missed because the life ended or
        the TPM failed. Otherwise several anchors would have one number, and any of them could be
        put back for the last. If a TPM reads its counter but does not raise it, the file continues
        without it.
        """
        count = await read_counter(tpm, INDEX)
        if count is None:
            await self._put(_Anchor(*end, _BEGUN))
            return await tpm.counter(INDEX, bump=True) + 1
        if count + 1 != self._number:
            return count + 1
        try:
            return await tpm.counter(INDEX, bump=True) + 1
        except TpmError:
            return count + 1

    async def _read(self) -> _Anchor | None:
        """The last complete anchor. A truncated one belongs to a change that was never answered."""
        try:
            raw = await self._disk.read(ANCHOR_FILE)
        except FileNotFoundError:
            return None
        anchor: _Anchor | None = None
        for at in range(0, len(raw) - SIZE + 1, SIZE):
            fields, tag = raw[at : at + _FIELDS.size], raw[at + _FIELDS.size : at + SIZE]
            try:
                self._vault.verify(_KIND, fields, tag, ANCHOR_FILE)
            except CryptographicFailure:
                raise _anchor_altered() from None
            anchor = _Anchor(*_FIELDS.unpack(fields))
        if anchor is None:
            raise _anchor_altered()
        if len(raw) % SIZE:
            self._node.record("kms.anchor_torn", level="warning", size=len(raw))
        return anchor


def _anchor_altered() -> RolledBack:
    return RolledBack(f"{ANCHOR_FILE}, which has the end of its audit trail, was altered")
