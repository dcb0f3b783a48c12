"""The configuration of a Key Provider Service: checked before it is put in force, and stored in one
file; after a crash it is the old or the new one.
"""

from __future__ import annotations

import errno
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from protocol import names
from protocol.crypto.tokens import check_certificate
from protocol.errors import AlreadyExists, InvalidArgument, SaveFailed
from protocol.messages.keyprovider import KeyProviderConfiguration
from protocol.printable import is_text
from protocol.terms import NodeName
from protocol.trust import GROUP_LIMIT
from services.keyprovider.ciphertext import ID_LIMIT
from services.runtime.durable import replace_durably
from services.runtime.ports import Disk


def check(configuration: KeyProviderConfiguration) -> None:
    """``AlreadyExists`` for a duplicate provider, ``InvalidName`` and ``InvalidArgument`` for what
    cannot be parsed."""
    groups = (configuration.group, *(each.group for each in configuration.attestation_services))
    if not all(is_text(group, GROUP_LIMIT) for group in groups):
        raise InvalidArgument(f"group: 1 to {GROUP_LIMIT} printable characters of ASCII")
    if not is_text(configuration.revision, GROUP_LIMIT):
        raise InvalidArgument(f"revision: 1 to {GROUP_LIMIT} printable characters of ASCII")
    seen = set()
    for provider in configuration.providers:
        names.PROVIDER.check(provider.provider)
        if provider.provider in seen:
            raise AlreadyExists(f"key provider {provider.provider} exists already")
        seen.add(provider.provider)
        key_id = provider.primary_key_id
        if not is_text(key_id, ID_LIMIT):
            raise InvalidArgument(f"key provider {provider.provider}: no primary key id")
        if not provider.servers:
            raise InvalidArgument(f"key provider {provider.provider}: no key server")
        for server in provider.servers:
            names.NODE.check(server.node)
        _once("key server", (server.node for server in provider.servers))
    _once("Attestation Service", (each.node for each in configuration.attestation_services))
    for service in configuration.attestation_services:
        names.NODE.check(service.node)
        check_certificate(service.certificate)


def _once(what: str, nodes: Iterable[NodeName]) -> None:
    for node, times in Counter(nodes).items():
        if times > 1:
            raise AlreadyExists(f"{what} {node} exists already")


FILE: Final = "configuration"
_CHECK: Final = 4  # bytes of a CRC-32

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(KeyProviderConfiguration)


async def load(disk: Disk) -> KeyProviderConfiguration | None:
    """The stored configuration; None before the first. ``OSError`` when it is damaged."""
    try:
        raw = await disk.read(FILE)
    except FileNotFoundError:
        return None
    check, body = raw[:_CHECK], raw[_CHECK:]
    try:
        if zlib.crc32(body).to_bytes(_CHECK, "big") == check:
            return _decoder.decode(body)
    except (msgspec.DecodeError, ValueError):
        pass
    raise OSError(errno.EIO, "its configuration was damaged")


async def save(disk: Disk, configuration: KeyProviderConfiguration) -> None:
    """Durable on return; ``SaveFailed`` when the disk fails."""
    body = _encode(configuration)
    try:
        await replace_durably(disk, FILE, zlib.crc32(body).to_bytes(_CHECK, "big") + body)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SaveFailed(f"the Key Provider Service could not save: {reason}") from None
