"""Persisted keys are found in the archives of a disk, and wherever else one lies in clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from chaos.checks.keys.nothing_left import nothing_left
from chaos.checks.result import CheckOutcome
from chaos.history import History
from chaos.observe.key_values import Remains
from lab.building.provision import esxcli
from lab.forensics.forensics import Forensics, recovery_key_of, values_in
from lab.simulation.sim_lab import SimLab
from protocol.terms import NodeName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
HOST = NodeName("esxi-001")
REMOVE = "system security keypersistence disable --remove-all-stored-keys"
Plant = Callable[[SimLab, bytes], None]


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=1, vms=2, key_persistence=True)
    yield made
    made.close()


def in_a_file(lab: SimLab, key: bytes) -> None:
    lab.world.stores[HOST].on_disk.write("tmp/left.bin", b"xyz" + key)


def in_hexadecimal(lab: SimLab, key: bytes) -> None:
    lab.world.stores[HOST].on_disk.write("tmp/left.txt", key.hex().encode())


def in_the_tpm(lab: SimLab, key: bytes) -> None:
    nv = lab.world._nv[HOST]
    nv.store(nv.load() + key)


def nowhere(lab: SimLab, key: bytes) -> None:
    """It is gone."""


@pytest.mark.parametrize(
    ("plant", "place"),
    [
        (in_a_file, "written/tmp/left.bin"),
        (in_hexadecimal, "written/tmp/left.txt"),
        (in_the_tpm, "tpm"),
        (nowhere, ""),
    ],
)
def test_a_removed_key_that_lies_elsewhere_is_found(world: World, plant: Plant, place: str) -> None:
    history = History(None, world.lab.monotonic)
    remains = Remains(history, Forensics(world.lab).keys_on)
    assert world.run(remains.look(HOST, "before")) == 3  # two VMs, and the host's own
    way = world.run(recovery_key_of(world.lab, HOST))
    images = dict(world.run(world.lab.disk_images(HOST)))
    key = next(iter(values_in(images["written/bootbank/state.tgz"], way)))
    world.run(esxcli(world.lab, HOST, REMOVE))
    plant(world.lab, key)
    left = world.run(remains.look(HOST, "answered"))
    found = nothing_left(history.records)
    if place:
        assert (left, found.result) == (1, CheckOutcome.FAIL)
        assert found.text.startswith(f"1 keys in {place} of {HOST}")
        assert history.records[found.records[0] - 1].data["when"] == "answered"
    else:
        assert (left, found.result) == (0, CheckOutcome.PASS)


def test_a_tpm_keeps_something_and_a_host_without_one_nothing(world: World) -> None:
    assert len(world.run(world.lab.tpm_nv(HOST))) > 100
    assert world.run(world.lab.tpm_nv(NodeName("kms"))) == b""
