"""Retention of the audit trail: an administrator cuts old rows after copying them.

The administrator has read the rows before, as the chain has them, and names the digest of the last
one as proof that it has all of them. The row of the trail that records the cut comes first, with
the anchor; then the cut itself, in one transaction; then the rows are removed, a bounded number at
a time. After a crash in between the trail is whole, or it is cut and the next start removes the
rest.
"""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from typing import Final

from protocol.errors import GeneralFailure, InvalidArgument
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import TrailCut, TrailEnd
from services.kms.custody.anchor import AnchorKeeper
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.core import KeyServerCore
from services.kms.sealing.vault import Vault
from services.kms.settings.knobs import KmsNode
from services.runtime.ports import Clock, Database

ROWS: Final = 1000
"""Rows removed in one transaction."""


class Retention:
    """Retention in one life of a key server."""

    def __init__(
        self,
        node: KmsNode,
        clock: Clock,
        database: Database,
        vault: Vault,
        core: KeyServerCore,
        anchor: AnchorKeeper,
    ) -> None:
        self._node, self._clock, self._database, self._vault = node, clock, database, vault
        self._core, self._anchor = core, anchor
        self._one = asyncio.Lock()

    def begin(self, *, left: bool) -> None:
        """Remove rows that an earlier life has cut but not removed (``left``)."""
        if left:
            self._node.background("kms.trail", self._finish())

    async def older(self, before: float) -> TrailEnd | None:
        """The last of the first rows that are older than a time (Unix seconds); None when there are
        none."""
        await self._core.write_all()
        return await self._core.look(
            lambda connection, vault: audit_trail.older(connection, vault, before)
        )

    async def cut(self, caller: KeyServerCaller, end: TrailEnd) -> TrailCut:
        """Let the trail begin after ``end``, durably, and remove the rows up to there.

        ``InvalidArgument`` when there is no such row, or it differs; ``GeneralFailure`` when the
        disk fails.
        """
        await self._core.admit(caller, CoreOperation.CUT_TRAIL)
        async with self._one:
            return await self._cut(caller, end)

    async def _cut(self, caller: KeyServerCaller, end: TrailEnd) -> TrailCut:
        summary, digest, before = await self._core.look(partial(_prepare_cut, end))
        if digest != end.digest:
            raise InvalidArgument(f"row {end.sequence} of the trail is not the one that was read")
        rows = f"{before.sequence + 1} to {end.sequence}"
        await self._core.administer(caller, CoreOperation.CUT_TRAIL, rows, lambda *_: None)
        if self._anchor.is_behind:
            text = "its anchor was not written, and would stand at a row that is gone"
            raise GeneralFailure(f"the key server's storage refused: {text}")
        cut = TrailCut(*end, self._clock.now(), before.sequence)
        try:
            await self._database.transact(
                lambda connection: audit_trail.put_cut(connection, self._vault, cut, summary)
            )
            await self._sweep()
        except OSError as error:
            text = f"the key server's storage refused: {error.strerror}"
            raise GeneralFailure(text) from error
        self._node.record("kms.trail_cut", rows=rows)
        return cut

    async def _finish(self) -> None:
        """Remove the cut rows. After a failure of the disk the next life continues."""
        try:
            await self._sweep()
        except OSError as error:
            text = str(error.strerror)
            self._node.record("kms.trail_left", level="warning", text=text)

    async def _sweep(self) -> None:
        while await self._database.transact(partial(audit_trail.sweep_cuts, rows=ROWS)):
            pass


def _prepare_cut(
    end: TrailEnd, connection: sqlite3.Connection, vault: Vault
) -> tuple[bytes, bytes, TrailCut]:
    before = audit_trail.last_cut(connection, vault)
    if end.sequence <= before.sequence:
        raise InvalidArgument(f"the trail was cut at row {before.sequence} before")
    summary, digest = audit_trail.summarize_until(connection, vault, end.sequence)
    return summary, digest, before
