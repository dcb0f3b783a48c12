"""Which certificates between vCenter and the KMIP servers of a provider are near their end.

STD-07: they are those that vCenter keeps: the one that it shows, and those that it trusts.
"""

from __future__ import annotations

import hashlib

from protocol.crypto import certificates
from services.vcenter.events import Draft, certificate_ends
from services.vcenter.tables import ProviderRow


def near_their_end(row: ProviderRow, until: float) -> dict[str, Draft]:
    """The events for those that end by ``until`` (Unix seconds) and of which none has told, by the
    SHA-256 of the certificate in hex."""
    client = () if row.client is None else row.client.chain[:1]
    found: dict[str, Draft] = {}
    for certificate in (*client, *row.trusted):
        digest = hashlib.sha256(certificate).hexdigest()
        _, end = certificates.validity(certificate)
        if end <= until and digest not in row.ending:
            who = certificates.common_name(certificate)
            of_client = certificate in client
            found[digest] = certificate_ends(row.name, who, end, of_client=of_client)
    return found
