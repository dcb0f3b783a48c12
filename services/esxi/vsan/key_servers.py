"""The key servers of a profile, for this host: by bus, or by KMIP under TLS (STD-06).

By KMIP a host shows a self-signed certificate. Certificate and private key are in its encrypted
configuration, which the TPM seals; there is no other copy of the key. The trusted certificates of
the servers come with the profile from vCenter. A key that is not active yet is not activated: hosts
only read.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.crypto.certificates import validity
from protocol.errors import InvalidState
from protocol.messages.kms import DiscoverVersions, GetKeys, KeyValues
from protocol.terms import CryptoKeyId
from protocol.vsan import VsanEncryption, VsanKeyServer
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.host import EsxiHost
from services.keyservers.address import Kmip, address_of
from services.keyservers.client import KeyServers
from services.runtime.own_certificate import EARLIER_S, OwnCertificate, create_own_certificate
from services.runtime.streams import TlsIdentity


async def get_certificate(host: EsxiHost, *, renew: bool = False) -> OwnCertificate:
    """The host's certificate; created, durable on return, when there is none or ``renew`` asks for
    another.

    ``InvalidState`` without vSAN; ``SaveFailed``.
    """
    if host.config.vsan is None:
        raise InvalidState(f"{host.node.name} has no vSAN and contacts no key server")
    own = host.archive.now.kmip
    if own is None or renew:
        days = host.node.knobs.kmip_certificate_days
        own = create_own_certificate(
            host.rng, host.clock, host.node.name, days, earlier_s=EARLIER_S
        )
        host.archive.change(kmip=own)
        host.node.record("vsan.certificate", renewed=renew)
    await host.archive.save(ConfigurationSection.KMIP)
    return own


def uses_kmip(profile: VsanEncryption) -> bool:
    """Whether a server of the profile is reached by KMIP."""
    return any(isinstance(address_of(s.node, s.address), Kmip) for s in profile.servers)


def has_usable_certificate(host: EsxiHost) -> bool:
    """Whether the host has a certificate that is valid now."""
    own = host.archive.now.kmip
    if own is None:
        return False
    start, end = validity(own.certificate)
    return start <= host.clock.now() <= end


async def fetch_keys(
    host: EsxiHost, profile: VsanEncryption, server: VsanKeyServer, keys: Iterable[CryptoKeyId]
) -> KeyValues:
    """That server's answer about these keys; raises as ``KeyServers.request``."""
    if uses_kmip(profile):
        await get_certificate(host)
    message = GetKeys(key_ids=tuple(key.key_id for key in keys))
    within_s = host.node.knobs.request_timeout_s
    to = address_of(server.node, server.address)
    return await _build_key_servers(host, profile).request(to, message, within_s=within_s)


async def check_server(host: EsxiHost, profile: VsanEncryption, server: VsanKeyServer) -> None:
    """Return when that server answers; raises as ``KeyServers.request``."""
    to = address_of(server.node, server.address)
    within_s = host.node.knobs.request_timeout_s
    await _build_key_servers(host, profile).request(to, DiscoverVersions(), within_s=within_s)


def _build_key_servers(host: EsxiHost, profile: VsanEncryption) -> KeyServers:
    def identity() -> TlsIdentity:
        own = host.archive.now.kmip
        if own is None:
            raise InvalidState(f"{host.node.name} has no certificate for key servers")
        return TlsIdentity((own.certificate,), own.key, profile.trusted)

    ports = host.ports
    return KeyServers(ports.bus, ports.streams, host.clock, identity, activates=False)
