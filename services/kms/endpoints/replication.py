"""Messages between servers that replicate, and of operators about them."""

from __future__ import annotations

from protocol.errors import NotAvailable
from protocol.messages.kms import replication as m
from services.kms.access.authorization import caller_at
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.core import KeyServerCore
from services.kms.replication.group import ReplicationGroup
from services.kms.replication.pair import ReplicationPair
from services.kms.replication.replicas import list_shared_names
from services.kms.settings.config import KmsConfig
from services.runtime.service import Peer, Service, serves


class PairEndpoint(Service):
    """Handlers of the peer's messages. A subclass sets the fields."""

    config: KmsConfig
    core: KeyServerCore
    pair: ReplicationPair | None

    @serves(m.ReplicateKeys)
    async def replicate_keys(self, message: m.ReplicateKeys, peer: Peer) -> m.KeysReplicated:
        """Store keys as the peer has them."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, CoreOperation.REPLICATE)
        if self.pair is None:
            raise NotAvailable(f"{self.node.name} is in no pair")
        done = await self.pair.take(message, peer, caller)
        return m.KeysReplicated(
            refused=done.refused,
            sequence=done.end.sequence,
            digest=done.end.digest,
            everything=not done.intact,
        )

    @serves(m.JoinPair)
    async def join_pair(self, message: m.JoinPair, peer: Peer) -> m.PairJoined:
        """The peer begins, or is back."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, CoreOperation.REPLICATE)
        if self.pair is None:
            raise NotAvailable(f"{self.node.name} is in no pair")
        return await self.pair.accept_join(message)

    @serves(m.QueryPair)
    async def query_pair(self, message: m.QueryPair, peer: Peer) -> m.PairStatus:
        """The state of the pair."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, CoreOperation.QUERY_AUDIT)
        if self.pair is None or self.config.peer is None:
            return m.PairStatus()
        view = await self.pair.view()
        names, names_shared = await self.core.look(
            lambda connection, _: list_shared_names(connection)
        )
        return m.PairStatus(
            peer=self.config.peer,
            down_since=view.down_since,
            why=view.why,
            waiting=view.waiting,
            names_shared=names_shared,
            shared_names=names,
        )


class GroupEndpoint(Service):
    """Handlers of the peers' messages. A subclass sets the fields."""

    config: KmsConfig
    core: KeyServerCore
    group: ReplicationGroup | None

    @serves(m.TellChanges)
    async def tell_changes(self, message: m.TellChanges, peer: Peer) -> m.ChangesTaken:
        """Store keys as a peer has them, and its standing."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, CoreOperation.REPLICATE)
        if self.group is None:
            raise NotAvailable(f"{self.node.name} replicates with nobody after the answer")
        return await self.group.take(message, peer)

    @serves(m.QueryGroup)
    async def query_group(self, message: m.QueryGroup, peer: Peer) -> m.GroupStatus:
        """The state of the replication with the others."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, CoreOperation.QUERY_AUDIT)
        if self.group is None:
            return m.GroupStatus()
        return await self.group.status()

    @serves(m.MakeActive)
    async def make_active(self, message: m.MakeActive, peer: Peer) -> m.GroupStatus:
        """The operator fails over to this server."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, CoreOperation.QUERY_AUDIT)
        if self.group is None:
            raise NotAvailable(f"{self.node.name} replicates with nobody after the answer")
        await self.group.make_active()
        return await self.group.status()
