"""Random runs of labs with KMIP: connections and certificates go wrong there, and nowhere else."""

from __future__ import annotations

import msgspec
import pytest

from chaos.experiment.generate import RANDOM, RARE, Mix, kinds_drawn
from chaos.experiment.plan import Plan
from chaos.experiment.random_runs import random_plan
from chaos.faults.base import Drawn
from chaos.faults.kms_certificate import Becomes, CertificateSide, KmsCertificate
from chaos.lab import Directory
from lab.fuzz.world import CampaignWorld
from lab.schema.errors import KeysteadError
from protocol.terms import Role

OF_KMIP = kinds_drawn(Drawn.KMIP)
CONNECTIONS = {"link.reset", "link.stall"}
KMIP = CampaignWorld(lab="kmip", kms=2)


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    directory = KMIP.directory()
    return [random_plan(directory, seed, KMIP.mix) for seed in range(150)]


def kinds(plans: list[Plan]) -> set[str]:
    return {fault.kind for plan in plans for fault in plan.faults}


def test_their_key_servers_are_behind_kmip() -> None:
    for world, count in ((KMIP, 2), (CampaignWorld(lab="kmip"), 1)):
        servers = [one for one in world.directory().nodes if one.role is Role.KMS]
        assert len(servers) == count and all(one.by_kmip for one in servers)


def test_they_may_be_a_group() -> None:
    for mode in ("async", "forward"):
        world = CampaignWorld(lab="kmip", kms=3, kms_mode=mode)
        servers = [one for one in world.directory().nodes if one.role is Role.KMS]
        assert len(servers) == 3 and all(one.by_kmip for one in servers)
        assert {one.replication for one in servers} == {mode}
    with pytest.raises(KeysteadError, match="kms: 1, or 2 for a pair"):
        CampaignWorld(kms=3).topology()


def test_connections_and_certificates_go_wrong_there(plans: list[Plan]) -> None:
    assert kinds(plans) >= {*CONNECTIONS, *OF_KMIP}
    of_certificates = [
        fault.fault() for plan in plans for fault in plan.faults if fault.kind in OF_KMIP
    ]
    made = [fault for fault in of_certificates if isinstance(fault, KmsCertificate)]
    ways = {(fault.side, fault.becomes) for fault in made}
    assert len(made) == len(of_certificates) > 20
    drawn = [one for one in Becomes if one is not Becomes.KEY_LOST]  # that is played by SC-07
    assert ways == {(s, b) for s in CertificateSide for b in drawn} - {
        (CertificateSide.SERVER, Becomes.REVOKED)
    }
    assert {len(fault.servers) for fault in made if fault.side is CertificateSide.SERVER} == {1, 2}
    assert all(f.cure for plan in plans for f in plan.faults if f.kind in OF_KMIP)


def test_some_runs_are_without_certificates_that_go_wrong(plans: list[Plan]) -> None:
    have = sum(any(fault.kind in OF_KMIP for fault in plan.faults) for plan in plans)
    assert 0.1 < have / len(plans) < 0.6


def test_no_other_lab_has_them() -> None:
    bus = CampaignWorld(kms=2)
    plans = [random_plan(bus.directory(), seed, bus.mix) for seed in range(60)]
    assert not kinds(plans) & {*CONNECTIONS, *OF_KMIP}
    assert not {*OF_KMIP} & {*RANDOM, *RARE}
    named = [random_plan(bus.directory(), s, Mix(kinds=OF_KMIP)) for s in range(5)]
    assert not kinds(named), "its key servers are asked over the bus"


def test_a_door_alone_changes_nothing_but_what_is_of_it() -> None:
    """Where nobody asks by KMIP, plans are as they were before there was any."""
    directory, bus = KMIP.directory(), CampaignWorld(kms=2).directory()
    nodes = tuple(msgspec.structs.replace(one, by_kmip=False) for one in directory.nodes)
    without = Directory(nodes=nodes, vms=directory.vms, default_provider=bus.default_provider)
    for seed in range(20):
        here = random_plan(without, seed, KMIP.mix)
        assert here.faults == random_plan(bus, seed, KMIP.mix).faults
