"""Console messages about requests that a key server rejects."""

from __future__ import annotations

from protocol.messages import kms as m
from services.kms.access.authorization import KeyServerCaller, caller_at
from services.kms.access.rejections import Rejection
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.core import KeyServerCore
from services.kms.settings.config import KmsConfig
from services.kms.settings.knobs import KmsNode
from services.runtime.service import Peer, Service, serves


def _rejections(message: object) -> str:
    return "rejections"


class RejectionEndpoint(Service):
    """Handlers for rejections. A subclass sets the fields."""

    node: KmsNode
    config: KmsConfig
    core: KeyServerCore

    @serves(m.RejectRequests, turn=_rejections)
    async def reject_requests(self, message: m.RejectRequests, peer: Peer) -> m.Rejections:
        """See the message."""
        by = await self._judge(peer, CoreOperation.REJECT)
        new = Rejection(
            name=message.name,
            reason=message.reason,
            operations=tuple(sorted(set(message.operations))),
            keys=tuple(sorted(set(message.keys))),
            probability=message.probability,
        )
        await self.core.rejections.begin(self.core, by, new)
        self.node.record(
            "kms.rejects",
            level="warning",
            name=new.name,
            reason=new.reason,
            operations=", ".join(new.operations),
        )
        return self._rejections()

    @serves(m.EndRejection, turn=_rejections)
    async def end_rejection(self, message: m.EndRejection, peer: Peer) -> m.Rejections:
        """See the message."""
        by = await self._judge(peer, CoreOperation.END_REJECTION)
        await self.core.rejections.end(self.core, by, message.name)
        self.node.record("kms.rejects_no_more", name=message.name)
        return self._rejections()

    @serves(m.QueryRejections)
    async def query_rejections(self, message: m.QueryRejections, peer: Peer) -> m.Rejections:
        """See the message."""
        await self._judge(peer, CoreOperation.REJECT)
        return self._rejections()

    async def _judge(self, peer: Peer, operation: CoreOperation) -> KeyServerCaller:
        """The caller; a refusal is recorded in the trail as one of ``operation``."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, operation)
        return caller

    def _rejections(self) -> m.Rejections:
        return m.Rejections(
            items=tuple(
                m.Rejected(
                    name=one.name,
                    reason=one.reason,
                    operations=one.operations,
                    keys=one.keys,
                    probability=one.probability,
                    times=times,
                )
                for one, times in self.core.rejections.all()
            )
        )
