"""The applied configuration of a trusted host (KPS-00): set and deleted.

It is part of the encrypted configuration, so it outlives every boot while vCenter is down.
"""

from __future__ import annotations

from protocol import names
from protocol.errors import InvalidArgument, NotAvailable, SaveFailed
from protocol.service_records import check_records
from protocol.terms import ProviderId
from protocol.trust import TrustedConfiguration
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.host import EsxiHost

VOUCHER_LIMIT = 2048  # bytes


async def apply(host: EsxiHost, configuration: TrustedConfiguration) -> None:
    """Replace the applied configuration; saved before the answer.

    Tokens and reports stay for services whose records have not changed. If the disk fails, the
    change is undone.
    """
    if host.tpm is None:
        raise NotAvailable(f"{host.node.name} has no TPM: it can be no trusted host")
    _check(configuration)
    await _replace(host, configuration)
    host.node.record("trust.configured", revision=configuration.revision)


async def delete(host: EsxiHost) -> None:
    """Delete it: the host is not a trusted host any more. No change when it is none."""
    had = host.archive.now.trusted is not None
    await _replace(host, None)
    if had:
        host.node.record("trust.configured", revision="")


async def _replace(host: EsxiHost, configuration: TrustedConfiguration | None) -> None:
    before = host.archive.now.trusted
    if configuration != before:
        host.archive.change(trusted=configuration)
    try:
        await host.save(ConfigurationSection.TRUST)
    except SaveFailed:
        if host.archive.now.trusted is configuration and configuration != before:
            host.archive.change(trusted=before)
        raise
    _drop_stale_reports(host)
    host.keys.announce()


def _drop_stale_reports(host: EsxiHost) -> None:
    """Drop the reports of services that are not in the present configuration."""
    now, trust = host.archive.now.trusted, host.trust
    records = () if now is None else now.attestation_services
    known = {(record.node, record.group) for record in records}
    nodes = {record.node for record in records}
    trust.tokens = {
        group: held for group, held in trust.tokens.items() if (held.service, group) in known
    }
    trust.reports = {node: found for node, found in trust.reports.items() if node in nodes}
    trust.good.clear()
    trust.in_vain.clear()
    trust.doubted.clear()
    listed = frozenset(() if now is None else now.providers)
    trust.unobtainable = {key for key in trust.unobtainable if key.provider_id in listed}


def _check(configuration: TrustedConfiguration) -> None:
    """``InvalidArgument`` or ``InvalidName`` for an invalid configuration."""
    check_records(configuration.attestation_services)
    check_records(configuration.key_provider_services)
    for provider in configuration.providers:
        names.PROVIDER.check(provider)
    if len(configuration.voucher) > VOUCHER_LIMIT:
        raise InvalidArgument(f"voucher: at most {VOUCHER_LIMIT} bytes")


def is_configured_for(host: EsxiHost, provider: ProviderId) -> bool:
    """Whether this host may request keys of that provider; it requests no others (R52)."""
    now = host.archive.now.trusted
    return now is not None and provider in now.providers
