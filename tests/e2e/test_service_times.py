"""Nodes whose work takes time: the simulation slows down by what the Lab file says, and replays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.serve.machines import fetch_node
from lab.serve.table import perform
from lab.topology.lab_file import load
from protocol.terms import NodeName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
HSM = {"profile": "hsm", "nodes": {"kms": {"times": {"CreateKey": "2s"}}}}


TIMES = {"*": "20ms", "wakeup": "20ms", "cold": "1ms", "db.transact": "2ms", "disk.sync": "2ms"}


def play(seed: int, service_times: Mapping[str, Any] | None) -> tuple[float, str, dict[str, int]]:
    """Encrypt a VM: lab seconds, trace, and the counters of the key server's work."""
    world = World(seed, hosts=1, vms=1, tpm="none", service_times=service_times)
    begin = world.lab.monotonic()
    world.run(perform(world.session, c.VmCreate("fresh", encrypted=True)))
    node = world.run(fetch_node(world.session, NodeName("kms")))
    work = {name: value for name, value in node.counters.items() if name.startswith("work_")}
    seconds, trace = world.lab.monotonic() - begin, world.lab.loop.trace.hash()
    world.close()
    return seconds, trace, work


def test_a_key_takes_the_service_time_of_its_key_server_and_a_seed_replays_it() -> None:
    quick, plain_trace, none = play(3, None)
    slow, trace, work = play(3, HSM)
    assert not none and work["work_served"] > 0 and work["work_busy_ms"] >= 2000
    assert slow - quick == pytest.approx(2, abs=0.3)
    assert play(3, HSM)[1] == trace != plain_trace
    empty = play(3, {"nodes": {"kms": {"cores": 4}}})
    assert empty[1] == plain_trace  # the queue itself draws nothing and takes no step


def test_work_of_all_processes_shares_the_cores_of_a_machine_and_a_seed_replays_it() -> None:
    def shared(cores: int, hop: str = "1ms") -> tuple[float, str, dict[str, int]]:
        nodes = {
            "bus": {"cores": cores, "times": {"*": hop}},
            "client": {"times": {"Ask": "1ms", "Ask.reply": "1ms"}},
            **{role: {"times": dict(TIMES)} for role in ("kms", "vcenter", "esxi")},
        }
        return play(
            3, {"machine": {"cores": cores, "delay": "0.1ms", "after": 0.9}, "nodes": nodes}
        )

    wide_s, trace, work = shared(16)
    assert work["work_served"] > 0
    assert shared(16)[1] == trace
    assert shared(1)[0] > wide_s
    assert shared(16, "20ms")[0] > wide_s + 0.1  # each request and each reply is a hop


def test_processes_take_time_to_wake_up_on_cores_of_their_own_too() -> None:
    quick_s, _, _ = play(3, {"nodes": {"kms": {"times": {"*": "1ms"}}}})
    slow = {"nodes": {"kms": {"times": {"*": "1ms", "wakeup": "300ms"}}}}
    slow_s, trace, work = play(3, slow)
    assert slow_s > quick_s + 0.25 and work["work_busy_ms"] > 300
    assert play(3, slow)[1] == trace


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            {"kms": {"times": {"CreateKez": "2ms"}}},
            "no class of work CreateKez; did you mean Create",
        ),
        ({"kms-7": {"cores": 2}}, "no node kms-7, nor a role: vcenter, kms"),
        ({"kms": {"times": {"*": 5}}}, "a time needs a unit"),
        ({"kms": {"cores": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_service_time_is_refused_by_its_name(nodes: dict[str, Any], said: str) -> None:
    with pytest.raises(KeysteadError, match=said):
        load("default", service_times={"nodes": nodes})


def test_a_profile_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(KeysteadError, match=r"profile fast cannot be read.*shipped ones:.*hsm"):
        load("default", service_times={"profile": "fast"})
