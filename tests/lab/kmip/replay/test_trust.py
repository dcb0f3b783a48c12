"""The phase *trust*, over real TLS: one server for each thing that it may do wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from OpenSSL import SSL

from lab.kmip.replay.findings import PlayPhase, ReplayVerdict
from lab.kmip.replay.journal import ReplayJournal
from lab.kmip.replay.running import Replay, ReplayPlan
from lab.kmip.replay.servers import ReplayedServer, ServerAttempts
from lab.kmip.standalone import standalone
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.keyservers.kmip_sessions import Dialogue
from services.runtime.streams import TlsIdentity
from tests.lab.kmip.replay.rig import (
    AUTHORITY,
    KMS,
    VCENTER,
    certified,
    client,
    found,
    no_command,
    tell,
)
from tests.lab.kmip.replay.tls_server import NOT_ASKED, OPTIONAL, Tls, serving
from tests.lab.kmip.tls import Party

WITHIN_S = 20.0
EXPIRED = certified("vcenter", days=-1, since=-9)
Good = partial(Tls, KMS, (AUTHORITY,))


def is_vcenter(certificate: bytes) -> bool:
    return certificate == VCENTER.certificate


def has_ended(certificate: bytes) -> bool:
    return certificate == EXPIRED.certificate


WRONG: dict[str, Callable[[], Tls]] = {
    "server-not-trusted": lambda: Tls(
        certified("kms", "127.0.0.1", issuer=Party.named("nobody", authority=True)), (AUTHORITY,)
    ),
    "client-not-trusted": lambda: Tls(KMS, (Party.named("another"),)),
    "no-client-certificate": lambda: Good(asks=NOT_ASKED),
    "client-certificate-optional": lambda: Good(asks=OPTIONAL, gives=is_vcenter),
    "unknown-client-served": lambda: Good(admits=lambda certificate: True),
    "expired-client-served": lambda: Good(admits=has_ended),
    "weak-cipher": lambda: Good(
        versions=(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION), ciphers=b"ECDHE-ECDSA-AES256-SHA384"
    ),
    "certificate-name": lambda: Tls(certified("kms", "another.example"), (AUTHORITY,)),
    "certificate-expiring": lambda: Tls(certified("kms", "127.0.0.1", days=3), (AUTHORITY,)),
}


async def played(
    tls: Tls, vcenter: Party = VCENTER, expired: Party | None = EXPIRED
) -> ReplayJournal:
    """The journal of a replay against it, as vCenter with this certificate."""
    streams = standalone(NodeName("replay"))
    identity = TlsIdentity((vcenter.certificate,), vcenter.key, (AUTHORITY.certificate,))
    with serving(tls) as port:
        name = f"127.0.0.1:{port}"
        journal = ReplayJournal([name], time.monotonic)
        dialogue = Dialogue(
            partial(streams.streams.connect, name, identity, within_s=WITHIN_S),
            streams.clock,
            within_s=WITHIN_S,
            on_step=journal.step_recorder(name),
            seen=journal.answer_recorder(name),
        )
        door = ServerAttempts("127.0.0.1", port, WITHIN_S)
        server = ReplayedServer(name, "127.0.0.1", door, lambda who: dialogue)
        replay = Replay(
            [server],
            client(vcenter, expired),
            journal,
            wall=time.time,
            sleep=asyncio.sleep,
            run=no_command,
            tell=tell,
        )
        await replay.run(ReplayPlan(phases=frozenset()))
        streams.streams.abort()
    return journal


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
async def test_a_good_server_works(version: int) -> None:
    journal = await played(Good(versions=(version, version)))
    assert (found(journal), journal.verdict) == ([], ReplayVerdict.WORKS)
    [facts] = journal.servers.values()
    assert facts.tls == {SSL.TLS1_2_VERSION: "TLSv1.2", SSL.TLS1_3_VERSION: "TLSv1.3"}[version]
    assert facts.certificate is not None and facts.certificate.names[-1] == "127.0.0.1"
    skipped = [why for (check, _), why in journal.checks.items() if check.phase is PlayPhase.TRUST]
    assert len(skipped) == 9 and not any(skipped)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRONG)
async def test_a_server_that_is_wrong_in_one_thing_has_one_finding(kind: str) -> None:
    assert found(await played(WRONG[kind]())) == [(kind, "127.0.0.1")]


async def test_a_server_of_old_versions_has_their_suites_too() -> None:
    old = Good(versions=(SSL.TLS1_VERSION, SSL.TLS1_3_VERSION), ciphers=b"ALL:@SECLEVEL=0")
    kinds = {kind for kind, _ in found(await played(old))}
    assert kinds == {"old-tls", "weak-cipher"}


async def test_a_server_that_also_takes_weak_suites_is_told_of_them() -> None:
    """It chooses a good one as long as it is offered one."""
    key = rsa.generate_private_key(65_537, 2048)
    above = x509.load_der_x509_certificate(AUTHORITY.certificate)
    own = load_der_private_key(AUTHORITY.key.reveal(), None)
    assert isinstance(own, ec.EllipticCurvePrivateKey)
    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(above.subject, name, key.public_key(), 5)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=365))
    places = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = builder.add_extension(places, critical=True).sign(own, SHA256())
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    party = Party(made.public_bytes(Encoding.DER), KeyMaterial(der))
    suites = b"ECDHE-RSA-AES256-GCM-SHA384:AES256-GCM-SHA384"
    journal = await played(Tls(party, (AUTHORITY,), ciphers=suites))
    assert found(journal) == [("weak-cipher", "127.0.0.1")]
    assert journal.findings[0].seen == "it accepts AES256-GCM-SHA384"


@pytest.mark.parametrize(
    ("also", "seen"),
    [
        (b"", []),
        (b":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-CCM", []),
        (b":ECDHE-ECDSA-AES128-SHA", ["it accepts ECDHE-ECDSA-AES128-SHA"]),
        (b":ECDHE-ECDSA-NULL-SHA", ["it accepts ECDHE-ECDSA-NULL-SHA"]),
    ],
)
async def test_every_suite_is_tried_that_does_not_authenticate_what_it_encrypts(
    also: bytes, seen: list[str]
) -> None:
    suites = b"ECDHE-ECDSA-AES256-GCM-SHA384" + also + b":@SECLEVEL=0"
    journal = await played(Good(versions=(SSL.TLS1_2_VERSION, 0), ciphers=suites))
    assert [(one.kind.id, one.seen) for one in journal.findings] == [
        ("weak-cipher", text) for text in seen
    ]


async def test_a_client_is_told_that_its_own_certificate_ends_soon() -> None:
    soon = certified("vcenter", days=3)
    assert found(await played(Good(), soon)) == [("client-certificate-expiring", "127.0.0.1")]


async def test_without_an_expired_certificate_nothing_is_said_of_one() -> None:
    journal = await played(Good(admits=has_ended), expired=None)
    assert found(journal) == []
    [why] = [why for why in journal.checks.values() if why]
    assert "--identity expired=" in why
