"""The Streams half of the Bus port over both drivers: bytes, trust, time, and the ends of lives."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from functools import partial

import pytest

from protocol.crypto.certificates import (
    SEED_SIZE,
    SERIAL_SIZE,
    issue_certificate,
    new_key,
    public_key,
    self_signed,
)
from protocol.errors import (
    Disconnected,
    InvalidArgument,
    InvalidState,
    Refused,
    TimedOut,
    TlsFailure,
)
from protocol.messages.agent import DelayRule, ResetRule, StallRule
from protocol.secret import KeyMaterial
from services.runtime.incarnation import NodeDown, WayDown
from services.runtime.streams import DeferredAnswer, Stream, TlsIdentity
from tests.conformance.connected import (
    YEAR_S,
    A,
    B,
    Card,
    asked,
    both_at_once,
    in_a_later_step,
    pair,
    settled,
    with_later_answers,
    without_tasks,
)
from tests.conformance.talk import Bench, both


async def bytes_pass_both_ways(bench: Bench) -> None:
    """Each end knows the certificate that the other proved; a close is told."""
    two = await pair(bench)
    await two.listen()
    stream = await two.connect()
    assert await asked(stream) == b"HELLO"
    assert stream.peer == two.card_b.certificate
    assert two.served[0].peer == two.card_a.certificate
    big = bytes(range(97, 123)) * 40_000  # a megabyte: many records, more than an end holds
    assert await both_at_once(stream, big) == big.upper()
    stream.close()
    stream.close()
    with pytest.raises(Disconnected):
        await stream.write(b"x")
    with pytest.raises(Disconnected):
        await stream.read(1)
    await settled(two, lambda: two.ended == [None])


async def a_read_gives_no_more_than_is_asked(bench: Bench) -> None:
    """What was not asked for stays for the next one."""
    two = await pair(bench)
    await two.listen()
    stream = await two.connect()
    await stream.write(b"abcdef")
    assert await stream.read(2) == b"AB"
    assert await stream.read(100) == b"CDEF"


async def many_at_a_time(bench: Bench) -> None:
    """Connections do not mix, and each is served by a task of its own."""
    two = await pair(bench)
    await two.listen()
    found: dict[int, bytes] = {}

    async def talk(number: int) -> None:
        stream = await two.connect()
        found[number] = await asked(stream, f"from {number}".encode())
        stream.close()

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(talk(number))
    assert found == {n: f"FROM {n}".encode() for n in range(20)}


async def a_stranger_is_refused(bench: Bench) -> None:
    """A certificate that leads to none of the trusted ones: both ends hear why."""
    two = await pair(bench)
    await two.listen()
    now = two.server.ports.clock.now()
    stranger = Card("stranger", now - YEAR_S, now + YEAR_S)
    stream = await two.from_a.connect(B, stranger.trusting(two.card_b), within_s=5)
    with pytest.raises(TlsFailure, match="alert"):
        await asked(stream)
    assert not two.served
    assert [str(error) for error in two.refused] == [
        "the certificate of the other end was refused: self-signed certificate"
    ]
    assert bench.machine(B).status().counters["handshakes_failed"] == 1


async def a_stranger_shows_its_certificate(bench: Bench) -> None:
    """Who takes anyone sees what a server proves; a server judges all the same."""
    two = await pair(bench)
    await two.listen()
    looking = dataclasses.replace(two.card_a.trusting(), anyone=True)
    stream = await two.from_a.connect(B, looking, within_s=5)
    assert stream.peer == two.card_b.certificate
    stream.close()
    two.identity = dataclasses.replace(two.card_b.trusting(), anyone=True)
    refused = await two.from_a.connect(B, looking, within_s=5)
    with pytest.raises(TlsFailure, match="alert"):
        await asked(refused)


async def a_strange_server_is_refused(bench: Bench) -> None:
    """The client judges the server just so, and the server hears of it."""
    two = await pair(bench)
    await two.listen()
    with pytest.raises(TlsFailure, match="refused: self-signed certificate"):
        await two.from_a.connect(B, two.card_a.trusting(two.card_a), within_s=5)
    await settled(two, lambda: len(two.refused) == 1)
    assert "alert" in str(two.refused[0]) and not two.served


async def validity_is_judged_by_the_clock_of_who_judges(bench: Bench) -> None:
    """A server whose clock is ahead finds a certificate expired that its owner finds good."""
    two = await pair(bench)
    await two.listen()
    bench.machine(B).skew(2 * YEAR_S)
    stream = await two.connect()
    with pytest.raises(TlsFailure, match="certificate expired"):
        await asked(stream)
    assert str(two.refused[0]).endswith("certificate has expired")
    bench.machine(B).skew(-2 * YEAR_S)
    stream = await two.connect()
    with pytest.raises(TlsFailure):
        await asked(stream)
    assert "certificate is not yet valid" in str(two.refused[1])
    bench.machine(B).skew(0)
    assert await asked(await two.connect()) == b"HELLO"
    bench.machine(A).skew(2 * YEAR_S)
    with pytest.raises(TlsFailure, match="certificate has expired"):
        await two.connect()


async def trust_changes_while_it_listens(bench: Bench) -> None:
    """The identity is asked for at each handshake; a connection that is open stays open."""
    two = await pair(bench)
    await two.listen()
    early = await two.connect()
    two.identity = two.card_b.trusting(two.card_b)
    late = await two.connect()
    with pytest.raises(TlsFailure):
        await asked(late)
    assert await asked(early) == b"HELLO"


async def nobody_there(bench: Bench) -> None:
    """Refused where nobody listens or a process is down; silence where a machine is off."""
    two = await pair(bench)
    with pytest.raises(Refused, match="takes no connections"):
        await two.connect()
    listener = await two.listen()
    with pytest.raises(InvalidState):
        await two.listen()
    stream = await two.connect()
    assert await asked(stream) == b"HELLO"
    listener.close()
    assert await stream.read(1) == b""
    with pytest.raises(Refused):
        await two.connect()
    await bench.machine(B).power_off(WayDown.STOP)
    with pytest.raises(TimedOut):
        await two.connect(within_s=3)
    bench.rules(refusing=(B,))
    with pytest.raises(Refused, match="refuses connections"):
        await two.connect()


async def who_asks_early_is_let_in_when_it_listens(bench: Bench) -> None:
    """A machine that comes up while somebody asks is found."""
    two = await pair(bench)
    await bench.machine(B).power_off(WayDown.CRASH)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(two.connect(within_s=20))
        await two.client.ports.clock.sleep(0.5)
        await bench.machine(B).power_on({}, wait=True)
        two.server = bench.machine(B).runner
        await two.listen()
    assert await asked(asking.result()) == b"HELLO"


async def nobody_listens_with_what_is_of_no_use(bench: Bench) -> None:
    """A key that is another certificate's is told to who listens, not to each that comes."""
    two = await pair(bench)
    good = two.identity
    two.identity = dataclasses.replace(good, key=two.card_a.key)
    with pytest.raises(InvalidArgument):
        await two.listen()
    two.identity = good
    await two.listen()
    assert await asked(await two.connect()) == b"HELLO"


async def as_many_as_it_may(bench: Bench) -> None:
    """One more is refused; when one has gone there is room again."""
    two = await pair(bench)
    await two.listen(most=2)
    first, second = await two.connect(), await two.connect()
    assert await asked(first) == await asked(second) == b"HELLO"
    with pytest.raises(Refused, match="as many connections as it may"):
        await two.connect()
    first.close()
    await settled(two, lambda: len(two.ended) == 1)
    assert await asked(await two.connect()) == b"HELLO"


async def a_crash_breaks_and_a_stop_closes(bench: Bench) -> None:
    """The other end's connection is broken, or closed in order."""
    two = await pair(bench)
    await two.listen()
    stream = await two.connect()
    assert await asked(stream) == b"HELLO"
    await bench.machine(B).power_off(WayDown.CRASH)
    with pytest.raises(Disconnected):
        await asked(stream)
    await bench.machine(B).power_on({}, wait=True)
    two.server = bench.machine(B).runner
    await two.listen()
    stream = await two.connect()
    assert await asked(stream) == b"HELLO"
    await bench.machine(B).power_off(WayDown.STOP)
    assert await stream.read(1) == b""
    with pytest.raises(Disconnected):
        await stream.write(b"x")


async def a_client_that_crashes_ends_what_serves_it(bench: Bench) -> None:
    """The server's task hears of it."""
    two = await pair(bench)
    await two.listen()
    assert await asked(await two.connect()) == b"HELLO"
    await bench.machine(A).power_off(WayDown.POWER_LOSS)
    await two.server.ports.clock.sleep(0.5)
    assert len(two.ended) == 1 and isinstance(two.ended[0], Disconnected)
    assert bench.machine(B).status().counters["streams_broken"] == 1


async def a_defect_of_who_serves_ends_one_connection(bench: Bench) -> None:
    """It is counted and recorded as one of a request is; the node goes on."""
    two = await pair(bench)

    async def serve(stream: Stream) -> None:
        if await stream.read(100) == b"die":
            raise RuntimeError("a defect of the service")
        await stream.write(b"alive")

    await two.listen(serve)
    stream = await two.connect()
    await stream.write(b"die")
    assert await stream.read(1) == b""
    status = bench.machine(B).status()
    assert status.counters["internal_errors"] == 1 and status.state == "running"
    assert any(r.kind == "node.internal_error" for r in bench.records)
    assert await asked(await two.connect(), b"hello") == b"alive"


async def an_answer_without_a_task_is_one(bench: Bench) -> None:
    """What is not answered at once is read; a defect of who answers is one of who serves."""
    two = await pair(bench)
    shown, read = list[bytes](), list[bytes]()
    begun = asyncio.Event()

    def at_once(data: bytes) -> bytes | None:
        shown.append(data)
        if data == b"die":
            raise RuntimeError("a defect of the service")
        return b"at once" if data == b"quick" else None

    async def serve(stream: Stream) -> None:
        await stream.read(100)
        begun.set()
        while data := await stream.read(100, at_once):
            read.append(data)
            await stream.write(b"by task")

    await two.listen(serve)
    stream = await two.connect()
    await stream.write(b"begin")
    await begun.wait()
    for said, answer in ((b"quick", b"at once"), (b"slow", b"by task"), (b"quick", b"at once")):
        await stream.write(said)
        assert await stream.read(100) == answer
    assert shown == [b"quick", b"slow", b"quick"] and read == [b"slow"]
    await stream.write(b"die")
    assert await stream.read(1) == b""
    status = bench.machine(B).status()
    assert status.counters["internal_errors"] == 1 and status.state == "running"


async def answers_keep_their_order(bench: Bench) -> None:
    """However what is asked is cut and joined, whoever answers, and while a link holds answers."""
    two = await pair(bench)
    choose, asked_for = random.Random(7), [b"line %d\n" % number for number in range(80)]
    quick, slow = list[bytes](), list[bytes]()

    def at_once(data: bytes) -> bytes | DeferredAnswer | None:
        if data.find(b"\n") != len(data) - 1 or choose.random() < 0.2:
            return None
        quick.append(data)
        return in_a_later_step(data.upper()) if choose.random() < 0.5 else data.upper()

    async def serve(stream: Stream) -> None:
        held = b""
        while more := await stream.read(65_536, None if held else at_once):
            *lines, held = (held + more).split(b"\n")
            for line in lines:
                slow.append(line)
                await two.server.ports.clock.sleep(choose.choice([0.0, 0.02]))
                await stream.write(line.upper() + b"\n")

    def answered(lines: int) -> bool:
        return answer.count(b"\n") == lines

    async def ask(stream: Stream) -> None:
        left = b"".join(asked_for)
        while left:
            lines = left.splitlines(keepends=True)[: choose.choice([1, 1, 1, 1, 3])]
            size = max(1, sum(map(len, lines)) + choose.choice([0] * 7 + [-3]))
            await stream.write(left[:size])
            left = left[size:]
            if choose.random() < 0.1:
                late = DelayRule(id="late", src=B, dst=A, base_s=0.05, jitter_s=0.1)
                bench.rules(*choose.choice([(), (late,)]))
            if choose.random() < 0.8:
                whole = len(asked_for) - left.count(b"\n")
                await settled(two, partial(answered, whole))

    await two.listen(serve)
    stream, answer = await two.connect(), bytearray()
    async with asyncio.TaskGroup() as group:
        group.create_task(ask(stream))
        while answer.count(b"\n") < len(asked_for):
            answer += await stream.read(65_536)
    assert answer == b"".join(asked_for).upper()
    assert len(quick) > 5 and len(quick) + len(slow) == len(asked_for)


async def an_answer_that_follows_is_one(bench: Bench) -> None:
    """What comes meanwhile waits for it, a stop too; an error is one of the task, and so is the end
    of who would have it."""
    two = await pair(bench)
    promised, ended, shown = list[DeferredAnswer](), list[BaseException | None](), list[bytes]()

    def at_once(data: bytes) -> DeferredAnswer | None:
        shown.append(data)
        if data != b"promise":
            return None
        promised.append(DeferredAnswer())
        return promised[-1]

    async def serve(stream: Stream) -> None:
        try:
            while data := await stream.read(100, at_once):
                await stream.write(b"by task: " + data)
            ended.append(None)
        except BaseException as error:
            ended.append(error)
            raise

    async def begun() -> Stream:
        stream, count = await two.connect(), len(promised)
        await stream.write(b"begin")
        assert await stream.read(100) == b"by task: begin"
        await stream.write(b"promise")
        await settled(two, lambda: len(promised) > count)
        return stream

    listener = await two.listen(serve)
    stream = await begun()
    await stream.write(b"then")
    await two.client.ports.clock.sleep(0.2)
    assert shown.count(b"then") == 0 and len(promised) == 1
    promised.pop().set(b"kept ")
    answer = b""
    while len(answer) < 18:
        answer += await stream.read(100)
    assert answer == b"kept by task: then" and shown.count(b"then") == 1
    stream.close()
    await settled(two, lambda: ended == [None])
    stream = await begun()
    stream.close()
    await two.client.ports.clock.sleep(0.2)
    promised.pop().set(b"to nobody")
    await settled(two, lambda: len(ended) == 2)
    assert isinstance(ended[1], Disconnected)
    stream = await begun()
    promised.pop().set(RuntimeError("a defect of the service"))
    assert await stream.read(1) == b""
    assert bench.machine(B).status().counters["internal_errors"] == 1
    stream, other = await begun(), await begun()
    listener.close()
    promised.pop().set(b"to nobody")
    assert await other.read(100) == b""
    assert await stream.read(100) == b""
    promised.pop().set(b"to nobody")
    await settled(two, lambda: len(ended) == 5)


async def who_does_not_read_is_not_written_to(bench: Bench) -> None:
    """A writer waits when the other end does not read, and goes on when it does."""
    two = await pair(bench)
    gate = asyncio.Event()

    async def serve(stream: Stream) -> None:
        await gate.wait()
        while data := await stream.read(65_536):
            counted.append(len(data))

    counted: list[int] = []
    await two.listen(serve)
    stream = await two.connect()
    sent = 0
    with pytest.raises(TimeoutError):
        async with two.client.ports.clock.timeout(3):
            while sent < 64:
                await stream.write(bytes(256 * 1024))
                sent += 1
    assert 0 < sent < 16, "somebody holds all that was written"
    gate.set()
    await stream.write(b"more")
    stream.close()
    await settled(two, lambda: sum(counted) >= sent * 256 * 1024 + 4)


async def what_there_is_room_for_is_taken_at_once(bench: Bench) -> None:
    """Without a turn of the loop, until there is no room; a node that stands still has none."""
    two = await pair(bench)
    gate, counted = asyncio.Event(), list[int]()

    async def serve(stream: Stream) -> None:
        await gate.wait()
        while data := await stream.read(65_536):
            counted.append(len(data))

    await two.listen(serve)
    stream = await two.connect()
    assert stream.room >= 4096
    sent = 0
    while sent < 1 << 26 and (room := stream.room):
        writing = stream.write(bytes(room))
        with pytest.raises(StopIteration):
            writing.send(None)
        sent += room
    assert 4096 <= sent < 1 << 26
    gate.set()
    await settled(two, lambda: sum(counted) >= sent)
    await settled(two, lambda: stream.room >= 4096)
    bench.machine(A).hold(True)
    assert stream.room == 0
    bench.machine(A).hold(False)
    stream.close()


test_bytes_pass_both_ways = both(bytes_pass_both_ways)
test_a_read_gives_no_more_than_is_asked = both(a_read_gives_no_more_than_is_asked)
test_many_at_a_time = both(many_at_a_time)
test_a_stranger_is_refused = both(a_stranger_is_refused)
test_a_stranger_shows_its_certificate = both(a_stranger_shows_its_certificate)
test_a_strange_server_is_refused = both(a_strange_server_is_refused)
test_validity_is_judged_by_the_clock_of_who_judges = both(
    validity_is_judged_by_the_clock_of_who_judges
)
test_trust_changes_while_it_listens = both(trust_changes_while_it_listens)
test_nobody_there = both(nobody_there)
test_who_asks_early_is_let_in = both(who_asks_early_is_let_in_when_it_listens)
test_nobody_listens_with_what_is_of_no_use = both(nobody_listens_with_what_is_of_no_use)
test_as_many_as_it_may = both(as_many_as_it_may)
test_a_crash_breaks_and_a_stop_closes = both(a_crash_breaks_and_a_stop_closes)
test_a_client_that_crashes = both(a_client_that_crashes_ends_what_serves_it)
test_a_defect_of_who_serves = both(a_defect_of_who_serves_ends_one_connection)
test_an_answer_without_a_task = both(an_answer_without_a_task_is_one)
test_an_answer_that_follows = both(an_answer_that_follows_is_one)
test_answers_keep_their_order = both(answers_keep_their_order)
test_bytes_without_tasks = both(without_tasks(bytes_pass_both_ways))
test_bytes_with_later_answers = both(with_later_answers(bytes_pass_both_ways))
test_who_does_not_read_is_not_written_to = both(who_does_not_read_is_not_written_to)


async def who_has_no_certificate_to_show_lets_nobody_in(bench: Bench) -> None:
    """An identity that makes no sense is told to who listens; the node goes on."""
    two = await pair(bench)
    good = two.identity
    await two.listen()
    for bad in (
        TlsIdentity((), good.key, good.trusted),
        TlsIdentity((b"none",), good.key, good.trusted),
        TlsIdentity(two.card_a.trusting().chain, good.key, good.trusted),
        TlsIdentity(good.chain, KeyMaterial(b"none"), good.trusted),
        TlsIdentity(good.chain, good.key, (b"none",)),
    ):
        two.identity = bad
        with pytest.raises(Refused, match="no certificate to show"):
            await two.connect()
        with pytest.raises(InvalidArgument, match="identity"):
            await two.from_a.connect(B, bad, within_s=5)
    assert len(two.refused) == 5
    two.identity = good
    assert await asked(await two.connect()) == b"HELLO"


async def a_life_that_is_over_does_nothing(bench: Bench) -> None:
    """Each call of the port says so, those that wait too."""
    two = await pair(bench)
    await two.listen()
    stream = await two.connect()
    await bench.machine(A).power_off(WayDown.CRASH)
    identity = two.card_a.trusting(two.card_b)
    with pytest.raises(NodeDown):
        await stream.read(1)
    with pytest.raises(NodeDown):
        await stream.write(b"x")
    with pytest.raises(NodeDown):
        await two.from_a.connect(B, identity, within_s=5)
    with pytest.raises(NodeDown):
        await two.from_a.listen(lambda: identity, two.echo)


async def a_chain_leads_to_an_authority(bench: Bench) -> None:
    """A certificate under an authority is good where that one is trusted, or the leaf itself."""
    two = await pair(bench)
    now = two.server.ports.clock.now()
    start, end = now - YEAR_S, now + YEAR_S
    root = new_key(KeyMaterial(b"r" * SEED_SIZE))
    top = self_signed("root", root, bytes(SERIAL_SIZE), start, end, authority=True)
    key = new_key(KeyMaterial(b"l" * SEED_SIZE))
    leaf = issue_certificate(
        "leaf", public_key(key), b"\x02" * 16, start, end, issuer=top, issuer_key=root
    )
    trusted = (two.card_b.certificate,)
    await two.listen()
    for believed in (top, leaf):
        two.identity = TlsIdentity((two.card_b.certificate,), two.card_b.key, (believed,))
        identity = TlsIdentity((leaf,), key, trusted)
        stream = await two.from_a.connect(B, identity, within_s=5)
        assert await asked(stream) == b"HELLO"
        assert two.served[-1].peer == leaf
        stream.close()


async def canaries_need_no_service(bench: Bench) -> None:
    """They tell whether handshakes pass, whether somebody listens or not, and nobody hears."""
    two = await pair(bench)
    port = two.client.streams
    assert port is not None
    await port.canary(B, 5.0)
    await two.listen()
    bench.machine(B).skew(50 * YEAR_S)
    await port.canary(B, 5.0)
    assert not two.served and not two.refused
    bench.rules(ResetRule(id="rst", src=B, dst=A))
    with pytest.raises(Disconnected):
        await port.canary(B, 5.0)
    bench.rules(StallRule(id="stall", src=B, dst=A))
    with pytest.raises(TimedOut):
        await port.canary(B, 3.0)


test_who_has_no_certificate_to_show = both(who_has_no_certificate_to_show_lets_nobody_in)
test_a_life_that_is_over_does_nothing = both(a_life_that_is_over_does_nothing)
test_a_chain_leads_to_an_authority = both(a_chain_leads_to_an_authority)
test_canaries_need_no_service = both(canaries_need_no_service)
test_what_there_is_room_for_is_taken_at_once = both(what_there_is_room_for_is_taken_at_once)
