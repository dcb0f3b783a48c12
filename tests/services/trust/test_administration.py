"""A Trust Authority's administration: wrong order, repeats, and what fails in the middle of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.errors import (
    AlreadyExists,
    HostUnreachable,
    InvalidArgument,
    InvalidName,
    InvalidState,
    NoPermission,
    NotFound,
    ProductError,
    ResourceInUse,
    SaveFailed,
)
from protocol.messages.agent import NodeRunState
from protocol.messages.base import Request
from protocol.messages.host.crypto import AttestHost, ExportTpmEndorsement
from protocol.messages.vcenter.inventory import AddHost, RemoveHost
from protocol.messages.vcenter.trust import (
    ExportServicesInformation,
    ImportServicesInformation,
    ImportToTrustAuthority,
    RemediateTrustedCluster,
    RemoveFromTrustAuthority,
    SetTpmSettings,
    SetTrustedState,
    TrustKeyServers,
)
from protocol.terms import ClusterName, KeyId, NodeName, ProviderHealth
from protocol.trust import (
    ServiceRecord,
    TpmCaCertificate,
    TpmSettings,
    TrustAttestationStatus,
    TrustedEndorsementKey,
    TrustItem,
)
from services.vcenter.inventory import put
from services.vcenter.tables import DatabaseTable
from tests.services.esxi.rig import A
from tests.services.trust.administration import (
    CLUSTER,
    ENABLE,
    PERIOD_S,
    REGISTER,
    SETTINGS,
    TA,
    TA_CLUSTER,
    WORKLOAD,
    Administration,
    create,
)
from tests.services.trust.rig import AS1, AS2, KPS1, TRUSTED


@pytest.fixture
def lab() -> Iterator[Administration]:
    made = Administration()
    yield made
    assert not made.loop.escapes, made.loop.escapes
    assert not made.loop.unhandled, made.loop.unhandled
    bad = ("node.internal_error", "node.background_failed", "node.start_failed")
    assert not [record for record in made.records if record.kind in bad]
    made.close()


def image(lab: Administration, version: str) -> ImportToTrustAuthority:
    return ImportToTrustAuthority(base_image=replace(lab.image(), version=version))


def versions(found: Administration) -> list[str]:
    return [name for kind, name in found.items() if kind == "baseImage"]


def test_what_was_not_made_durable_is_taken_back_from_who_has_judged_it(
    lab: Administration,
) -> None:
    """Also when the next change, under the same number, is judged by another service."""
    lab.ready()
    lab.world.stores[TA].fail = True
    assert isinstance(lab.refused(image(lab, "lost")), SaveFailed)
    lab.world.stores[TA].fail = False
    lab.power_off(AS1, "power_loss")
    lab.do(image(lab, "made"))
    lab.power_on(AS1)
    lab.sleep(3 * PERIOD_S)
    assert versions(lab) == [lab.image().version, "made"]
    assert lab.well()


def test_a_service_without_room_keeps_no_change_from_being_made(lab: Administration) -> None:
    """Another one judges it, and it is told which one lacks it."""
    lab.ready()
    for full in (AS1, KPS1):
        lab.world.stores[full].fail = True
        assert lab.do(image(lab, f"while-{full}-is-full")).silent == (full,)
        lab.world.stores[full].fail = False
        lab.sleep(2 * PERIOD_S)
        assert lab.well()
    for full in (AS1, AS2):
        lab.world.stores[full].fail = True
    assert isinstance(lab.refused(image(lab, "never")), SaveFailed)
    assert "never" not in versions(lab)


def test_every_step_is_done_once(lab: Administration) -> None:
    lab.ready()
    before, trusted = lab.items(), lab.trusted()
    [first] = lab.services[KPS1].configuration.providers
    for again in (
        ENABLE,
        lab.principal(),
        lab.endorsement_key(),
        image(lab, lab.image().version),
        create(first.primary_key_id),
    ):
        assert isinstance(lab.refused(again), AlreadyExists), again
    lab.do(SETTINGS)
    lab.do(TrustKeyServers(provider=TRUSTED))
    assert isinstance(lab.refused(SetTrustedState(cluster=CLUSTER), WORKLOAD), AlreadyExists)
    lab.do(REGISTER, WORKLOAD)
    assert (lab.items(), lab.trusted()) == (before, trusted) and lab.well()


def test_no_step_is_done_before_its_time(lab: Administration) -> None:
    """And nothing of it stays: all of them go well in their order afterwards."""
    lab.host()
    steps: tuple[Request[Any], ...] = (
        ENABLE,
        SETTINGS,
        lab.endorsement_key(),
        create(KeyId("none")),
    )
    for step in steps:
        assert isinstance(lab.refused(step), NoPermission), step
    lab.admins()
    steps = (
        SETTINGS,
        lab.principal(),
        lab.endorsement_key(),
        image(lab, "early"),
        create(KeyId("none")),
        TrustKeyServers(provider=TRUSTED),
        RemoveFromTrustAuthority(kind=TrustItem.PRINCIPAL, name="vcenter"),
        ExportServicesInformation(),
    )
    for step in steps:
        assert isinstance(lab.refused(step), NotFound), step
    assert isinstance(lab.refused(SetTrustedState(cluster=CLUSTER), WORKLOAD), NotFound)
    assert lab.state().group == "" and lab.trusted().clusters == ()


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"attestation_services": ()}, InvalidArgument),
        ({"key_provider_services": ()}, InvalidArgument),
        ({"attestation_services": (AS1, AS1)}, InvalidArgument),
        ({"attestation_services": (AS1, KPS1)}, InvalidArgument),
        ({"attestation_services": (NodeName("a.*"),)}, InvalidName),
        ({"attestation_services": (NodeName("nobody"),)}, HostUnreachable),
        ({"attestation_services": (KPS1,), "key_provider_services": (AS1,)}, ProductError),
        ({"cluster": ClusterName("a/b")}, InvalidName),
        ({"cluster": ClusterName("")}, InvalidName),
    ],
)
def test_a_state_that_makes_no_sense_is_not_enabled(
    lab: Administration, changes: dict[str, Any], kind: type[ProductError]
) -> None:
    lab.admins()
    assert isinstance(lab.refused(replace(ENABLE, **changes)), kind)
    assert lab.state().group == ""
    lab.do(ENABLE)
    assert lab.well()


def test_a_cluster_is_never_both(lab: Administration) -> None:
    """TA-02: neither a Trust Authority of a trusted cluster, nor the other way round."""
    lab.ready()
    both = replace(ENABLE, cluster=CLUSTER)
    refused = lab.refused(both, WORKLOAD)
    assert isinstance(refused, InvalidState) and CLUSTER in str(refused)
    lab.do(ImportServicesInformation(services=lab.services_information()), TA)
    lab.host_of(TA, TA_CLUSTER)
    refused = lab.refused(SetTrustedState(cluster=TA_CLUSTER), TA)
    assert isinstance(refused, InvalidState) and TA_CLUSTER in str(refused)


def test_a_second_change_at_a_time_is_refused_and_not_lost(lab: Administration) -> None:
    """HLT-04: whoever was refused asks again."""
    lab.ready()
    wanted = [image(lab, f"at-once-{n}") for n in range(5)]

    async def all_at_once() -> list[Any]:
        asked = [lab.ask(TA, message) for message in wanted]
        return await asyncio.gather(*asked, return_exceptions=True)

    outcomes = lab.run(all_at_once())
    refused = [error for error in outcomes if isinstance(error, ProductError)]
    assert {type(error) for error in refused} == {ResourceInUse} and len(refused) == 4
    assert len(versions(lab)) == 2
    for message, outcome in zip(wanted, outcomes, strict=True):
        if isinstance(outcome, ProductError):
            lab.do(message)
    assert len(versions(lab)) == 6 and lab.well()


def _with(records: tuple[ServiceRecord, ...], **changes: Any) -> tuple[ServiceRecord, ...]:
    return (replace(records[0], **changes), *records[1:])


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda records: (*records, records[0]), InvalidArgument),
        (lambda records: _with(records, trusted_ca=()), InvalidArgument),
        (lambda records: _with(records, trusted_ca=(b"x",)), InvalidArgument),
        (lambda records: _with(records, node=NodeName("a.>")), InvalidName),
        (lambda records: _with(records, group="\x1b[31m"), InvalidArgument),
    ],
)
@pytest.mark.parametrize("field", ["attestation_services", "key_provider_services"])
def test_services_information_that_makes_no_sense_is_not_imported(
    lab: Administration, field: str, change: Callable[[Any], Any], kind: type[ProductError]
) -> None:
    """Refused where it enters, and not by a host that is to have it."""
    lab.ready()
    before, good = lab.trusted(), lab.services_information()
    bad = replace(good, **{field: change(getattr(good, field))})
    error = lab.refused(ImportServicesInformation(services=bad), WORKLOAD)
    assert isinstance(error, kind), error
    assert lab.trusted() == before


def test_an_endorsement_certificate_that_has_ended_keeps_no_change_from_being_made(
    lab: Administration,
) -> None:
    """It attests nobody any more, which is told when its host attests; and a service that is empty
    gets the configuration all the same."""
    lab.ready()
    found = lab.do(ExportTpmEndorsement(), A)
    maker = TpmCaCertificate(name="maker", chain=found.ca_chain)
    certified = TrustedEndorsementKey(name="certified", certificate=found.certificate)
    lab.do(ImportToTrustAuthority(ca_certificate=maker))
    lab.do(SetTpmSettings(settings=TpmSettings()))
    lab.do(ImportToTrustAuthority(endorsement_key=certified))
    for node in (AS1, AS2):
        lab.skew(node, -20 * 365 * 86_400.0)
    lab.do(image(lab, "later"))
    assert lab.well()
    [first, *_] = lab.do(AttestHost(), A).reports
    assert "not valid now" in first.messages[0]


def test_a_key_that_is_registered_anew_begins_anew_at_a_service_that_was_away(
    lab: Administration,
) -> None:
    """What ends the refusal of a TPM that was set back holds on every service."""
    lab.ready()
    device = lab.world.device(A)
    assert device is not None
    lab.power_off(A, "stop")
    earlier = device.snapshot()
    for _ in range(3):
        lab.power_on(A)
        lab.power_off(A, "stop")
    lab.power_on(A)
    assert _attested_by(lab) == {AS1}
    lab.power_off(AS1, "stop")
    assert _attested_by(lab) == {AS2}
    lab.power_on(AS1)
    lab.power_off(A, "stop")
    device.restore(earlier)
    lab.power_on(A)
    lab.sleep(2 * PERIOD_S)
    assert _attested_by(lab) == set()
    lab.power_off(AS2, "stop")
    key = lab.endorsement_key()
    lab.do(RemoveFromTrustAuthority(kind=TrustItem.ENDORSEMENT_KEY, name=A))
    lab.do(key)
    lab.power_on(AS2)
    lab.sleep(3 * PERIOD_S)
    assert lab.well() and _attested_by(lab) == {AS1}
    lab.power_off(AS1, "stop")
    assert _attested_by(lab) == {AS2}


def _attested_by(lab: Administration) -> set[NodeName]:
    reports = lab.do(AttestHost(), A).reports
    return {r.service for r in reports if r.status is TrustAttestationStatus.ATTESTED}


def test_what_does_not_fit_a_message_is_refused_and_changes_nothing(lab: Administration) -> None:
    """Some 550 endorsement certificates: they are to be imported as keys, or their maker is."""
    lab.ready()
    found = lab.do(ExportTpmEndorsement(), A)
    lab.do(
        ImportToTrustAuthority(ca_certificate=TpmCaCertificate(name="maker", chain=found.ca_chain))
    )
    many = tuple(_certified(f"tpm-{n}", found.certificate) for n in range(600))
    inventory = lab.services[TA].vcenter.inventory
    full = replace(inventory.authority["authority"], endorsement_keys=many)
    lab.run(inventory.commit(put(DatabaseTable.AUTHORITY, "authority", full)))
    error = lab.refused(image(lab, "one-more"))
    assert isinstance(error, InvalidArgument) and "does not fit" in str(error)
    assert inventory.authority["authority"] == full
    assert {key.name for key in lab.services[AS1].configuration.endorsement_keys} == {A}


def _certified(name: str, certificate: bytes) -> TrustedEndorsementKey:
    return TrustedEndorsementKey(name=name, certificate=certificate)


def test_a_repair_that_is_slow_does_not_undo_a_later_change(lab: Administration) -> None:
    """What it brings is older: a change waits for it, and comes after it."""
    lab.ready()
    lab.power_off(AS2, "stop")
    lab.do(image(lab, "first"))
    authority = lab.services[TA].vcenter.authority
    give = authority._give
    pushed: list[NodeName] = []

    async def slow(node: NodeName, row: Any) -> None:
        if not pushed:
            pushed.append(node)
            await lab.world.sleep(5)
        await give(node, row)

    authority._give = slow
    lab.power_on(AS2)
    for _ in range(100):
        lab.sleep(PERIOD_S / 50)
        if pushed:
            break
    assert pushed == [AS2]
    lab.do(image(lab, "second"))
    lab.sleep(6)
    assert lab.well(), lab.state()


def test_a_host_that_was_removed_and_added_again_is_what_it_was(lab: Administration) -> None:
    """HLT-03: in its cluster it is configured; in another one it is to be decommissioned."""
    lab.ready()
    assert _attested_by(lab) == {AS1}
    lab.do(RemoveHost(host=A), WORKLOAD)
    lab.sleep(2 * PERIOD_S)
    assert lab.trusted().hosts == ()
    lab.do(AddHost(host=A, cluster=CLUSTER), WORKLOAD)
    lab.sleep(2 * PERIOD_S)
    assert [host.health for host in lab.trusted().hosts] == [ProviderHealth.OK]
    assert _attested_by(lab) == {AS1}
    lab.do(RemoveHost(host=A), WORKLOAD)
    other = ClusterName("cluster-b")
    lab.do(AddHost(host=A, cluster=other), WORKLOAD)
    lab.sleep(2 * PERIOD_S)
    assert [host.health for host in lab.trusted().hosts] == [ProviderHealth.ERROR]
    lab.do(RemediateTrustedCluster(cluster=other), WORKLOAD)
    assert lab.trusted().hosts == ()


@pytest.mark.parametrize(
    ("read", "write", "serves"),
    [
        ("SELECT body FROM configuration", "UPDATE configuration SET body = ?", False),
        ("SELECT body FROM tpms", "UPDATE tpms SET body = ?", True),
    ],
)
def test_a_row_with_a_flipped_bit_attests_nobody(
    lab: Administration, read: str, write: str, serves: bool
) -> None:
    """The service halts over its configuration; over a TPM's counters, that host gets no token."""
    lab.ready()
    assert _attested_by(lab) == {AS1}
    lab.power_off(AS1, "stop")
    rows = lab.world.stores[AS1].drives["attestation"].connection
    [(body,)] = rows.execute(read).fetchall()
    flipped = bytes((*body[:40], body[40] ^ 1, *body[41:]))
    rows.execute(write, (flipped,))
    status = lab.power_on(AS1)
    assert (status.state is NodeRunState.RUNNING) is serves
    assert "damaged" in status.screen or serves
    assert _attested_by(lab) == {AS2}
