"""The phase *isolation*: a client does not see the keys of another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import PlayPhase
from lab.kmip.replay.flow import Flow
from lab.kmip.replay.journal import MadeKey, ReplayJournal, failures
from lab.kmip.replay.servers import ReplayedServer, ReplayRole
from protocol.errors import ProductError
from protocol.kmip import dialect
from protocol.kmip.attributes import Attribute
from protocol.kmip.dialect import OperationFailed
from protocol.kmip.payloads import LocateRequest, LocateResponse
from services.keyservers.dialogue import Dialogue

_NAME: Final = dialect.USE[-1]
_LOCATED: Final = 1000


class Isolation:
    """The other client has a certificate that the servers trust."""

    def __init__(self, journal: ReplayJournal, flow: Flow) -> None:
        self._journal, self._flow = journal, flow

    async def play(self, servers: Sequence[ReplayedServer]) -> None:
        """At each server, with one key of vCenter and one of the other client."""
        with self._journal.phase(PlayPhase.ISOLATION):
            for server in servers:
                await self._at(server)

    async def _at(self, server: ReplayedServer) -> None:
        journal, other = self._journal, server.talk(ReplayRole.OTHER)
        with failures() as failed:
            try:
                await other.health()
            except (ProductError, OperationFailed):
                why = f"the server refuses the other client: {failed[0].error}"
                journal.check(kinds.SEPARATE, server.name, skipped=why)
                return
        known = journal.keys_with_value()
        if not known:
            why = "no key was made that another client might see"
            journal.check(kinds.SEPARATE, server.name, skipped=why)
            return
        journal.check(kinds.SEPARATE, server.name)
        await self._look(server, other, next((key for key in known if key.tags), known[0]))
        await self._look_back(server, other)

    async def _look(self, server: ReplayedServer, other: Dialogue, key: MadeKey) -> None:
        """What the other client learns of a key of vCenter."""
        journal = self._journal
        with failures():
            try:
                await other.use(key.uid, activate=False)
                seen = f"the other client got key {key.uid}"
                journal.find(kinds.FOREIGN_KEY_SERVED, server.name, "Get", seen)
                return  # who has the key may as well know the rest
            except (ProductError, OperationFailed):
                pass
            try:
                state = await other.state(key.uid)
                named = "no State" if state is None else f"State {state.title}"
                seen = f"the other client was told of key {key.uid}: {named}"
                step = "Get Attributes (State)"
                journal.find(kinds.FOREIGN_KEY_DESCRIBED, server.name, step, seen)
            except (ProductError, OperationFailed):
                pass
            if await self._located(other, key):
                seen = f"the other client found key {key.uid} by its {_NAME}"
                journal.find(kinds.FOREIGN_KEY_LOCATED, server.name, "Locate", seen)

    async def _located(self, other: Dialogue, key: MadeKey) -> bool:
        """Whether Locate finds the key, which has to be tagged for that."""
        name = key.tags.get(_NAME)
        if name is None:
            return False
        attribute = Attribute(attribute_name=_NAME, attribute_value=name)
        asked = LocateRequest(maximum_items=_LOCATED, attribute=(attribute,))
        try:
            found = await other.run_operation("Locate", asked, LocateResponse)
        except (ProductError, OperationFailed):
            return False
        return key.uid in found.unique_identifier

    async def _look_back(self, server: ReplayedServer, other: Dialogue) -> None:
        """Whether vCenter gets a key of the other client, if that may make one."""
        journal = self._journal
        with failures():
            try:
                uid = await other.create()
            except (ProductError, OperationFailed):
                return
            key = journal.record_key(uid, server.name, "other client", by=ReplayRole.OTHER)
            try:
                await server.vcenter.use(key.uid, activate=False)
            except (ProductError, OperationFailed):
                return
            seen = f"vCenter got key {uid}, which the other client had made"
            journal.find(kinds.FOREIGN_KEY_SERVED, server.name, "Get", seen)
