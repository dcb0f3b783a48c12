"""Bugs of how a key server keeps its keys: KEKs, roots and anchors."""

from __future__ import annotations

from typing import Any

from services.kms.custody.anchor import AnchorKeeper
from services.kms.custody.rotation import Custody
from services.kms.sealing.roots import keyfile
from services.kms.sealing.roots.keyfile import KeyFile
from services.kms.sealing.vault import Vault
from tests.mutations.bugs.planting import plant, replaces


def age_unchecked() -> None:
    """A key server does not look at its anchor when it starts, so an older database is served
    from."""

    @replaces(AnchorKeeper, "check")
    async def check(original: Any, self: Any, database: Any) -> None:
        return None


def anchor_behind() -> None:
    """Rollback unseen: the anchor is written at a start only, not with each change."""

    @replaces(AnchorKeeper, "confirm")
    async def settled(original: Any, self: Any, written: Any) -> None:
        return None


def anchor_never_follows() -> None:
    """Rollback unseen: with buffered audit the anchor of a change does not come after its
    answer."""

    @replaces(AnchorKeeper, "_follow")
    async def follow(original: Any, keeper: Any, clock: Any) -> None:
        await clock.sleep(keeper._node.knobs.audit_buffer_s)
        keeper._following = False


def anchor_uncounted() -> None:
    """Rollback of a whole disk unseen: the counter of the TPM is raised and never compared."""

    @replaces(AnchorKeeper, "_check_count")
    async def check(original: Any, self: Any, known: int) -> None:
        return None


def kek_retired_early() -> None:
    """A rotation lets the old KEK go while keys are still under it."""

    @replaces(Custody, "rotate")
    async def rotate(original: Any, self: Custody, caller: Any, after: int) -> None:
        before = self._vault.ring.current.number
        await original(self, caller, after)
        if self._vault.ring.current.number != before:
            await self._retire()

    async def _none(fn: Any) -> int:
        return 0

    @replaces(Custody, "_retire")
    async def retire(original: Any, self: Any) -> None:
        query, self._database.query = self._database.query, _none
        try:
            await original(self)
        finally:
            self._database.query = query


def master_key_unsynced() -> None:
    """A key server's master key is used before its name is durable."""

    @replaces(keyfile, "replace_durably")
    async def replace_durably(
        original: Any, disk: Any, path: str, data: bytes, **options: Any
    ) -> None:
        await disk.write(f"{path}.new", data)
        await disk.sync(f"{path}.new")
        await disk.replace(f"{path}.new", path)


def old_root_stays() -> None:
    """The key file stays on the disk when the ring is under another root."""

    @replaces(KeyFile, "drop")
    async def drop(original: Any, self: KeyFile, means: Any) -> None:
        """Said to be removed."""


def row_tag_unchecked() -> None:
    """The key server's vault broken: an edited database is believed."""

    def _verify(self: Any, kind: bytes, row: bytes, tag: bytes, what: str) -> None:
        """Whatever is there is true."""

    def _verifier(self: Any, kind: bytes) -> Any:
        return lambda row, tag: True

    plant(Vault, "verify", lambda original: _verify)
    plant(Vault, "verifier", lambda original: _verifier)
