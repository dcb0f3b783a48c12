"""Changes of the key ring: a new KEK, or another root.

A change of the ring is one transaction with its row of the trail, and the anchor has it before it
is answered. Changes are made one at a time.

*Rotation.* The ring has the new KEK, durably, before a key is wrapped under it. New keys use it
from then on. Existing keys are rewrapped in the background, a bounded number in one transaction,
with a pause after each (knobs ``rewrap_keys``, ``rewrap_pause_s``). A pass over all keys that began
when the new KEK was current leaves none under another; then the others leave the ring. After a
restart meanwhile, the ring has several KEKs, and the pass begins again. Keys that wait for the
other server of a pair are read when they are sent, so they do not hold a KEK; each server of a pair
has its own ring and root.

*Another root.* The new root seals the ring, and the rows do not change. What the old root had on
the disk is removed afterwards, at the latest at the next start.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from functools import partial
from typing import Final

import msgspec

from protocol.crypto.wrap import KEK_SIZE, NONCE_SIZE
from protocol.errors import CryptographicFailure, GeneralFailure, InvalidState
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit.audit_trail import AuditEntry, AuditTrail, TrailEnd
from services.kms.commit import store
from services.kms.commit.unit_of_work import Written
from services.kms.custody.opening import OpenedStore
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.core import KeyServerCore
from services.kms.sealing.roots import ROOTS
from services.kms.sealing.roots.base import RootLocked, RootMeans
from services.kms.sealing.vault import KEKS_LIMIT, Header, KeyRing, pack_header, seal
from services.kms.settings.knobs import KmsNode
from services.runtime.ports import Clock

ROOT: Final = "root"
"""The subject in the trail, in place of a key's id."""

_PATIENCE: Final = 10  # pauses after a refusal of the disk


class Custodian(msgspec.Struct, frozen=True):
    """How the keys are protected now: ``kek`` is the number of the current KEK, of ``keks`` in all;
    ``waiting`` keys are under another one. Times are Unix seconds."""

    root: RootKind
    since: float
    kek: int
    made_at: float
    keks: int
    waiting: int


class Custody:
    """The key ring in one life of a key server. ``means`` are those with which its store was
    opened. Changes that the server makes by itself are recorded as ``local``'s."""

    def __init__(
        self,
        node: KmsNode,
        clock: Clock,
        means: RootMeans,
        opened: OpenedStore,
        core: KeyServerCore,
        local: KeyServerCaller,
    ) -> None:
        self._node, self._clock, self._means, self._core = node, clock, means, core
        self._local = local
        self._database, self._vault = opened.database, opened.vault
        self._header, self._root = opened.header, opened.root
        self._one = asyncio.Lock()
        self._passing = self._refusing = False

    async def begin(self) -> None:
        """Finish what an earlier life has begun."""
        for kind in ROOTS:
            if kind is not self._header.kind:
                await self._drop(kind)
        if len(self._vault.ring.keks) > 1:
            self._pass()

    async def status(self) -> Custodian:
        """The state of the key ring."""
        ring, waiting = self._vault.ring, 0
        if len(ring.keks) > 1:
            waiting = await self._database.query(lambda c: store.waiting(c, self._vault))
        kek, header = ring.current, self._header
        return Custodian(
            header.kind, header.since, kek.number, kek.made_at, len(ring.keks), waiting
        )

    async def rotate(self, caller: KeyServerCaller, after: int) -> None:
        """Make a KEK with a number above ``after`` the current one, durably; no change when the
        current one is. ``InvalidState`` when the ring is full."""
        await self._core.admit(caller, CoreOperation.ROTATE_KEK)
        async with self._one:
            ring = self._vault.ring
            if ring.current.number > after:
                return
            if len(ring.keks) >= KEKS_LIMIT:
                text = f"{KEKS_LIMIT - 1} earlier rotations have keys to re-wrap: wait for these"
                raise InvalidState(text)
            rng = self._means.rng
            ring = ring.with_another(self._clock.now(), KeyMaterial(rng.token(KEK_SIZE)))
            name = kek_name(ring.current.number)
            entry = AuditEntry(caller.who, caller.scope, CoreOperation.ROTATE_KEK, name)
            await self._change(entry, self._header, self._root, ring)
        self._node.record("kms.kek_rotated", kek=ring.current.number)
        self._pass()

    async def change_root(
        self, caller: KeyServerCaller, kind: RootKind, passphrase: KeyMaterial | None
    ) -> None:
        """Seal the ring with a root of ``kind``, durably; the endpoint has admitted ``caller``.

        The same kind again sets another passphrase, or the TPM's policy over the present PCR 7. For
        ``keyfile`` it is ``InvalidState``, as is a root that cannot be made.
        """
        async with self._one:
            if kind is RootKind.KEYFILE and self._header.kind is kind:
                raise InvalidState("the root of its keys is a key file already")
            before = self._header.kind
            means = replace(self._means, passphrase=passphrase)
            try:
                made = await ROOTS[kind].make(means)
            except RootLocked as error:
                raise InvalidState(str(error)) from None
            except OSError as error:
                raise _refusal(error) from error
            header = Header(kind, made.params, self._clock.now())
            entry = AuditEntry(caller.who, caller.scope, CoreOperation.CHANGE_ROOT, ROOT)
            await self._change(entry, header, made.key, self._vault.ring)
            self._node.record("kms.root_changed", root=kind.value, before=before.value)
            if kind is not before:
                await self._drop(before)

    # ---- a change of the ring ----------------------------------------------------------------

    async def _change(
        self, entry: AuditEntry, header: Header, root: KeyMaterial, ring: KeyRing
    ) -> None:
        """Write the ring and the row of the trail; return when all witnesses know of it."""
        packed, at = pack_header(header), self._clock.now()
        box = seal(ring, root, packed, self._means.rng.token(NONCE_SIZE))

        def write(connection: sqlite3.Connection) -> TrailEnd:
            store.write_ring(connection, packed, box)
            trail = AuditTrail(connection, self._vault)
            end = trail.append(at, (entry,))
            trail.write()
            return end

        def adopt_change(end: TrailEnd) -> None:
            self._have(header, root, ring)
            for witness in self._core.commits.witnesses:
                witness.handle_commit(Written(end, True, anchored=True))

        try:
            await self._core.commits.write_waiting()  # earlier reads precede it in the trail
            end = await self._database.transact(write, adopt_change)
            await self._core.commits.wait_for_witnesses(Written(end, True, anchored=True))
        except OSError as error:
            if await self._is_there(box):
                self._have(header, root, ring)
            raise _refusal(error) from error

    def _have(self, header: Header, root: KeyMaterial, ring: KeyRing) -> None:
        self._header, self._root = header, root
        self._vault.install(ring)
        self._core.commits.kept.clear()  # cached rows under a retired KEK must go

    async def _is_there(self, box: bytes) -> bool:
        """Whether a commit that the disk refused has happened all the same. It was not
        acknowledged, but later commits are durable only if it is."""
        try:
            return (await self._database.query(store.ring))[1] == box
        except OSError:
            return False

    async def _drop(self, kind: RootKind) -> None:
        try:
            await ROOTS[kind].drop(self._means)
        except OSError as error:
            text = str(error.strerror or error)
            self._node.record("kms.root_left", level="warning", root=kind.value, text=text)

    # ---- rewrapping keys under the current KEK ---------------------------------------------------

    def _pass(self) -> None:
        if not self._passing:
            self._passing = True
            self._node.background("kms.rewrap", self._rewrap())

    async def _rewrap(self) -> None:
        """Rewrap until the ring has one KEK. An altered row ends the pass and keeps every KEK."""
        try:
            while len(self._vault.ring.keks) > 1:
                number, after = self._vault.ring.current.number, 0
                while (last := await self._bite(after)) is not None:
                    after = last
                async with self._one:
                    # The current KEK has changed: the pass did not rewrap to it.
                    if self._vault.ring.current.number == number:
                        await self._retire()
        except CryptographicFailure as error:
            self._node.record("kms.rewrap_ended", level="error", text=str(error))
        self._passing = False

    async def _bite(self, after: int) -> int | None:
        """One transaction of the pass, and the pause after it; as ``store.rewrap``."""
        pause_s, keys = self._node.knobs.rewrap_pause_s, self._node.knobs.rewrap_keys
        while True:
            nonces = [self._means.rng.token(NONCE_SIZE) for _ in range(keys)]
            rewrap = partial(store.rewrap, vault=self._vault, after=after, nonces=nonces)
            try:
                last = await self._database.transact(rewrap)
            except OSError as error:
                await self._report_refusal("rewrap", error)
            else:
                await self._clock.sleep(pause_s)
                return last

    async def _retire(self) -> None:
        """Keep only the current KEK in the ring. If a key is still under another one, which should
        not happen, the pass begins again. After a failure of the disk it is tried again later."""
        ring = self._vault.ring
        if await self._database.query(lambda connection: store.waiting(connection, self._vault)):
            return
        names = ", ".join(kek_name(kek.number) for kek in ring.keks[:-1])
        entry = AuditEntry(self._local.who, self._local.scope, CoreOperation.RETIRE_KEK, names)
        try:
            await self._change(entry, self._header, self._root, ring.only_current())
        except GeneralFailure as error:
            await self._report_refusal("retire", error)
        else:
            self._refusing = False
            self._node.record("kms.kek_retired", kek=ring.current.number, retired=names)

    async def _report_refusal(self, what: str, error: Exception) -> None:
        """Report the failure once, and wait."""
        if not self._refusing:
            self._node.record("kms.rewrap_waits", level="warning", what=what, text=str(error))
        self._refusing = True
        await self._clock.sleep(max(self._node.knobs.rewrap_pause_s, 0.1) * _PATIENCE)


def kek_name(number: int) -> str:
    """The subject in the trail for a KEK, in place of a key's id."""
    return f"KEK {number}"


def _refusal(error: OSError) -> GeneralFailure:
    return GeneralFailure(f"the key server's storage refused: {error.strerror}")
