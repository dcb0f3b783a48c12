"""Messages of an administrator about the key ring and its root (``custody.rotation``), and about
requests that the key server rejects (``access.rejections``).
"""

from __future__ import annotations

from protocol.crypto.transfer import OneTimeKey
from protocol.errors import InvalidArgument, InvalidState
from protocol.messages.kms import administration as m
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from services.kms.access.authorization import KeyServerCaller, caller_at
from services.kms.access.rejections import Rejection
from services.kms.custody.rotation import Custody
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.core import KeyServerCore
from services.kms.sealing.roots.passphrase import flaw_of
from services.kms.settings.config import KmsConfig
from services.kms.settings.knobs import KmsNode
from services.runtime.service import Peer, Service, serves


class CustodyEndpoint(Service):
    """Handlers of messages about root and KEKs. A subclass sets the fields."""

    config: KmsConfig
    core: KeyServerCore
    custody: Custody
    transfer: OneTimeKey | None = None

    @serves(m.QueryCustody)
    async def query_custody(self, message: m.QueryCustody, peer: Peer) -> m.KeyCustody:
        """The state of the key ring."""
        await self.core.admit(self._at(peer), CoreOperation.QUERY_AUDIT)
        return await self._describe_custody()

    @serves(m.RotateKek)
    async def rotate_kek(self, message: m.RotateKek, peer: Peer) -> m.KeyCustody:
        """Rotate the KEK."""
        await self.custody.rotate(self._at(peer), message.after)
        return await self._describe_custody()

    @serves(m.OpenRootTransfer)
    async def open_root_transfer(
        self, message: m.OpenRootTransfer, peer: Peer
    ) -> m.RootTransferOpened:
        """Open a transfer: returns a key for sealing one passphrase."""
        await self.core.admit(self._at(peer), CoreOperation.CHANGE_ROOT)
        self.transfer = OneTimeKey()
        return m.RootTransferOpened(public_key=self.transfer.public)

    @serves(m.ChangeRoot)
    async def change_root(self, message: m.ChangeRoot, peer: Peer) -> m.KeyCustody:
        """Change the root."""
        await self.core.admit(self._at(peer), CoreOperation.CHANGE_ROOT)
        passphrase = self._passphrase_of(message)
        await self.custody.change_root(self._at(peer), message.root, passphrase)
        return await self._describe_custody()

    def _passphrase_of(self, message: m.ChangeRoot) -> KeyMaterial | None:
        if message.root is not RootKind.PASSPHRASE:
            return None
        transfer, self.transfer = self.transfer, None
        if transfer is None:
            raise InvalidState("no transfer of a passphrase is open")
        passphrase = transfer.open_box(message.passphrase, "passphrase")
        if (flaw := flaw_of(passphrase)) is not None:
            raise InvalidArgument(f"passphrase: {flaw}")
        return passphrase

    def _at(self, peer: Peer) -> KeyServerCaller:
        return caller_at(self.config, peer.node, local=peer.local)

    async def _describe_custody(self) -> m.KeyCustody:
        now = await self.custody.status()
        return m.KeyCustody(
            root=now.root,
            since=now.since,
            kek=now.kek,
            made_at=now.made_at,
            keks=now.keks,
            waiting=now.waiting,
        )


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
