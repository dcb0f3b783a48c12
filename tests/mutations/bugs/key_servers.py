"""Bugs of clients of key servers: certificates, failover and the state of keys."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import msgspec

from protocol.errors import CryptographicFailure, KeyProviderUnreachable
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId
from services.runtime.tls import endpoint
from services.vcenter.providers import standard
from services.vcenter.providers.registry import KeyBundle, ProviderRegistry
from services.vcenter.providers.standard import StandardProvider
from services.vcenter.providers.stored_secrets import ClientCertificates, Logins
from tests.mutations.bugs.planting import plant, replaces


def any_certificate_taken() -> None:
    """STD-07 broken: a certificate is taken after its end."""

    HAS_EXPIRED: Final = 10
    """X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""

    @replaces(endpoint, "_record_verdict")
    def judged(
        original: Any, connection: Any, certificate: Any, code: int, depth: int, good: int
    ) -> bool:
        return code == HAS_EXPIRED or bool(original(connection, certificate, code, depth, good))


def any_server_trusted() -> None:
    """STD-03 broken: vCenter talks to a server whatever certificate that one shows."""

    @replaces(ClientCertificates, "identity")
    def identity(original: Any, self: Any, row: Any) -> Any:
        return dataclasses.replace(original(self, row), anyone=True)


def damaged_key_sinks_batch() -> None:
    """One key for all broken: a key server that fails at one key of many has none of them."""

    @replaces(StandardProvider, "_ask")
    async def ask(original: Any, self: Any, message: Any, *rest: Any) -> Any:
        try:
            return await original(self, message, *rest)
        except CryptographicFailure as error:
            raise KeyProviderUnreachable(str(error)) from None


def first_key_server_only() -> None:
    """STD-08 broken: when the key server whose turn it is does not answer, no other one is
    asked."""

    @replaces(StandardProvider, "_ask")
    async def ask(original: Any, self: Any, message: Any, *rest: Any) -> Any:
        servers, at = self._servers, self._next
        self._servers, self._next = (servers[at % len(servers)],), 0
        try:
            return await original(self, message, *rest)
        finally:
            self._servers, self._next = servers, (at + 1) % len(servers)


def keys_fetched_twice() -> None:
    """STD-16 broken: each key that is to be pushed is fetched twice."""

    @replaces(StandardProvider, "_fetch")
    async def fetch(original: Any, self: Any, key_ids: Any, material: Any, missing: Any) -> None:
        await original(self, key_ids, {}, {})
        await original(self, key_ids, material, missing)


def lost_password_used() -> None:
    """STD-01 broken: vCenter goes on with the passwords that it has lost."""

    _seen: dict[tuple[str, str], bytes] = {}
    """Wrapped passwords by provider and server."""

    @replaces(Logins, "login")
    def login(original: Any, logins: Any, row: Any, server: Any) -> Any:
        kept = row.passwords.get(server.name)
        if kept:
            _seen[row.name, server.name] = kept
        found = {**row.passwords, server.name: kept or _seen.get((row.name, server.name), b"")}
        return original(logins, msgspec.structs.replace(row, passwords=found), server)


def lost_key_used() -> None:
    """STD-03 broken: vCenter goes on with the private key that it has lost."""

    _seen: dict[bytes, bytes] = {}
    """What was wrapped with a certificate, by that one."""

    @replaces(ClientCertificates, "identity")
    def identity(original: Any, certificates: Any, row: Any) -> Any:
        client = row.client
        if client is not None and client.wrapped:
            _seen[client.chain[0]] = client.wrapped
        elif client is not None and client.chain[0] in _seen:
            client = msgspec.structs.replace(client, wrapped=_seen[client.chain[0]])
        return original(certificates, msgspec.structs.replace(row, client=client))


def old_certificate_goes_on() -> None:
    """STD-04 broken: vCenter says that it shows another certificate, and shows the earlier one."""

    @replaces(ClientCertificates, "identity")
    def identity(original: Any, self: Any, row: Any) -> Any:
        shown = self.__dict__.setdefault("planted", {})
        if row.name not in shown:
            shown[row.name] = row.client
        return original(self, msgspec.structs.replace(row, client=shown[row.name]))


def slow_is_down() -> None:
    """STD-09 broken: a key server that is slow to answer is taken for one that does not."""

    PATIENCE_S = 0.5

    @replaces(StandardProvider, "__init__")
    def init(original: Any, self: Any, *given: Any, within_s: float, **more: Any) -> None:
        original(self, *given, within_s=PATIENCE_S, **more)


def state_check_skipped() -> None:
    """STD-19 broken (M34b): vCenter pushes keys whose state forbids it."""

    plant(standard, "_unusable", lambda original: lambda value: None)


def vcenter_keeps_values() -> None:
    """STD-15 broken: vCenter keeps the values it fetched, and answers from them."""

    _kept: dict[KeyId, KeyMaterial] = {}

    @replaces(StandardProvider, "create_key")
    async def create_key(original: Any, self: Any, operation_id: str, *rest: Any) -> Any:
        made = await original(self, operation_id, *rest)
        _kept[made.key_id] = made.material
        return made

    @replaces(ProviderRegistry, "fetch")
    async def fetch(original: Any, self: Any, provider: Any, keys: Any, *, fresh: bool) -> Any:
        bundle = await original(self, provider, keys, fresh=fresh)
        _kept.update({key.key_id: value for key, value in bundle.values})
        known: list[CryptoKeyId] = [k for k in bundle.denied if k.key_id in _kept]
        return KeyBundle(
            (*bundle.values, *((key, _kept[key.key_id]) for key in known)),
            {k: why for k, why in bundle.denied.items() if k not in known},
        )
