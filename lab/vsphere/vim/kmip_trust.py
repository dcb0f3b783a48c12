"""Trust between vCenter and the KMIP servers of a provider, of ``CryptoManagerKmip``.

Certificates, requests and keys are PEM.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.vsphere.faults import fault_of, invalid_argument
from lab.vsphere.files import secret_file
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim.managed import Managed, operation

KMIP = vim.encryption.CryptoManagerKmip


def certificate_info(pem: str, now: datetime) -> Any:
    """What is said of a certificate; None for an empty text."""
    if not pem:
        return None
    one = x509.load_pem_x509_certificate(pem.encode())
    begin, end = one.not_valid_before_utc, one.not_valid_after_utc
    return KMIP.CertificateInfo(
        subject=one.subject.rfc4514_string(), issuer=one.issuer.rfc4514_string(),
        serialNumber=f"{one.serial_number:X}", notBefore=begin, notAfter=end, checkTime=now,
        fingerprint=one.fingerprint(hashes.SHA1()).hex(":").upper(),  # noqa: S303 - as it is shown
        secondsSinceValid=int((now - begin).total_seconds()),
        secondsBeforeExpire=int((end - now).total_seconds()),
    )  # fmt: skip


@contextlib.contextmanager
def _refusing(argument: str) -> Iterator[None]:
    """``InvalidArgument`` for what is no certificate."""
    try:
        yield
    except ValueError:
        raise invalid_argument(argument, "it is no certificate in PEM") from None


def read_certificates(text: str, argument: str = "certificate") -> tuple[bytes, ...]:
    """The certificates of a text in PEM, as DER; ``InvalidArgument`` when there is none."""
    with _refusing(argument):
        found = x509.load_pem_x509_certificates(text.encode())
        return tuple(one.public_bytes(serialization.Encoding.DER) for one in found)


class KmipTrust(Managed):
    """The operations; a subclass has the rest."""

    kind = KMIP

    async def _trust(self, request: ApiRequest, cluster: Any) -> answers.ProviderTrustList:
        found: answers.ProviderTrustList = await request.ask(c.ProviderTrust(cluster.id))
        return found

    @operation
    async def RetrieveKmipServerCert(
        self, request: ApiRequest, keyProvider: Any, server: Any
    ) -> Any:
        """What a key server shows, and whether both sides trust each other."""
        rows = (await self._trust(request, keyProvider)).items
        row = next((r for r in rows if r.server == server.name), None)
        if row is None:
            raise invalid_argument("server", f"{keyProvider.id} has no KMIP server {server.name}")
        if not row.certificate:
            text = row.reason or f"the key server {row.server} does not answer"
            raise vmodl.RuntimeFault(msg=text)
        return KMIP.ServerCertInfo(
            certificate=row.certificate,
            certInfo=certificate_info(row.certificate, datetime.now(UTC)),
            clientTrustServer=row.client_trust_server,
        )

    @operation
    async def UploadKmipServerCert(
        self, request: ApiRequest, cluster: Any, certificate: str
    ) -> None:
        """Have vCenter trust a key server that shows this certificate, or one that it signed."""
        for one in read_certificates(certificate):
            await request.do(c.ProviderTrustServers(cluster.id, one))

    @operation
    async def GenerateSelfSignedClientCert(
        self, caller: ApiRequest, /, cluster: Any, request: Any = None
    ) -> str:
        """Have vCenter show another certificate, which it has signed itself, at once."""
        done = await caller.do(c.ProviderRenewCertificate(cluster.id))
        return str(done.certificate)

    @operation
    async def RetrieveSelfSignedClientCert(self, request: ApiRequest, cluster: Any) -> str:
        """The certificate that vCenter shows."""
        return (await self._trust(request, cluster)).certificate

    @operation
    async def UpdateSelfSignedClientCert(
        self, request: ApiRequest, cluster: Any, certificate: str
    ) -> None:
        """Nothing is left to do: a certificate is shown as soon as it is made."""
        shown = (await self._trust(request, cluster)).certificate
        if read_certificates(certificate)[0] != read_certificates(shown)[0]:
            raise invalid_argument("certificate", "vCenter did not make this certificate last")

    @operation
    async def GenerateClientCsr(
        self, caller: ApiRequest, /, cluster: Any, request: Any = None
    ) -> str:
        """A request for a certificate, of another key."""
        return str((await caller.do(c.ProviderSigningRequest(cluster.id, new=True))).request)

    @operation
    async def RetrieveClientCsr(self, request: ApiRequest, cluster: Any) -> str:
        """The request that was made last; empty when none was made."""
        try:
            return str((await request.ask(c.ProviderSigningRequest(cluster.id))).request)
        except KeysteadError as error:
            if isinstance(fault_of(error), vim.fault.NotFound):
                return ""
            raise

    @operation
    async def UpdateKmsSignedCsrClientCert(
        self, request: ApiRequest, cluster: Any, certificate: str
    ) -> None:
        """Have vCenter show the certificate that was issued for its request."""
        await request.do(c.ProviderUploadCertificate(cluster.id, read_certificates(certificate)))

    @operation
    async def RetrieveClientCert(self, request: ApiRequest, cluster: Any) -> str:
        """The certificate that vCenter shows."""
        return (await self._trust(request, cluster)).certificate

    @operation
    async def UploadClientCert(
        self, request: ApiRequest, cluster: Any, certificate: str, privateKey: str
    ) -> None:
        """Have vCenter show this certificate, with this private key."""
        chain = read_certificates(certificate)
        with secret_file(privateKey) as path:
            await request.do(c.ProviderUploadCertificate(cluster.id, chain, path))
