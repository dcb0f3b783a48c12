"""What a key server of a lab shows: kept, and never shown when it is not whole."""

from __future__ import annotations

import os
from typing import Any, cast

import msgspec
import pytest

from protocol.crypto.certificates import SEED_SIZE, new_key, validity
from protocol.secret import KeyMaterial
from services.kms.endpoints.kmip_clients import (
    CERTIFICATE_FILE,
    EndWatch,
    load_certificate,
    renew_certificate,
)
from services.runtime.durable import replace_durably
from services.runtime.node_certificates import OwnCertificate
from tests.services.kms.ports import Server


async def test_a_key_that_is_not_the_certificates_is_damage(server: Server) -> None:
    """Nobody could ask a server that shows it: the start says so, not every handshake."""
    disk, rng, clock = server.service.disk, server.service.rng, cast(Any, server.clock)
    made = await renew_certificate(disk, rng, clock, "kms", 30)
    assert await load_certificate(disk, rng, clock, "kms", 30) == made
    stranger = new_key(KeyMaterial(os.urandom(SEED_SIZE))).reveal()
    for bad in (
        OwnCertificate(made.certificate, stranger),
        OwnCertificate(b"none", made.secret),
        OwnCertificate(made.certificate, b"none"),
    ):
        await replace_durably(disk, CERTIFICATE_FILE, msgspec.msgpack.encode(bad))
        with pytest.raises(OSError, match="was damaged"):
            await load_certificate(disk, rng, clock, "kms", 30)


async def test_a_certificate_that_has_expired_is_told_once(server: Server) -> None:
    """STD-07: at the first handshake after its end, and of the next certificate again."""
    clock = cast(Any, server.clock)
    node, watch = server.service.node, EndWatch(server.service.node, clock)
    told = cast(Any, node).records
    for _ in range(2):
        made = await renew_certificate(
            server.service.disk, server.service.rng, clock, "kms", 30, 60.0
        )
        watch.shows(made.certificate)
        assert not told
        later = clock.now() + 61.0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clock, "now", lambda: later)  # noqa: B023 - of this round
            watch.shows(made.certificate)
            watch.shows(made.certificate)
        [(kind, fields)] = told
        assert (kind, fields["end"]) == ("kms.certificate_expired", validity(made.certificate)[1])
        told.clear()
