"""The labs that a campaign draws, and what its runs have in them."""

from __future__ import annotations

import msgspec
import pytest

from chaos.experiment.random_runs import UNDRAWN, random_plan
from chaos.faults import FAULTS
from chaos.workload import OPERATIONS
from lab.fuzz.world import CHUNK, LABS, CampaignWorld, by_lab, draw_lab, number_of
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from protocol.messages.vcenter.providers import KeySpec
from protocol.terms import KeyType

DRAWN = CampaignWorld(drawn=True)


def test_a_seed_has_its_lab_whatever_else_is_played() -> None:
    assert [number_of(seed) for seed in range(6)] == [number_of(seed) for seed in range(6)]
    assert {number_of(seed) for seed in range(600)} == set(range(LABS))
    assert draw_lab(DRAWN, 7) == draw_lab(DRAWN, 7)


def test_every_lab_can_be_made_and_they_differ_in_all_that_is_drawn() -> None:
    labs = [draw_lab(DRAWN, number) for number in range(LABS)]
    for one in labs:
        one.topology()
    assert len({one.describe_lab() for one in labs}) > LABS * 3 // 4
    for field in ("lab", "hosts", "vms", "kms", "kms_mode", "providers", "clusters"):
        assert len({getattr(one, field) for one in labs}) > 1, field
    for field in ("without_tpm", "bus", "persistence", "key_type"):
        assert len({getattr(one, field) for one in labs}) > 1, field


def test_what_a_lab_is_told_to_have_it_has() -> None:
    made = CampaignWorld(hosts=3, vms=3, clusters=2, providers=2, without_tpm=1, bus=3)
    topology = made.topology()
    hosts = [spec for spec in topology.nodes if spec.role == "esxi"]
    assert len(hosts) == 6 and len({spec.cluster for spec in hosts}) == 2
    assert sum(not entry.tpm for entry in made.directory().nodes if entry.role == "esxi") == 2
    assert len(topology.providers) == 2 and topology.bus.servers == 3
    assert made.describe_lab() == (
        "default, 2 clusters, 3 hosts, 3 VMs, 2 providers, 1 without TPM, 3 bus servers"
    )


def test_wrapped_keys_are_those_of_standard_providers_of_a_vcenter_9() -> None:
    made = CampaignWorld(providers=2, key_type="wrappedKey")
    topology = made.topology()
    specs = [provider.keys for provider in topology.providers]
    assert [isinstance(one, KeySpec) and one.key_type for one in specs] == [KeyType.WRAPPED] * 2
    assert [one.version for one in load("default", **made.use["with"]).vcenters] == ["9.0"]
    assert made.describe_lab() == "default, 4 hosts, 8 VMs, 2 providers, wrapped keys"
    with pytest.raises(KeysteadError, match="no standard key provider"):
        CampaignWorld(lab="native", key_type="wrappedKey").topology()


def test_the_mix_and_the_patch_of_a_campaign_hold_in_every_lab() -> None:
    world = msgspec.structs.replace(DRAWN, patch="a.module", knobs={})
    assert {
        (one.patch, tuple(one.knobs), one.mix) for one in (draw_lab(world, n) for n in range(9))
    }
    assert draw_lab(world, 3).patch == "a.module" and not draw_lab(world, 3).drawn


def test_seeds_of_one_lab_come_together_and_none_is_lost() -> None:
    found = list(by_lab(range(CHUNK + 40)))
    assert sorted(seed for _, some in found for seed in some) == list(range(CHUNK + 40))
    assert all(number_of(seed) == number for number, some in found for seed in some)
    assert len({number for number, _ in found[:LABS]}) == LABS


@pytest.mark.slow
def test_all_kinds_and_operations_are_drawn_in_some_lab() -> None:
    kinds, operations = set[str](), set[str]()
    for seed in range(400):
        world = draw_lab(DRAWN, number_of(seed))
        plan = random_plan(world.directory(), seed, world.mix, topology=world.use)
        kinds |= {fault.kind for fault in plan.faults}
        operations |= {arrival.op for arrival in plan.arrivals}
    assert {fault.kind for fault in FAULTS} - kinds == set(UNDRAWN)
    assert set(OPERATIONS) - operations == set()
