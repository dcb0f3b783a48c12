"""What a certificate says, and whether a client may be content with it."""

from __future__ import annotations

import time

import pytest

from lab.kmip.replay.trust import client_certificate, facts, names_host, server_certificate
from protocol.crypto.certificates import validity
from tests.lab.kmip.replay.rig import DAY_S, certified
from tests.lab.kmip.tls import Party

HERE = certified("kms", "kms.example", "*.wild.example", "192.0.2.7", "2001:db8::7")


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("kms.example", True),
        ("KMS.Example", True),
        ("kms.example.", True),
        ("a.wild.example", True),
        ("wild.example", False),
        ("a.b.wild.example", False),
        ("other.example", False),
        ("kms", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::7", True),
        ("2001:0db8:0::0007", True),
        ("2001:db8::8", False),
    ],
)
def test_a_certificate_is_for_its_alternative_names(host: str, named: bool) -> None:
    assert names_host(HERE.certificate, host) is named
    now = time.time()
    kinds = [one.kind.id for one in server_certificate(HERE.certificate, host, now, 0)]
    assert kinds == ([] if named else ["certificate-name"])


def test_a_common_name_is_no_name_of_a_host() -> None:
    named = Party.named("kms.example").certificate
    assert not names_host(named, "kms.example")
    [seen] = server_certificate(named, "kms.example", time.time(), 0)
    assert "no name; its subject is CN=kms.example" in seen.text


@pytest.mark.parametrize(
    ("before_s", "kinds"),
    [(0.0, 1), (7 * DAY_S - 1, 1), (7 * DAY_S, 0), (7 * DAY_S + 1, 0), (-1.0, 0)],
)
def test_a_certificate_ends_soon_in_its_last_days(before_s: float, kinds: int) -> None:
    """After its end the handshake says so."""
    _, end = validity(HERE.certificate)
    now = end - before_s
    server = list(server_certificate(HERE.certificate, "kms.example", now, 7 * DAY_S))
    client = list(client_certificate(HERE.certificate, now, 7 * DAY_S))
    assert [one.kind.id for one in server] == ["certificate-expiring"] * kinds
    assert [one.kind.id for one in client] == ["client-certificate-expiring"] * kinds


def test_what_a_certificate_says_is_told() -> None:
    told = facts(HERE.certificate)
    assert (told.subject, told.issuer) == ("CN=kms", "CN=authority")
    assert told.names == ("kms.example", "*.wild.example", "192.0.2.7", "2001:db8::7")
    assert told.key == "EC secp256r1"
    assert (told.start, told.end) == validity(HERE.certificate)
    assert len(told.sha256) == 64
