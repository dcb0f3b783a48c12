"""A key server of this process that is reached over TLS, and its clients."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.kmip.alone import Alone
from protocol.crypto.certificates import (
    SEED_SIZE,
    SERIAL_SIZE,
    issue_certificate,
    new_key,
    public_key,
    self_signed,
)
from protocol.errors import ProductError
from protocol.kmip.message import RequestMessage, ResponseMessage, decode_response, encode_request
from protocol.secret import KeyMaterial
from services.kms.access.authorization import KeyServerCaller, caller_at
from services.kms.endpoints.kmip_clients import IdentityAdmission
from services.kms.settings.config import KmsConfig
from services.runtime.streams import Stream, TlsIdentity


def fresh_key() -> KeyMaterial:
    return new_key(KeyMaterial(os.urandom(SEED_SIZE)))


@dataclass(frozen=True)
class Party:
    """Somebody with a certificate; signed by itself without an ``issuer``."""

    certificate: bytes
    key: KeyMaterial

    @classmethod
    def named(
        cls,
        name: str,
        issuer: Party | None = None,
        key: KeyMaterial | None = None,
        *,
        authority: bool = False,
    ) -> Party:
        key, now = key or fresh_key(), time.time()
        serial, span = os.urandom(SERIAL_SIZE), (now - 60, now + 3600)
        if issuer is None:
            return cls(self_signed(name, key, serial, *span, authority=authority), key)
        made = issue_certificate(
            name,
            public_key(key),
            serial,
            *span,
            issuer=issuer.certificate,
            issuer_key=issuer.key,
        )
        return cls(made, key)


@dataclass
class Served:
    """The server, and what it has refused in handshakes."""

    server: Alone
    admission: IdentityAdmission
    address: str
    party: Party
    refused: list[ProductError] = field(default_factory=list)

    @property
    def local(self) -> KeyServerCaller:
        return caller_at(KmsConfig(), self.server.node.name, local=True)

    async def connect(self, who: Party) -> Stream:
        identity = TlsIdentity((who.certificate,), who.key, (self.party.certificate,))
        return await self.server.streams.connect(self.address, identity, within_s=20)


async def ask(stream: Stream, request: RequestMessage) -> ResponseMessage:
    await stream.write(encode_request(request))
    return await answer(stream)


async def answer(stream: Stream) -> ResponseMessage:
    """The next message; those of this file's servers are asked one by one."""
    held = await stream.read(8)
    size = 8 + int.from_bytes(held[4:8])
    while len(held) < size:
        more = await stream.read(size - len(held))
        assert more
        held += more
    return decode_response(held)


@asynccontextmanager
async def served(
    folder: Path, party: Party, *authorities: Party, records: list[Any] | None = None
) -> AsyncIterator[Served]:
    """A life of a server over ``folder``."""
    kept: list[Any] = [] if records is None else records
    server = Alone(folder, KmsConfig(), record=lambda kind, fields: kept.append((kind, fields)))
    await server.start()
    refused: list[ProductError] = []
    admission = await server.service.kmip_identities()
    listener = await server.service.open_kmip(
        admission,
        lambda: ((party.certificate,), party.key),
        tuple(one.certificate for one in authorities),
        outside=("127.0.0.1", 0),
        refused=refused.append,
    )
    try:
        yield Served(server, admission, f"127.0.0.1:{listener.port}", party, refused)
    finally:
        await server.stop()
