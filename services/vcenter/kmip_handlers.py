"""vCenter's handlers for trust between it and KMIP servers."""

from __future__ import annotations

from typing import Any

from protocol.messages.host import Done
from protocol.messages.vcenter.kmip import (
    ClientCert,
    ClientCsr,
    GenerateClientCsr,
    GenerateSelfSignedClientCert,
    LoseClientKey,
    RetrieveClientCert,
    RetrieveClientCsr,
    RetrieveKmipServerCert,
    ServerCert,
    UpdateKmsSignedCsrClientCert,
    UploadClientCert,
    UploadKmipServerCert,
)
from services.runtime.service import Peer, serves
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.tasks import kmip_trust


def _providers(message: Any) -> str:
    return "providers"


class KmipHandlers(ProviderHandlers):
    """See the module's text; what each does is in ``tasks.kmip_trust``."""

    @serves(RetrieveClientCert)
    async def retrieve_client_cert(self, message: RetrieveClientCert, peer: Peer) -> ClientCert:
        self.check(peer, message)
        return kmip_trust.retrieve_client(self.vcenter, message)

    @serves(GenerateSelfSignedClientCert, turn=_providers)
    async def generate_client_cert(
        self, message: GenerateSelfSignedClientCert, peer: Peer
    ) -> ClientCert:
        work = kmip_trust.generate_client(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(UploadClientCert, turn=_providers)
    async def upload_client_cert(self, message: UploadClientCert, peer: Peer) -> ClientCert:
        work = kmip_trust.upload_client(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(GenerateClientCsr, turn=_providers)
    async def generate_client_csr(self, message: GenerateClientCsr, peer: Peer) -> ClientCsr:
        work = kmip_trust.generate_request(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(RetrieveClientCsr)
    async def retrieve_client_csr(self, message: RetrieveClientCsr, peer: Peer) -> ClientCsr:
        self.check(peer, message)
        return kmip_trust.retrieve_request(self.vcenter, message)

    @serves(UpdateKmsSignedCsrClientCert, turn=_providers)
    async def update_signed_client_cert(
        self, message: UpdateKmsSignedCsrClientCert, peer: Peer
    ) -> ClientCert:
        work = kmip_trust.update_signed(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(LoseClientKey, turn=_providers)
    async def lose_client_key(self, message: LoseClientKey, peer: Peer) -> ClientCert:
        work = kmip_trust.lose_client_key(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(RetrieveKmipServerCert)
    async def retrieve_server_cert(self, message: RetrieveKmipServerCert, peer: Peer) -> ServerCert:
        self.check(peer, message)
        return await kmip_trust.retrieve_server(self.vcenter, message)

    @serves(UploadKmipServerCert, turn=_providers)
    async def upload_server_cert(self, message: UploadKmipServerCert, peer: Peer) -> Done:
        work = kmip_trust.upload_server(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)
