"""Certificates between KMIP servers and their clients that expire soon (STD-07).

For a standard provider these are vCenter's certificate for its servers, and the server certificates
that vCenter trusts. For a trusted provider they are between Key Provider Services and its servers;
the vCenter of the Trust Authority reports them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from protocol.crypto import certificates
from protocol.terms import NodeName, ProviderId
from services.vcenter.events import EventDraft, certificate_ends
from services.vcenter.tables import AuthorityRow, ProviderRow

DAY_S: Final = 86_400.0


class _Certificate(NamedTuple):
    """A certificate (``der``) that ``client`` presents; empty: a server."""

    der: bytes
    provider: ProviderId
    client: str = ""


def near_their_end(row: ProviderRow, until: float) -> dict[str, EventDraft]:
    """The events for certificates of a standard provider that expire by ``until`` (Unix seconds)
    and have had no event yet, by the SHA-256 of the certificate in hex."""
    own = () if row.client is None else row.client.chain[:1]
    found = [_Certificate(der, row.name, "vCenter") for der in own]
    found += [_Certificate(der, row.name) for der in row.trusted if der not in own]
    return _near(found, row.ending, until, behind_services=False)


def near_their_end_behind_services(
    row: AuthorityRow, shown: Mapping[NodeName, bytes], until: float
) -> dict[str, EventDraft]:
    """The same for the trusted providers of a Trust Authority; ``shown`` is the certificate (DER)
    that each Key Provider Service presents to KMIP servers."""
    found = []
    for provider in row.providers:
        servers = [one for one in provider.servers if one.address]
        if servers:
            found += [_Certificate(der, provider.provider, node) for node, der in shown.items()]
        found += [_Certificate(der, provider.provider) for s in servers for der in s.certificates]
    return _near(found, row.ending, until, behind_services=True)


def _near(
    shown: Iterable[_Certificate], reported: Collection[str], until: float, *, behind_services: bool
) -> dict[str, EventDraft]:
    found: dict[str, EventDraft] = {}
    for one in shown:
        digest = hashlib.sha256(one.der).hexdigest()
        _, end = certificates.validity(one.der)
        if end <= until and digest not in reported and digest not in found:
            found[digest] = certificate_ends(
                one.provider,
                certificates.common_name(one.der),
                end,
                client=one.client,
                behind_services=behind_services,
            )
    return found
