"""The end of the keys that a replay has made. vCenter destroys none; whoever owns them may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.kmip.replay.findings import PlayPhase
from lab.kmip.replay.journal import MadeKey, ReplayJournal, failures
from lab.kmip.replay.servers import ReplayedServer
from protocol.errors import ProductError
from protocol.kmip.dialect import OperationFailed
from protocol.kmip.enums import ResultReason, RevocationReasonCode
from protocol.kmip.payloads import (
    DestroyRequest,
    DestroyResponse,
    RevokeRequest,
    RevokeResponse,
)
from protocol.kmip.structures import RevocationReason

_WHY: Final = RevocationReason(
    revocation_reason_code=RevocationReasonCode.CESSATION_OF_OPERATION,
    revocation_message="made by keystead kmip replay",
)


async def cleanup(journal: ReplayJournal, servers: Sequence[ReplayedServer]) -> None:
    """Revoke and destroy each key at the server that made it, or at another one where that does
    not answer. What could not be destroyed stays in the journal, with the reason."""
    with journal.phase(PlayPhase.CLEANUP) as played:
        for key in journal.keys:
            key.left = await _try_destroy(key, servers)
        left = sum(bool(key.left) for key in journal.keys)
        played.measures.update(destroyed=len(journal.keys) - left, left=left)


async def _try_destroy(key: MadeKey, servers: Sequence[ReplayedServer]) -> str:
    """Why the key is still there; empty when it is not."""
    first = [server for server in servers if server.name == key.server]
    why = "no server answers"
    for server in (*first, *(server for server in servers if server not in first)):
        try:
            await _destroy(key, server)
        except OperationFailed as refused:
            gone = refused.reason == ResultReason.ITEM_NOT_FOUND
            return "" if gone else f"Destroy: {refused}"
        except ProductError as error:
            why = f"{server.name}: {error}"
        else:
            return ""
    return why


async def _destroy(key: MadeKey, server: ReplayedServer) -> None:
    """An Active key has to be revoked before; one that is Pre-Active need not be, and a server may
    refuse to."""
    talk = server.talk(key.by)
    with failures():
        revoke = RevokeRequest(unique_identifier=key.uid, revocation_reason=_WHY)
        try:
            await talk.run_operation("Revoke", revoke, RevokeResponse)
        except OperationFailed:
            pass
        destroy = DestroyRequest(unique_identifier=key.uid)
        await talk.run_operation("Destroy", destroy, DestroyResponse)
