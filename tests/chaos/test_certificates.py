"""``kms.certificate`` that is half there or half cured, and what vCenter is left with."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from chaos.administration import by_kmip
from chaos.errors import ChaosError
from chaos.faults import make_fault
from chaos.keeper import FaultKeeper, HealOutcome
from chaos.lab import LabUnderTest
from chaos.observe.look import all_providers
from protocol.crypto.certificates import key_digest
from protocol.crypto.transfer import seal_secret
from protocol.errors import ProductError
from protocol.messages.kms.administration import (
    QueryIdentities,
    RenewServerCertificate,
    RevokeIdentity,
    ScopeIdentity,
    TrustIdentity,
)
from protocol.messages.vcenter.providers import (
    GenerateKey,
    GenerateSelfSignedClientCert,
    KmipPasswords,
    KmipServer,
    LoseClientKey,
    OpenTransfer,
    RegisterKmsCluster,
    RetrieveClientCert,
    UploadKmipServerCert,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, ProviderId
from tests.chaos.bad_labs import PLAYED, Bad, Values
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
KIND, PROVIDER = "kms.certificate", ProviderId("kms-provider")
SERVER, CLIENT = {"of": "server", "becomes": "replaced"}, {"of": "client", "becomes": "replaced"}
ENDS: Values = {"of": "client", "becomes": "expired"}
LOST: Values = {"of": "client", "becomes": "key-lost"}
REVOKED: Values = {"of": "client", "becomes": "revoked"}


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=1, vms=1, kms={"replicas": 2, "mode": "sync-pair", "transport": "kmip"})
    yield made
    made.close()


def keeper_of(world: World, values: Values) -> tuple[Any, FaultKeeper, Any]:
    bad: Any = Bad(world)
    lab: LabUnderTest = bad
    return bad, FaultKeeper(lab), make_fault(KIND, "f", values, lab.directory(), seed=3)


def makes_a_key(world: World, operation: str) -> bool:
    message = GenerateKey(operation_id=operation, provider=PROVIDER)
    return bool(world.run(world.lab.ask(world.lab.vcenter, message)).success)


_NAMES = (
    *("server replaced", "client replaced", "client expired", "client revoked"),
    "client key lost",
)


@pytest.mark.slow
@pytest.mark.parametrize("values", PLAYED[KIND], ids=str)
def test_without_it_a_key_is_made_and_with_it_none(world: World, values: Values) -> None:
    _, keeper, fault = keeper_of(world, values)
    assert makes_a_key(world, "before")
    world.run(keeper.inject(fault))
    assert makes_a_key(world, "meanwhile") == ("on" in values)  # STD-08: one of two is enough
    assert world.run(keeper.heal_all(with_cure=True)) == HealOutcome(healed=("f",))
    assert makes_a_key(world, "after")


def test_the_cure_is_told_as_commands(world: World) -> None:
    told = {str(values): keeper_of(world, values)[2].cure_text() for values in PLAYED[KIND]}
    accept = "keystead provider trust-servers kms-provider"
    trust = [f"keystead kms trust kms-{n} --provider kms-provider" for n in (1, 2)]
    renew = "keystead provider renew-certificate kms-provider"
    assert list(told.values()) == [
        accept,
        f"keystead kms renew-certificate kms-2; {accept}",
        "; ".join(trust),
        "; ".join([renew, *trust]),
        "; ".join(trust),
        "; ".join([renew, *trust]),
    ]


def alter(bad: Any, kind: type[Any], how: Any) -> None:
    """Messages of that kind go as ``how`` makes them of node and message; None: not at all."""
    real = bad.ask

    async def ask(node: NodeName, message: Any, **options: Any) -> Any:
        sent = how(node, message) if isinstance(message, kind) else message
        return None if sent is None else await real(node, sent, **options)

    bad.ask = ask


def but(spared: str) -> Any:
    return lambda node, message: None if node == spared else message


def for_long(_: NodeName, message: Any) -> Any:
    return msgspec.structs.replace(message, good_for_s=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "kind", "how", "told"),
    [
        (SERVER, RenewServerCertificate, but("kms-2"), "kms-2 shows the certificate that it"),
        (CLIENT, GenerateSelfSignedClientCert, but("vcenter"), "vcenter shows the certificate"),
        (ENDS, GenerateSelfSignedClientCert, for_long, "that vcenter shows is good for"),
        (REVOKED, RevokeIdentity, but("kms-2"), "kms-2 does not refuse vcenter"),
        (LOST, LoseClientKey, but("vcenter"), "vcenter has the key of its certificate"),
    ],
    ids=_NAMES,
)
def test_half_of_it_is_told(
    world: World, values: Values, kind: type[Any], how: Any, told: str
) -> None:
    bad, keeper, fault = keeper_of(world, values)
    alter(bad, kind, how)
    with pytest.raises(ChaosError, match=told) as caught:
        world.run(keeper.inject(fault))
    assert caught.value.id == "KS-CHAOS-101"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "kind", "how", "told"),
    [
        (SERVER, UploadKmipServerCert, but("vcenter"), "vcenter does not trust kms-1"),
        (CLIENT, TrustIdentity, but("kms-2"), "kms-2 does not trust vcenter"),
        (ENDS, GenerateSelfSignedClientCert, but("vcenter"), "vcenter shows has expired"),
        (REVOKED, TrustIdentity, but("kms-2"), "kms-2 does not trust vcenter"),
        (LOST, GenerateSelfSignedClientCert, but("vcenter"), "vcenter has no key of the cert"),
    ],
    ids=_NAMES,
)
def test_half_a_cure_is_told(
    world: World, values: Values, kind: type[Any], how: Any, told: str
) -> None:
    bad, keeper, fault = keeper_of(world, values)
    world.run(keeper.inject(fault))
    alter(bad, kind, how)
    report = world.run(keeper.heal_all(with_cure=True))
    assert [told in left.seen for left in report.left] == [True], report.left


@pytest.mark.slow
@pytest.mark.parametrize("good_for_s", [0.0, 0.5, -3.0, float("nan"), 1e12])
def test_a_time_that_no_certificate_is_good_for(world: World, good_for_s: float) -> None:
    renew = GenerateSelfSignedClientCert(provider=PROVIDER, good_for_s=good_for_s)
    for node, message in (
        (world.lab.vcenter, renew),
        (NodeName("kms-1"), RenewServerCertificate(good_for_s=good_for_s)),
    ):
        with pytest.raises(ProductError, match="good_for_s: from 1 to"):
            world.run(world.lab.ask(node, message))
    assert makes_a_key(world, "all is as it was")


# ---- whom a server takes again ---------------------------------------------------------------


def scoped(world: World) -> dict[str, tuple[str, str]]:
    """Role and scope of what vCenter shows now, at each server."""
    lab = world.lab
    shown = world.run(lab.ask(lab.vcenter, RetrieveClientCert(provider=PROVIDER))).certificate
    assert shown is not None
    digest = key_digest(shown.certificate).hex()
    found = {}
    for server in (NodeName("kms-1"), NodeName("kms-2")):
        clients = world.run(lab.ask(server, QueryIdentities())).clients
        [(role, scope)] = [(one.role, one.scope) for one in clients if one.digest == digest]
        found[str(server)] = role, scope
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "values"),
    [(KIND, CLIENT), (KIND, ENDS), (KIND, LOST), (KIND, REVOKED), ("provider.delete", {})],
    ids=str,
)
def test_a_cure_gives_no_other_role_and_scope(world: World, kind: str, values: Values) -> None:
    """Keys of another scope are not there for vCenter, so it would be none."""
    bad: Any = Bad(world)
    keeper = FaultKeeper(bad)
    for server, (role, _) in scoped(world).items():
        clients = world.run(world.lab.ask(NodeName(server), QueryIdentities())).clients
        move = ScopeIdentity(digest=clients[0].digest, scope="apps", role="owner")
        world.run(world.lab.ask(NodeName(server), move))
        assert role == "client"
    world.run(keeper.inject(make_fault(kind, "f", values, bad.directory(), seed=3)))
    assert world.run(keeper.heal_all(with_cure=True)) == HealOutcome(healed=("f",))
    assert scoped(world) == {"kms-1": ("owner", "apps"), "kms-2": ("owner", "apps")}


def test_a_provider_with_a_user_name_is_added_by_a_person(world: World) -> None:
    """The password is in no note: it went with the provider."""
    lab = world.lab
    listed = world.run(all_providers(lab, lab.vcenter))[0]
    opened = world.run(lab.ask(lab.vcenter, OpenTransfer()))
    servers = tuple([msgspec.structs.replace(one, user_name="vc") for one in listed.servers])
    words = KeyMaterial(b"open sesame")
    boxes = {one.name: seal_secret(opened.public_key, words, "password") for one in servers}
    given = KmipPasswords(transfer=opened.transfer, passwords=boxes)
    again = RegisterKmsCluster(provider=PROVIDER, servers=servers, passwords=given)
    world.run(lab.ask(lab.vcenter, again))
    bad: Any = Bad(world)
    keeper = FaultKeeper(bad)
    world.run(keeper.inject(make_fault("provider.delete", "f", {}, bad.directory(), seed=3)))
    left = world.run(keeper.heal_all(with_cure=True)).left
    assert "nobody but a person has the password; add kms-provider by hand" in str(left)
    opened = world.run(lab.ask(lab.vcenter, OpenTransfer()))
    boxes = {one.name: seal_secret(opened.public_key, words, "password") for one in servers}
    given = KmipPasswords(transfer=opened.transfer, passwords=boxes)
    again = RegisterKmsCluster(
        provider=PROVIDER, servers=servers, passwords=given, make_default=True
    )
    world.run(lab.ask(lab.vcenter, again))
    assert world.run(keeper.heal_all(with_cure=True)) == HealOutcome(healed=("f",))
    assert makes_a_key(world, "after")


def test_servers_are_asked_by_kmip_when_they_are_of_the_lab_and_have_an_address() -> None:
    entries = (
        SimpleNamespace(node="kms-1", by_kmip=True),
        SimpleNamespace(node="b", by_kmip=False),
    )
    lab: Any = SimpleNamespace(directory=lambda: SimpleNamespace(nodes=entries))
    servers = [
        KmipServer(name=f"{node} {address}", node=NodeName(node), address=address)
        for node in ("kms-1", "b", "", "outside")
        for address in ("kmip://x:5696", "")
    ]
    assert by_kmip(lab, servers) == (NodeName("kms-1"),)
