"""Looks at many nodes: one question per agent, and none of them waits for another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from chaos.history import History
from chaos.observe.boots import Recoveries
from protocol import pages
from protocol.codec import encode_message
from protocol.errors import Internal, Malformed, NotConnected, TimedOut
from protocol.messages.agent import AskEach, NodeRunState
from protocol.messages.base import NIL
from protocol.messages.host.session import Esxcli, HostState, QueryHost
from protocol.terms import NodeName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
HOSTS = tuple(NodeName(f"esxi-00{number}") for number in (1, 2, 3, 4))


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=4, vms=4)
    yield made
    made.close()


def test_each_answers_for_itself_and_those_that_cannot_say_so(world: World) -> None:
    lab = world.lab
    world.run(lab.power_off(HOSTS[1], "power_loss"))
    world.run(lab.pause(HOSTS[2]))
    found = world.run(lab.ask_each(HOSTS, QueryHost()))
    assert list(found) == list(HOSTS)
    for host in (HOSTS[0], HOSTS[3]):
        answer = found[host]
        assert isinstance(answer, HostState)
        assert answer == world.run(lab.ask(host, QueryHost()))
    assert isinstance(found[HOSTS[1]], NotConnected) and isinstance(found[HOSTS[2]], NotConnected)


def test_one_that_takes_too_long_costs_the_others_nothing(world: World) -> None:
    lab = world.lab

    async def never(*_: Any) -> HostState:
        await lab.sleep(1e6)
        raise AssertionError("nobody waits so long")

    service: Any = lab.agent.machine(HOSTS[1]).runner.service
    service.query_host = never
    before = lab.monotonic()
    found = world.run(lab.ask_each(HOSTS, QueryHost(), within_s=5.0))
    assert lab.monotonic() - before < 6.0
    assert isinstance(found.pop(HOSTS[1]), TimedOut)
    assert all(isinstance(answer, HostState) for answer in found.values()) and len(found) == 3


@pytest.mark.parametrize("way", ["crash", "power_loss"])
def test_one_that_goes_down_while_it_is_asked_costs_the_others_nothing(
    world: World, way: str
) -> None:
    lab = world.lab

    def slow(host: NodeName, seconds: float) -> None:
        service: Any = lab.agent.machine(host).runner.service
        real = service.query_host

        async def query_host(*asked: Any) -> Any:
            await lab.sleep(seconds)
            return await real(*asked)

        service.query_host = query_host

    async def fall() -> None:
        await lab.sleep(1.0)
        await lab.power_off(HOSTS[1], way)

    for host in HOSTS:
        slow(host, 3.0)
    lab.world.spawn(None, "fall", fall())
    found = world.run(lab.ask_each(HOSTS, QueryHost(), within_s=10.0))
    assert not isinstance(found.pop(HOSTS[1]), HostState)
    assert all(isinstance(answer, HostState) for answer in found.values()) and len(found) == 3


def groups_asked(world: World) -> list[tuple[NodeName, ...]]:
    """The nodes of each message that the agent gets from now on."""
    asked: list[tuple[NodeName, ...]] = []
    real = world.lab.agent.ask_each

    async def noted(message: AskEach) -> Any:
        asked.append(message.nodes)
        return await real(message)

    world.lab.agent.handlers = {**world.lab.agent.handlers, AskEach: noted}
    return asked


def test_answers_that_do_not_fit_one_message_are_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = world.run(world.lab.ask_each(HOSTS, QueryHost()))
    monkeypatch.setattr("services.runtime.agent.first_page", partial(pages.first_page, budget=1))
    asked = groups_asked(world)
    assert world.run(world.lab.ask_each(HOSTS, QueryHost())) == whole
    assert asked[0] == HOSTS and sorted(asked[1:]) == [(host,) for host in HOSTS[1:]]


def test_answers_of_many_are_worked_out_once_when_it_is_known_what_they_weigh(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is left out of an answer that is full has worked for nothing, at each look."""
    whole = world.run(world.lab.ask_each(HOSTS, QueryHost()))
    weight = max(len(encode_message(answer)) for answer in whole.values())  # type: ignore[arg-type]
    room = int(2.5 * weight)
    monkeypatch.setattr("services.runtime.agent.first_page", partial(pages.first_page, budget=room))
    monkeypatch.setattr("lab.consoles.queries.PAGE_BUDGET", room)
    asked = groups_asked(world)
    for _ in range(3):
        asked.clear()
        assert world.run(world.lab.ask_each(HOSTS, QueryHost())) == whole
        assert sorted(host for group in asked for host in group) == list(HOSTS)
        assert max(map(len, asked)) == 2


def test_an_answer_that_fits_no_message_costs_the_others_nothing(world: World) -> None:
    """What goes over the wire in its place says nothing of those that are asked with it."""
    real = world.lab.agent.ask_each

    async def cut(message: AskEach) -> Any:
        if message.nodes[0] == HOSTS[1]:
            raise Internal("message of 5000000 bytes is over the limit of 4194304")
        return await real(msgspec.structs.replace(message, nodes=message.nodes[:1]))

    world.lab.agent.handlers = {**world.lab.agent.handlers, AskEach: cut}
    found = world.run(world.lab.ask_each(HOSTS, QueryHost()))
    assert isinstance(found.pop(HOSTS[1]), Internal)
    assert all(isinstance(answer, HostState) for answer in found.values()) and len(found) == 3


def test_an_agent_that_answers_for_none_is_not_asked_for_ever(world: World) -> None:
    asked: list[tuple[NodeName, ...]] = []
    real = world.lab.agent.ask_each

    async def empty(message: AskEach) -> Any:
        asked.append(message.nodes)
        reply = await real(message)
        answers = reply.answers[:2] if len(asked) == 1 else ()
        return reply if len(asked) > 5 else msgspec.structs.replace(reply, answers=answers)

    world.lab.agent.handlers = {**world.lab.agent.handlers, AskEach: empty}
    found = world.run(world.lab.ask_each(HOSTS, QueryHost()))
    assert asked == [HOSTS, HOSTS[2:]]
    assert [type(found[host]) for host in HOSTS] == [HostState, HostState, Internal, Internal]


def test_one_that_is_named_twice_is_asked_once(world: World) -> None:
    found = world.run(world.lab.ask_each((HOSTS[0], HOSTS[1], HOSTS[0]), QueryHost()))
    assert list(found) == [HOSTS[0], HOSTS[1]]
    assert world.run(world.lab.ask_each((), QueryHost())) == {}


def test_what_changes_something_is_asked_of_one_only(world: World) -> None:
    """An answer that does not fit is asked for again: that must do nothing twice."""
    found = world.run(world.lab.ask_each(HOSTS, Esxcli(arguments=("software", "vib", "list"))))
    assert {type(answer) for answer in found.values()} == {Malformed}
    with pytest.raises(Malformed):
        world.run(
            world.lab.agent.ask_each(AskEach(nodes=(), name="QueryHost", body=NIL, within_s=1.0))
        )


def test_statuses_are_those_of_all_that_can_be_asked(world: World) -> None:
    lab = world.lab
    world.run(lab.power_off(HOSTS[1], "crash"))
    world.run(lab.pause(HOSTS[2]))
    seen = world.run(lab.statuses())
    names = [entry.node for entry in lab.directory().nodes if entry.node != HOSTS[2]]
    assert list(seen) == names
    assert all(status == world.run(lab.status(node)) for node, status in seen.items())
    assert seen[HOSTS[1]].state is NodeRunState.OFF
    cheap = world.run(lab.statuses(counters=False))
    assert list(cheap) == names and not any(status.counters for status in cheap.values())
    assert lab.last_status(HOSTS[0]).counters, (
        "what is told in short does not replace what is known"
    )


def test_a_look_for_boots_does_not_grow_with_the_lab(world: World) -> None:
    """When nothing has booted, it takes no step of any node, and no step per host."""

    def steps(of: World) -> int:
        recoveries = Recoveries(of.lab, History(None, of.lab.monotonic))
        of.run(recoveries.begin())
        of.run(of.lab.sleep(0.000_1))
        before = of.lab.loop.steps
        of.run(recoveries.look(of.run(of.lab.statuses(counters=False))))
        return of.lab.loop.steps - before

    small = World(hosts=1, vms=1)
    try:
        assert steps(world) <= steps(small) + 5
    finally:
        small.close()
