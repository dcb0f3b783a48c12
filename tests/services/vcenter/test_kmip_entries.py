"""The entries of a provider's servers: time-out, user name and password, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from protocol.crypto.transfer import seal_secret
from protocol.errors import InvalidArgument, InvalidState, NotAvailable, ProductError
from protocol.messages.vcenter.providers import (
    GenerateKey,
    KmipPasswords,
    KmipServer,
    ListKmsClusters,
    LoseKmipPasswords,
    OpenTransfer,
    RegisterKmsCluster,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.vcenter.providers.registry import ProviderRegistry
from services.vcenter.providers.standard import StandardProvider
from services.vcenter.vcenter import VCenter
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import KMS, P, Q, Rig

PASSWORD = b"correct horse battery staple"
OUTSIDE = "kmip://kms.example:5696"


def entry(**fields: Any) -> KmipServer:
    return KmipServer(**{"name": "kms", "address": OUTSIDE, **fields})


def given(rig: Rig, password: bytes = PASSWORD, name: str = "kms") -> KmipPasswords:
    opened = rig.do(OpenTransfer())
    box = seal_secret(opened.public_key, KeyMaterial(password), "password")
    return KmipPasswords(transfer=opened.transfer, passwords={name: box})


def register(rig: Rig, server: KmipServer, password: bytes = b"") -> None:
    passwords = given(rig, password) if password else UNSET
    rig.do(RegisterKmsCluster(provider=P, servers=(server,), passwords=passwords))


def told(rig: Rig) -> tuple[str, bytes] | None:
    """User name and password as the server would get them."""
    row = rig.vcenter.inventory.providers[P]
    login = rig.vcenter.providers.logins.login(row, row.servers[0])
    return None if login is None else (login.username, login.password.reveal())


def test_a_password_is_kept_over_boots_and_never_in_clear(rig: Rig) -> None:
    register(rig, entry(user_name="vc"), PASSWORD)
    assert told(rig) == ("vc", PASSWORD)
    rig.reboot(VCENTER)
    assert told(rig) == ("vc", PASSWORD)
    files = [data for _, data in rig.world.stores[VCENTER].images()]
    assert files and not any(PASSWORD in data for data in files)
    row = rig.vcenter.inventory.providers[P]
    listed = rig.do(ListKmsClusters()).providers
    records = [str(record) for record in rig.records]
    for text in (repr(row), repr(listed), *records):
        assert PASSWORD.decode() not in text
    assert listed[0].servers[0].user_name == "vc"


def test_it_stays_as_long_as_the_server_and_its_user_do(rig: Rig) -> None:
    register(rig, entry(user_name="vc"), PASSWORD)
    register(rig, entry(user_name="vc", timeout=5))
    assert told(rig) == ("vc", PASSWORD)
    register(rig, entry(user_name="vc"), b"another")
    assert told(rig) == ("vc", b"another")
    register(rig, entry())
    assert told(rig) is None and rig.vcenter.inventory.providers[P].passwords == {}
    without = RegisterKmsCluster(provider=P, servers=(entry(user_name="vc"),))
    assert isinstance(rig.refused(without), InvalidArgument)


@pytest.mark.parametrize(
    "other",
    [entry(user_name="root"), entry(user_name="vc", address="kmip://evil.example:5696")],
    ids=["another user", "another address"],
)
def test_it_is_told_to_nobody_else(rig: Rig, other: KmipServer) -> None:
    register(rig, entry(user_name="vc"), PASSWORD)
    assert isinstance(
        rig.refused(RegisterKmsCluster(provider=P, servers=(other,))), InvalidArgument
    )
    row = rig.vcenter.inventory.providers[P]
    with pytest.raises(ProductError, match="cannot be opened"):
        rig.vcenter.providers.logins.login(row, other)


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"timeout": 0}, NotAvailable, "without any time-out"),
        ({"timeout": -2}, InvalidArgument, "1 to 3600"),
        ({"timeout": 3601}, InvalidArgument, "1 to 3600"),
        ({"proxy_address": "proxy:3128"}, NotAvailable, "proxies are not built"),
        ({"user_name": ""}, InvalidArgument, "1 to 256"),
        ({"user_name": "a\nb"}, InvalidArgument, "1 to 256"),
        ({"user_name": "u" * 257}, InvalidArgument, "1 to 256"),
        ({"user_name": "vc", "address": "", "node": KMS}, InvalidArgument, "over the bus"),
        ({"address": ""}, InvalidArgument, "has no address"),
    ],
)
def test_what_is_not_built_is_refused(
    rig: Rig, wrong: dict[str, Any], error: type[ProductError], text: str
) -> None:
    message = RegisterKmsCluster(
        provider=P,
        servers=(entry(**wrong),),
        passwords=given(rig) if "user_name" in wrong else UNSET,
    )
    refused = rig.refused(message)
    assert isinstance(refused, error) and text in str(refused)
    assert P not in rig.vcenter.inventory.providers


@pytest.mark.parametrize("password", [b"", b"x" * 1025, b"\xff\xfe"])
def test_what_is_no_password_is_refused(rig: Rig, password: bytes) -> None:
    message = RegisterKmsCluster(
        provider=P, servers=(entry(user_name="vc"),), passwords=given(rig, password)
    )
    assert isinstance(rig.refused(message), InvalidArgument)


def test_a_password_is_for_a_user_and_sealed_to_one_transfer(rig: Rig) -> None:
    for passwords in (given(rig), given(rig, name="stranger")):
        for server in (entry(), entry(name="other", user_name="vc")):
            message = RegisterKmsCluster(provider=P, servers=(server,), passwords=passwords)
            assert isinstance(rig.refused(message), InvalidArgument)
    once = given(rig)
    for provider in (P, Q):
        message = RegisterKmsCluster(
            provider=provider, servers=(entry(user_name="vc"),), passwords=once
        )
        if provider == P:
            rig.do(message)
        else:
            assert isinstance(rig.refused(message), InvalidArgument)


def limits(vcenter: VCenter) -> list[float]:
    providers: ProviderRegistry = vcenter.providers
    found = providers.require_provider(P)
    assert isinstance(found, StandardProvider)
    return [found._limit_s(server) for server in found._servers]


def test_each_server_has_the_time_out_of_its_entry(rig: Rig) -> None:
    servers = (
        entry(timeout=3),
        entry(name="second", timeout=-1),
        KmipServer(name="third", node=NodeName("kms"), timeout=7),
        entry(name="fourth"),
    )
    rig.do(RegisterKmsCluster(provider=P, servers=servers))
    assert limits(rig.vcenter) == [3.0, 10.0, 7.0, 10.0]


def test_a_lost_password_closes_the_provider_until_it_is_entered_again(rig: Rig) -> None:
    register(rig, entry())
    refused = rig.refused(LoseKmipPasswords(provider=P))
    assert isinstance(refused, InvalidState) and "user name" in str(refused)
    register(rig, entry(user_name="vc"), PASSWORD)
    rig.do(LoseKmipPasswords(provider=P))
    rig.reboot(VCENTER)
    with pytest.raises(InvalidState, match="the password of vc at kms is missing"):
        told(rig)
    made = rig.do(GenerateKey(operation_id="1", provider=P))
    assert not made.success and "the password of vc at kms is missing" in made.reason
    register(
        rig, entry(user_name="vc", timeout=5)
    )  # the entry changes, and no password comes by it
    with pytest.raises(InvalidState):
        told(rig)
    register(rig, entry(user_name="vc"), PASSWORD)
    assert told(rig) == ("vc", PASSWORD)
