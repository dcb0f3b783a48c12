"""Keys of a trusted provider: made and unwrapped by a Key Provider Service on this host's request,
as the applied configuration of the host names it (KPS-00). Requests that failed are repeated:
for the host key, and for keys of VMs.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Final, TypeVar

from protocol import names
from protocol.errors import (
    Disconnected,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidState,
    KeyProviderUnreachable,
    NotAvailable,
    NotSent,
    ProductError,
    Refused,
    SaveFailed,
    TimedOut,
    Unauthenticated,
)
from protocol.messages.base import Reply, Request
from protocol.messages.keyprovider import (
    CIPHERTEXT_LIMIT,
    KEY_SIZE,
    DecryptWrappedKey,
    GenerateWrappedKey,
)
from protocol.secret import KeyMaterial
from protocol.service_records import check_records
from protocol.terms import CryptoKeyId, HostCryptoState, KeyId, KeyKind, ManagementType, ProviderId
from protocol.trust import ServiceRecord, TrustedConfiguration
from services.esxi.configuration.sections import ConfigurationSection, StoredKey
from services.esxi.crypto_mode import state_after_boot
from services.esxi.host import EsxiHost
from services.esxi.keys import key_cache
from services.esxi.providers.trusted import attestation

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


R = TypeVar("R", bound=Reply)
_SILENCE: Final = (NotSent, Refused, TimedOut, Disconnected)
_TRIES: Final = 2  # tries with one service: with the present token, and with a new one


def key_id_of(ciphertext: bytes) -> KeyId:
    """The key id that stands for a ciphertext (KEY-02)."""
    return KeyId(urlsafe_b64encode(ciphertext).rstrip(b"=").decode())


def ciphertext_of(key_id: KeyId) -> bytes | None:
    """The ciphertext that a key id stands for; None for another key id."""
    text = key_id.encode()
    try:
        found = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        return None
    if not 0 < len(found) <= CIPHERTEXT_LIMIT or key_id_of(found) != key_id:
        return None
    return found


async def new_key(
    host: EsxiHost, provider: ProviderId, kind: KeyKind = KeyKind.VM
) -> tuple[CryptoKeyId, KeyMaterial]:
    """Have a service make a key; it is cached, and stored while persistence is on.

    ``NotAvailable`` when this host is not configured for the provider, ``InvalidState`` when it is
    not attested, ``KeyProviderUnreachable`` or the service's own error when none makes one.
    """
    if not is_configured_for(host, provider):
        raise NotAvailable(
            f"{host.node.name} has no trusted configuration for the key provider {provider}"
        )
    made = await _ask_services(
        host, lambda token: GenerateWrappedKey(provider=provider, token=token), provider
    )
    value = _single_key(made.plaintext.keys)
    key = CryptoKeyId(key_id_of(made.ciphertext), provider)
    await keep_key(host, StoredKey(key, value, kind))
    return key, value


async def bring_keys(
    host: EsxiHost, keys: tuple[CryptoKeyId, ...], kind: KeyKind = KeyKind.VM
) -> None:
    """Bring these keys into the cache; those that no service gives are noted as unobtainable."""
    for key in keys:
        if key in host.keys:
            continue
        try:
            value = await unwrap_key(host, key)
        except ProductError as error:
            host.trust.unobtainable.add(key)
            host.node.record(
                "trust.key_failed",
                level="warning",
                key=str(key),
                error=type(error).__name__,
                reason=str(error),
            )
            continue
        await keep_key(host, StoredKey(key, value, kind))


async def unwrap_key(host: EsxiHost, key: CryptoKeyId) -> KeyMaterial:
    """The value of a key, from any service that gives it; else the error of the last one.

    A host does not request keys of a provider that it is not configured for (R52).
    """
    provider, ciphertext = key.provider_id, ciphertext_of(key.key_id)
    if ciphertext is None:
        raise EncryptionKeyRequired(f"{key} is no key of a trusted provider", (key,))
    if not is_configured_for(host, provider):
        raise EncryptionKeyRequired(
            f"{host.node.name} is not configured for the key provider {provider}", (key,)
        )
    found = await _ask_services(
        host,
        lambda token: DecryptWrappedKey(provider=provider, token=token, ciphertext=ciphertext),
        provider,
    )
    return _single_key(found.plaintext.keys)


async def keep_key(host: EsxiHost, entry: StoredKey) -> None:
    """Cache a key, and store it while persistence is on; it is not unobtainable any more."""
    host.keys.add(entry)
    host.trust.unobtainable.discard(entry.key)
    before = host.archive.now
    host.archive.now = key_cache.with_keys(before, host.storable((entry,)))
    if host.archive.now is not before:
        try:
            await host.archive.save(host.key_sections())
        except SaveFailed as error:
            host.node.record("config.save_failed", level="warning", reason=str(error))


async def get_host_key(host: EsxiHost, key: CryptoKeyId) -> tuple[CryptoKeyId, KeyMaterial]:
    """The host key of that id, unwrapped. Without an id a service makes one (KEY-02), unless the
    host has one of that provider: repeating the command changes nothing."""
    now = host.archive.now.host_key
    if not key.key_id and now is not None and now.provider_id == key.provider_id:
        key = now
    if not key.key_id:
        return await new_key(host, key.provider_id, KeyKind.HOST)
    if now == key and host.host_key is not None:
        return key, host.host_key
    return key, host.keys.get(key) or await unwrap_key(host, key)


async def _ask_services(
    host: EsxiHost, ask: Callable[[bytes], Request[R]], provider: ProviderId
) -> R:
    """The answer of the first service that gives one; ``ask`` builds the request with a token."""
    now = host.archive.now.trusted
    failure: ProductError = KeyProviderUnreachable(f"{host.node.name} has no Key Provider Service")
    unattested = set()  # groups in which no service attests this host now
    for record in () if now is None else _order_services(host, now.key_provider_services):
        for _ in range(0 if record.group in unattested else _TRIES):
            held = await attestation.get_token(host, record.group)
            if held is None:
                failure = InvalidState(
                    f"{host.node.name} is not attested: {_describe_refusals(host)}"
                )
                unattested.add(record.group)
                break
            try:
                answer = await host.ports.bus.request(
                    record.node,
                    ask(held.token),
                    within_s=host.node.knobs.trust_timeout_s,
                )
            except Unauthenticated as error:
                failure = error
                host.trust.doubted[record.group] = held.service
                if host.trust.tokens.get(record.group) == held:
                    del host.trust.tokens[record.group]
            except _SILENCE as error:  # unchanged it would look like this host's own silence
                failure = KeyProviderUnreachable(f"{record.node} does not answer: {error}")
                break
            except ProductError as error:
                failure = error
                break
            else:
                host.trust.good[record.group] = record.node
                return answer
    host.node.record(
        "trust.no_key",
        level="warning",
        provider=provider,
        error=type(failure).__name__,
        reason=str(failure),
    )
    raise failure


def _order_services(host: EsxiHost, records: tuple[ServiceRecord, ...]) -> list[ServiceRecord]:
    good = host.trust.good
    return sorted(records, key=lambda record: good.get(record.group) != record.node)


def _describe_refusals(host: EsxiHost) -> str:
    texts = [text for report in host.trust.reports.values() for text in report.messages]
    return "; ".join(texts) or "no Attestation Service is configured"


def _single_key(keys: tuple[KeyMaterial, ...]) -> KeyMaterial:
    if len(keys) != 1 or len(keys[0]) != KEY_SIZE:
        raise InvalidState("a Key Provider Service has answered with no key")
    return keys[0]


def start_retries(host: EsxiHost) -> None:
    """Repeat for the rest of this life; one loop, however often this is called."""
    if not host.trust.retrying:
        host.trust.retrying = True
        host.node.background("trust.retry", _retry(host))


async def _retry(host: EsxiHost) -> None:
    period_s = host.node.knobs.trust_retry_s
    async for _ in host.clock.every(period_s, jitter_s=period_s / 4):
        async with host.node.turn("keystore"):
            await regain_host_key(host)
        wanted = _missing_keys(host)
        host.trust.unobtainable.intersection_update(wanted)
        await bring_keys(host, wanted)
        if wanted and not host.trust.unobtainable:
            await host.uplink.ring()  # vCenter may unlock their VMs


def _missing_keys(host: EsxiHost) -> tuple[CryptoKeyId, ...]:
    """Keys that were requested in vain, of VMs that are still registered here."""
    used = {key for vm in host.vms.values() if vm.config is not None for key in vm.config.keys}
    return tuple(sorted(host.trust.unobtainable & used))


async def regain_host_key(host: EsxiHost) -> bool:
    """The first need for a token may be the host key (B7): attest, and have a service unwrap it.

    Returns whether the host has its key. A host that has it already sends nothing.
    """
    key = host.archive.now.host_key
    if host.host_key is not None or key is None:
        return host.host_key is not None
    if host.mode not in (HostCryptoState.PREPARED, HostCryptoState.SAFE):
        return False
    of_trusted = host.management_type(key) is ManagementType.TRUST_AUTHORITY
    if not of_trusted or not is_configured_for(host, key.provider_id):
        return False
    try:
        value = await unwrap_key(host, key)
    except ProductError:
        return False  # reported where the services were asked
    if host.archive.now.host_key != key or host.host_key is not None:
        return host.host_key is not None
    host.host_key, was = value, host.mode
    mode = state_after_boot(was, host_key_at_hand=True)
    if mode is not was:
        host.archive.change(crypto_state=mode)
        host.node.record("crypto.mode", old=was.value, new=mode.value)
    await keep_key(host, StoredKey(key, value, KeyKind.HOST))
    try:
        await host.archive.save(ConfigurationSection.CRYPTO | host.key_sections())
    except ProductError as error:
        host.node.record("config.save_failed", level="warning", reason=str(error))
    return True
