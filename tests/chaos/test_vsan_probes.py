"""Probes of encrypted vSAN, as ``test_probes`` has the others: yes, no, and nothing to see."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from chaos.draws import Draws
from chaos.history import History
from chaos.hypotheses.probes import PROBES, Measured, Scope, Sources
from chaos.observe.boots import Recoveries
from chaos.observe.guests import Guests
from chaos.observe.look import LabLook
from chaos.workload.base import OperationCounts
from protocol.terms import NodeName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
OF_VSAN: Final = frozenset({"vsan.mounted", "vsan.readable"})
HOSTS: Final = tuple(NodeName(f"esxi-00{number}") for number in (1, 2, 3))


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(use=getattr(request, "param", "vsan"), vms=0)
    yield made
    made.close()


def measure(world: World, probe: str) -> Measured:
    lab = world.lab
    sources = Sources(
        Guests(lab, Draws(1, "guests")),
        Recoveries(lab, History(None, lab.monotonic)),
        OperationCounts(),
    )
    asked: Any = PROBES[probe].measure(LabLook(lab), Scope(hosts=HOSTS), sources)
    found: Measured = world.run(asked)
    return found


def booted_alone(world: World, *hosts: NodeName) -> None:
    """They lose their power, and the key server is off."""
    world.run(world.lab.power_off(NodeName("kms"), "crash"))
    for host in hosts:
        world.run(world.lab.power_off(host, "power_loss"))
        world.run(world.lab.power_on(host))


def nothing(world: World) -> None:
    pass


def one(world: World) -> None:
    booted_alone(world, HOSTS[0])


def everyone(world: World) -> None:
    booted_alone(world, *HOSTS)


def off(world: World) -> None:
    world.run(world.lab.power_off(HOSTS[1], "crash"))


def torn(world: World) -> None:
    """One of two replicas is damaged where it lies: its host says so, the other reads right."""
    store = world.lab.world.stores[HOSTS[0]]
    path, data = next(
        (path.removeprefix("synced/"), bytearray(data))
        for path, data in store.images()
        if path.startswith("synced/vsan/") and b"object-1" in data
    )
    data[-1] ^= 1
    data[:4] = zlib.crc32(data[4:]).to_bytes(4, "big")
    store.on_disk.write(path, bytes(data))


CASES: list[tuple[str, Callable[[World], None], float, str]] = [
    ("vsan.mounted", nothing, 1.0, "all 3"),
    ("vsan.mounted", one, 2 / 3, "not: esxi-001"),
    ("vsan.mounted", everyone, 0.0, "not: esxi-001, esxi-002, esxi-003"),
    ("vsan.mounted", off, 2 / 3, "not: esxi-002"),
    ("vsan.readable", nothing, 1.0, "all 2"),
    ("vsan.readable", one, 1.0, "all 2"),
    ("vsan.readable", everyone, 0.0, "not: object-1, object-2"),
    ("vsan.readable", torn, 0.5, "not: object-1"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]} {c[1].__name__}")
def test_what_it_measures(
    world: World, case: tuple[str, Callable[[World], None], float, str]
) -> None:
    probe, act, value, detail = case
    act(world)
    assert measure(world, probe) == Measured(value, detail)
    assert {c[0] for c in CASES} == OF_VSAN


@pytest.mark.parametrize("world", ["default"], indirect=True)
@pytest.mark.parametrize("probe", sorted(OF_VSAN))
def test_where_there_is_no_vsan_it_says_so(world: World, probe: str) -> None:
    found = measure(world, probe)
    assert math.isnan(found.value) and found.detail
