"""HLT-06: what vCenter has one host of each trusted cluster ask, and what it tells of that."""

from __future__ import annotations

import pytest

from protocol.events import EventTypeId
from protocol.messages.host.crypto import TrustedServiceState
from protocol.messages.host.session import TrustView
from protocol.messages.vcenter.providers import ListKmsClusters, RegisterKmsCluster
from protocol.terms import ManagementType, NodeName, ProviderHealth, ProviderId
from tests.services.vcenter.rig import A, B, Rig

T = ProviderId("t")
PERIOD_S = 300.0
OK, WARNING, ERROR = ProviderHealth.OK, ProviderHealth.WARNING, ProviderHealth.ERROR
OF_TRUST = [one for one in EventTypeId if ".TrustAuthority." in one and ".kms." in one]


def said(service: str, *, answers: bool = True, health: ProviderHealth = OK) -> TrustedServiceState:
    reason = "" if answers and health is OK else f"{service} is unwell"
    return TrustedServiceState(
        service=NodeName(service), provider=T, answers=answers, health=health, reason=reason
    )


WELL = (said("kps-1"), said("kps-2"))


def ready(rig: Rig) -> None:
    """Two trusted hosts, which say nothing of trouble by themselves."""
    rig.up(A, B)
    kind = ManagementType.TRUST_AUTHORITY
    rig.do(RegisterKmsCluster(provider=T, management_type=kind, servers=()))
    for host in (A, B):
        rig.hosts[host].trusted = TrustView(revision="1", digest="")
        rig.reboot(host)
    say(rig, WELL)
    rig.sleep(2 * PERIOD_S)


def say(rig: Rig, states: tuple[TrustedServiceState, ...]) -> None:
    for host in (A, B):
        rig.hosts[host].served = states


def asked(rig: Rig) -> list[int]:
    return [rig.hosts[host].seen.count("QueryTrustedServices") for host in (A, B)]


def told(rig: Rig) -> list[EventTypeId]:
    return [event for event in rig.ids() if event in OF_TRUST]


def health(rig: Rig) -> ProviderHealth:
    (found,) = [one for one in rig.do(ListKmsClusters()).providers if one.provider == T]
    return found.health


@pytest.mark.parametrize(
    ("states", "event", "shown"),
    [
        (
            (said("kps-1", answers=False), said("kps-2", answers=False)),
            EventTypeId.KMS_TA_CLUSTER_NOT_AVAILABLE,
            ERROR,
        ),
        (
            (said("kps-1", answers=False), said("kps-2")),
            EventTypeId.KMS_TA_CLUSTER_UNHEALTHY,
            WARNING,
        ),
        (
            (said("kps-1", health=ERROR), said("kps-2")),
            EventTypeId.KMS_TA_KMS_UNHEALTHY,
            WARNING,
        ),
    ],
)
def test_what_a_host_is_told_is_told_within_a_period_and_once(
    rig: Rig, states: tuple[TrustedServiceState, ...], event: EventTypeId, shown: ProviderHealth
) -> None:
    ready(rig)
    assert told(rig) == [] and health(rig) is OK
    say(rig, states)
    rig.sleep(PERIOD_S + 5)
    assert told(rig) == [event] and health(rig) is shown
    rig.sleep(2 * PERIOD_S)
    assert told(rig) == [event], "it is the same trouble"
    say(rig, WELL)
    rig.sleep(PERIOD_S + 5)
    assert told(rig) == [event] and health(rig) is OK


def test_one_host_is_asked_in_a_period_and_then_another_one(rig: Rig) -> None:
    ready(rig)
    before = asked(rig)
    rig.sleep(4 * PERIOD_S)
    more = [now - then for now, then in zip(asked(rig), before, strict=True)]
    assert more == [2, 2]
