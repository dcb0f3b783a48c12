"""STD-07: vCenter tells of each certificate near its end, once, and of no other."""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest

from protocol.events import EventTypeId as Id
from protocol.messages.keyprovider import GenerateServiceClientCert
from protocol.messages.kms.administration import QueryIdentities, RenewServerCertificate
from protocol.messages.vcenter.inventory import ListEvents, VcEvent
from protocol.messages.vcenter.providers import (
    GenerateSelfSignedClientCert,
    RetrieveClientCert,
    UploadKmipServerCert,
)
from protocol.terms import NodeName, ProviderId
from services.runtime.each import for_each
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
PROVIDER: Final = ProviderId("kms-provider")
VCENTER, KMS = NodeName("vcenter"), NodeName("kms-2")
LOOKED_S: Final = 310.0
"""So long after a change vCenter has looked once more."""
FORTNIGHT_S: Final = 14 * 86_400.0
ABOUT_CERTIFICATES: Final = (Id.KMS_CLIENT_CERT_EXPIRATION, Id.KMS_SERVER_CERT_EXPIRATION)


def told(world: World) -> list[VcEvent]:
    """The events about certificates, oldest first."""
    world.run(world.lab.sleep(LOOKED_S))
    events = world.run(world.lab.ask(VCENTER, ListEvents())).events
    return [one for one in events if one.event in ABOUT_CERTIFICATES]


def changed(world: World, good_for_s: float) -> None:
    """vCenter and one of its servers show other certificates, which are good for so long."""
    ask = world.lab.ask
    world.run(ask(VCENTER, GenerateSelfSignedClientCert(provider=PROVIDER, good_for_s=good_for_s)))
    world.run(ask(KMS, RenewServerCertificate(good_for_s=good_for_s)))
    shown = world.run(ask(KMS, QueryIdentities())).certificate
    world.run(ask(VCENTER, UploadKmipServerCert(provider=PROVIDER, certificate=shown)))


@pytest.mark.parametrize(("days", "events"), [(30, ABOUT_CERTIFICATES), (13, ()), (0, ())])
def test_certificates_near_their_end_are_told_of_once_each(
    days: int, events: tuple[Id, ...]
) -> None:
    world = World(use="kmip", hosts=1, vms=0, knobs={"kms_certificate_warning_days": days})
    try:
        assert told(world) == []
        changed(world, FORTNIGHT_S)
        found = told(world)
        assert tuple(one.event for one in found) == events
        assert all(one.provider == PROVIDER for one in found)
        world.run(world.lab.power_off(VCENTER, "crash"))
        world.run(world.lab.power_on(VCENTER))
        assert told(world) == found  # a vCenter that starts again has not forgotten
    finally:
        world.close()


def test_each_other_certificate_is_told_of_and_the_text_says_until_when() -> None:
    world = World(use="kmip", hosts=1, vms=0)
    try:
        for times in (1, 2):
            changed(world, 5.0)
            assert len(told(world)) == 2 * times
        shown = world.run(world.lab.ask(VCENTER, RetrieveClientCert(provider=PROVIDER))).certificate
        assert shown is not None and shown.end == int(shown.start) + 5
        first, second = told(world)[-2:]
        assert "that vCenter shows the servers of key provider kms-provider is good" in first.text
        assert "of kms-2, a server of key provider kms-provider, is good" in second.text
    finally:
        world.close()


def test_what_a_key_server_shows_is_what_it_shows_after_a_restart() -> None:
    """Several administrators at once: each has an answer, and the last certificate is kept."""
    world = World(use="kmip", hosts=1, vms=0)
    try:
        ask = partial(world.lab.ask, KMS)
        work = for_each(range(4), lambda _: ask(RenewServerCertificate()), name="renew")
        told = [one.certificate for one in world.run(work)]
        assert len(set(told)) == len(told)
        shown = world.run(ask(QueryIdentities())).certificate
        assert shown == told[-1]
        world.run(world.lab.power_off(KMS, "crash"))
        world.run(world.lab.power_on(KMS))
        assert world.run(ask(QueryIdentities())).certificate == shown
    finally:
        world.close()


# ---- behind Key Provider Services ------------------------------------------------------------

TA: Final = NodeName("ta-vcenter")
TRUSTED: Final = ProviderId("trusted-provider")
BEHIND_SERVICES: Final = {
    Id.TA_KMS_CLIENT_CERT_EXPIRATION,
    Id.TA_KMS_SERVER_CERT_EXPIRATION,
}


def told_by_authority(world: World) -> list[VcEvent]:
    world.run(world.lab.sleep(2 * LOOKED_S))
    events = world.run(world.lab.ask(TA, ListEvents())).events
    return [one for one in events if one.event in BEHIND_SERVICES]


def trusted_lab(transport: str, **knobs: int) -> World:
    return World(use="trusted", hosts=1, vms=0, kms={"transport": transport}, knobs=knobs)


def test_certificates_between_services_and_key_servers_are_told_of_once_each() -> None:
    """By the vCenter of the Trust Authority, which has them trusted (step 10)."""
    world = trusted_lab("kmip", kmip_certificate_days=14)
    try:
        found = told_by_authority(world)
        texts = [one.text.partition(" is good until ")[0] for one in found]
        assert sorted(texts) == [
            "The certificate of kms, a server of key provider trusted-provider,",
            "The certificate that keyprovider-1 shows the servers of key provider trusted-provider",
            "The certificate that keyprovider-2 shows the servers of key provider trusted-provider",
        ]
        assert {one.event for one in found} == BEHIND_SERVICES
        assert {one.provider for one in found} == {TRUSTED}
        world.run(world.lab.power_off(TA, "crash"))
        world.run(world.lab.power_on(TA))
        assert told_by_authority(world) == found
        ask = world.lab.ask
        world.run(ask(NodeName("keyprovider-1"), GenerateServiceClientCert(renew=True)))
        again = told_by_authority(world)
        assert again[: len(found)] == found and len(again) == len(found) + 1
        assert again[-1].event == Id.TA_KMS_CLIENT_CERT_EXPIRATION
    finally:
        world.close()


@pytest.mark.parametrize(
    ("transport", "days", "warning"), [("kmip", 31, 30), ("kmip", 14, 0), ("bus", 14, 30)]
)
def test_nothing_is_told_of_a_certificate_that_is_good_for_longer_or_not_used(
    transport: str, days: int, warning: int
) -> None:
    world = trusted_lab(transport, kmip_certificate_days=days, kms_certificate_warning_days=warning)
    try:
        assert told_by_authority(world) == []
    finally:
        world.close()
