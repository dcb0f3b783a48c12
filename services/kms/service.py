"""The bus door of the key server: proves the caller, hands the request to the core.

``start`` opens the store and checks all of it; what was altered, or a master key that is not
the one, halts the server with the reason on its screen.
"""

from __future__ import annotations

from typing import ClassVar

from protocol.errors import CryptographicFailure
from protocol.messages.kms import (
    Activate,
    AttributeList,
    AuditRows,
    CreateKey,
    Destroy,
    DiscoverVersions,
    GetAttributes,
    GetKeys,
    KeyCreated,
    KeyState,
    KeyValues,
    Locate,
    Located,
    QueryAudit,
    Revoke,
    ServerVersions,
)
from protocol.terms import Role
from services.kms.access import Caller, caller_at
from services.kms.config import KmsConfig
from services.kms.core import Core
from services.kms.store import open_store
from services.runtime.ports import Ports
from services.runtime.service import Halted, Node, Peer, Service, serves


class KmsService(Service):
    """A key server (``NodeSpec.config`` as ``KmsConfig``)."""

    role: ClassVar[Role] = Role.KMS

    def __init__(self, node: Node, ports: Ports, config: KmsConfig) -> None:
        super().__init__(node, ports)
        self.config = config
        self._core: Core

    async def start(self) -> None:
        try:
            database, vault = await open_store(self.disk, self.rng)
        except CryptographicFailure as error:
            raise Halted(f"Key server {self.node.name} does not serve: {error}") from None
        self._core = Core(database, vault, self.clock, self.rng)

    def _caller(self, peer: Peer) -> Caller:
        return caller_at(self.config, peer.node, local=peer.local)

    @serves(DiscoverVersions)
    async def discover_versions(self, message: DiscoverVersions, peer: Peer) -> ServerVersions:
        return await self._core.discover_versions(self._caller(peer), message)

    @serves(CreateKey)
    async def create_key(self, message: CreateKey, peer: Peer) -> KeyCreated:
        return await self._core.create_key(self._caller(peer), message)

    @serves(GetKeys)
    async def get_keys(self, message: GetKeys, peer: Peer) -> KeyValues:
        return await self._core.get_keys(self._caller(peer), message)

    @serves(GetAttributes)
    async def get_attributes(self, message: GetAttributes, peer: Peer) -> AttributeList:
        return await self._core.get_attributes(self._caller(peer), message)

    @serves(Activate)
    async def activate(self, message: Activate, peer: Peer) -> KeyState:
        return self._told(await self._core.activate(self._caller(peer), message), peer)

    @serves(Revoke)
    async def revoke(self, message: Revoke, peer: Peer) -> KeyState:
        return self._told(await self._core.revoke(self._caller(peer), message), peer)

    @serves(Destroy)
    async def destroy(self, message: Destroy, peer: Peer) -> KeyState:
        return self._told(await self._core.destroy(self._caller(peer), message), peer)

    @serves(Locate)
    async def locate(self, message: Locate, peer: Peer) -> Located:
        return await self._core.locate(self._caller(peer), message)

    @serves(QueryAudit)
    async def query_audit(self, message: QueryAudit, peer: Peer) -> AuditRows:
        return await self._core.query_audit(self._caller(peer), message)

    def _told(self, reply: KeyState, peer: Peer) -> KeyState:
        """A change of state is rare and explains what follows it: one line in the log."""
        who = self._caller(peer).who
        self.node.record("kms.key_state", key_id=reply.key_id, state=reply.state.value, who=who)
        return reply
