"""Whether a configuration makes sense, before it is put in force. Pure."""

from __future__ import annotations

from protocol import names
from protocol.crypto.tokens import check_certificate
from protocol.errors import AlreadyExists, InvalidArgument
from protocol.messages.keyprovider import KeyProviderConfiguration
from protocol.trust import GROUP_LIMIT
from services.keyprovider.wrapping import ID_LIMIT


def check(configuration: KeyProviderConfiguration) -> None:
    """``AlreadyExists`` for a provider that is there twice, ``InvalidName`` and ``InvalidArgument``
    for what cannot be understood."""
    if not 1 <= len(configuration.group) <= GROUP_LIMIT:
        raise InvalidArgument(f"group: an id of 1 to {GROUP_LIMIT} characters")
    seen = set()
    for provider in configuration.providers:
        names.PROVIDER.check(provider.provider)
        if provider.provider in seen:
            raise AlreadyExists(f"key provider {provider.provider} is there already")
        seen.add(provider.provider)
        key_id = provider.primary_key_id
        if not 1 <= len(key_id) <= ID_LIMIT or not key_id.isascii():
            raise InvalidArgument(f"key provider {provider.provider}: it has no primary key id")
        if not provider.servers:
            raise InvalidArgument(f"key provider {provider.provider}: it has no key server")
        for server in provider.servers:
            names.NODE.check(server.node)
    for service in configuration.attestation_services:
        check_certificate(service.certificate)
