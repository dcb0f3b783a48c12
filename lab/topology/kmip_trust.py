"""A vCenter and the KMIP servers of a provider that come to trust each other (STD-03, STD-04)."""

from __future__ import annotations

from collections.abc import Iterable

from lab.core import LabCore
from lab.errors import KeysteadError
from protocol.messages.kms import TrustIdentity
from protocol.messages.vcenter.kmip import (
    RetrieveClientCert,
    RetrieveKmipServerCert,
    UploadKmipServerCert,
)
from protocol.terms import NodeName, ProviderId


async def trust_each_other(
    lab: LabCore, vcenter: NodeName, provider: ProviderId, servers: Iterable[NodeName]
) -> None:
    """Each server is told at its console to take vCenter's certificate, and vCenter to take what
    each of them shows. Repeating it changes nothing."""
    shown = (await lab.ask(vcenter, RetrieveClientCert(provider=provider))).certificate
    if shown is None:
        raise KeysteadError("KS-PRODUCT-001", f"{vcenter} has no certificate for {provider}")
    for server in servers:
        await lab.ask(server, TrustIdentity(certificate=shown.certificate))
        found = await lab.ask(vcenter, RetrieveKmipServerCert(provider=provider, server=server))
        await lab.ask(
            vcenter,
            UploadKmipServerCert(provider=provider, certificate=found.certificate.certificate),
        )
