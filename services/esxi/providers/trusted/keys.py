"""Keys of a trusted provider: made and unwrapped by a Key Provider Service on this host's request.

Services are asked in the order of the applied configuration, the one that answered last first, each
with a token of its own group (TA-08). After any answer but a key, the next one is asked (KPS-06). A
rejected token is discarded, and the host attests once more, if possible with another service than
the one that issued the token: its clock may be wrong.

A received key is cached and, while persistence is on, stored before it is used (KP-07). If the disk
fails, the key is used all the same.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Final, TypeVar

from protocol.errors import (
    Disconnected,
    EncryptionKeyRequired,
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
from protocol.terms import CryptoKeyId, KeyId, KeyKind, ProviderId
from protocol.trust import ServiceRecord
from services.esxi.configuration.stored_keys import StoredKey
from services.esxi.host import EsxiHost
from services.esxi.keys import persistence
from services.esxi.providers.trusted import attestation
from services.esxi.providers.trusted.configuration import is_configured_for

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
    host.archive.now = persistence.with_keys(before, host.storable((entry,)))
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
