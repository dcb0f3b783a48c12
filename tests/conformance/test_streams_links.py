"""Rules of links over connections, in both drivers: on those that are open, and on new ones."""

from __future__ import annotations

import asyncio

import pytest

from protocol.errors import Disconnected, TimedOut
from protocol.messages.agent import CutRule, DelayRule, LossRule, ResetRule, StallRule
from services.runtime.incarnation import WayDown
from services.runtime.streams import HANDSHAKE_S
from tests.conformance.connected import (
    A,
    B,
    Pair,
    asked,
    pair,
    settled,
    with_later_answers,
    without_tasks,
)
from tests.conformance.talk import Bench, both

TO_B, TO_A = CutRule(id="cut", src=A, dst=B), CutRule(id="cut", src=B, dst=A)


async def a_cut_holds_what_is_sent(bench: Bench) -> None:
    """Nothing passes and nobody is told; when it heals the bytes arrive, in order."""
    two = await pair(bench)
    await two.listen()
    stream = await two.connect()
    assert await asked(stream) == b"HELLO"
    for rule in (TO_B, TO_A):
        bench.rules(rule)
        await stream.write(b"one ")
        await stream.write(b"two")
        with pytest.raises(TimeoutError):
            async with two.client.ports.clock.timeout(3):
                await stream.read(100)
        bench.rules()
        answer = b""
        async with two.client.ports.clock.timeout(10):
            while len(answer) < 7:
                answer += await stream.read(100)
        assert answer == b"ONE TWO"


async def nobody_connects_over_a_cut(bench: Bench) -> None:
    """In either direction: who asks hears nothing. It is counted as what the rule struck."""
    two = await pair(bench)
    await two.listen()
    for rule in (TO_B, TO_A):
        bench.rules(rule)
        with pytest.raises(TimedOut):
            await two.connect(within_s=3)
        assert sum(count.struck for count in bench.machine(rule.src).status().rules) > 0
    bench.rules()
    assert await asked(await two.connect()) == b"HELLO"


async def the_end_of_a_life_is_not_told_over_a_cut(bench: Bench) -> None:
    """Half-open: a connection to a server that is gone looks as one to a server that is slow."""
    two = await pair(bench)
    await two.listen()
    stream = await two.connect()
    assert await asked(stream) == b"HELLO"
    bench.rules(TO_A)
    await bench.machine(B).power_off(WayDown.CRASH)
    with pytest.raises(TimeoutError):
        async with two.client.ports.clock.timeout(3):
            await stream.read(100)
    bench.rules()
    with pytest.raises(Disconnected):
        async with two.client.ports.clock.timeout(10):
            await stream.read(100)


async def a_delay_makes_answers_late(bench: Bench) -> None:
    """Each part is as late as the rule has it, and parts do not wait for each other's delay."""
    two = await pair(bench)
    await two.listen()
    stream = await two.connect()
    bench.rules(DelayRule(id="slow", src=A, dst=B, base_s=1.0))
    clock = two.client.ports.clock
    before = clock.monotonic()
    for _ in range(5):
        await stream.write(b"x")
    answer = b""
    while len(answer) < 5:
        answer += await stream.read(100)
    assert 1.0 <= clock.monotonic() - before < 2.5


async def what_is_lost_is_sent_again(bench: Bench) -> None:
    """A rule that loses messages makes a connection slow, and changes none of its bytes."""
    two = await pair(bench)
    await two.listen()
    bench.rules(
        LossRule(id="to", src=A, dst=B, share=0.5), LossRule(id="from", src=B, dst=A, share=0.5)
    )
    stream = await two.connect(within_s=60)
    for number in range(4):
        said = f"message {number}".encode()
        assert await asked(stream, said) == said.upper()
    assert sum(count.struck for count in bench.machine(A).status().rules) > 0


async def a_reset_breaks_what_is_sent_over(bench: Bench) -> None:
    """An open connection breaks at both ends with the next bytes; so does a new one."""
    two = await pair(bench)
    await two.listen()
    stream, idle = await two.connect(), await two.connect()
    assert await asked(stream) == b"HELLO"
    bench.rules(ResetRule(id="rst", src=B, dst=A))
    with pytest.raises(Disconnected):
        await asked(stream)
    await settled(two, lambda: len(two.ended) == 1)
    assert isinstance(two.ended[0], Disconnected)
    with pytest.raises(Disconnected):
        await two.connect()
    assert [count.struck > 0 for count in bench.machine(B).status().rules] == [True]
    bench.rules()
    assert await asked(idle) == b"HELLO"
    stream = await two.connect()
    assert await asked(stream) == b"HELLO"
    bench.rules(ResetRule(id="rst", src=A, dst=B))
    with pytest.raises(Disconnected, match="was reset"):
        await stream.write(b"lost")


async def a_stall_holds_handshakes(bench: Bench) -> None:
    """Open connections go on; a new one gets no further, and neither end waits for ever."""
    two = await pair(bench)
    await two.listen()
    stream = await two.connect()
    bench.rules(StallRule(id="stall", src=A, dst=B))
    assert await asked(stream) == b"HELLO"
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(waits(two))
        await two.client.ports.clock.sleep(1)
        assert await asked(stream) == b"HELLO"
    assert asking.result() is None
    await settled(two, lambda: len(two.refused) == 1)
    bench.rules(StallRule(id="stall", src=A, dst=B))
    with pytest.raises((TimedOut, Disconnected)):
        await two.connect(within_s=HANDSHAKE_S + 10)
    assert isinstance(two.refused[1], TimedOut)
    bench.rules()
    assert await asked(await two.connect()) == b"HELLO"


async def waits(two: Pair) -> None:
    with pytest.raises(TimedOut):
        await two.connect(within_s=3)


async def a_node_that_stands_still_answers_when_it_goes_on(bench: Bench) -> None:
    """What was sent to it meanwhile is not lost."""
    two = await pair(bench)
    await two.listen()
    stream = await two.connect()
    assert await asked(stream) == b"HELLO"
    bench.machine(B).hold(True)
    await stream.write(b"later")
    with pytest.raises(TimeoutError):
        async with two.client.ports.clock.timeout(2):
            await stream.read(100)
    bench.machine(B).hold(False)
    assert await stream.read(100) == b"LATER"
    bench.machine(A).hold(True)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(asked(stream))
        await two.server.ports.clock.sleep(1)
        assert not asking.done() and bench.machine(A).status().state == "running"
        bench.machine(A).hold(False)
    assert asking.result() == b"HELLO"


test_a_cut_holds_what_is_sent = both(a_cut_holds_what_is_sent)
test_nobody_connects_over_a_cut = both(nobody_connects_over_a_cut)
test_the_end_of_a_life_is_not_told_over_a_cut = both(the_end_of_a_life_is_not_told_over_a_cut)
test_a_delay_makes_answers_late = both(a_delay_makes_answers_late)
test_what_is_lost_is_sent_again = both(what_is_lost_is_sent_again, pace=5)
test_a_reset_breaks_what_is_sent_over = both(a_reset_breaks_what_is_sent_over)
test_a_stall_holds_handshakes = both(a_stall_holds_handshakes)
test_a_node_that_stands_still = both(a_node_that_stands_still_answers_when_it_goes_on)

test_a_cut_without_tasks = both(without_tasks(a_cut_holds_what_is_sent))
test_a_delay_without_tasks = both(without_tasks(a_delay_makes_answers_late))
test_a_loss_without_tasks = both(without_tasks(what_is_lost_is_sent_again), pace=5)
test_a_reset_without_tasks = both(without_tasks(a_reset_breaks_what_is_sent_over))
test_a_stall_without_tasks = both(without_tasks(a_stall_holds_handshakes))
test_standing_still_without_tasks = both(
    without_tasks(a_node_that_stands_still_answers_when_it_goes_on)
)

test_a_cut_with_later_answers = both(with_later_answers(a_cut_holds_what_is_sent))
test_a_delay_with_later_answers = both(with_later_answers(a_delay_makes_answers_late))
test_standing_still_with_later_answers = both(
    with_later_answers(a_node_that_stands_still_answers_when_it_goes_on)
)
