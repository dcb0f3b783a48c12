"""The Tpm port of one life, on both backends and with both runners."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from protocol.terms import NodeName
from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.quote import policy_pcr_digest
from protocol.tpm.structures import PCR_SECURE_BOOT, EkKind, EventType, MeasuredEvent
from services.runtime import ports
from services.runtime.incarnation import Incarnation, NodeDown, WayDown
from services.runtime.tpm.device import TpmDevice
from services.runtime.tpm.latency import LATENCY_S
from services.runtime.tpm.port import InlineRunner, PoolRunner, Runner, TpmPort

SECRET = bytes(32)
EVENT = MeasuredEvent(7, EventType.EFI_ACTION, b"boot")
HOST = NodeName("esxi-001")


@dataclass
class Charged:
    """A sleep that takes no time and notes what it was asked for."""

    seconds: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture(params=["inline", "pool"])
async def runner(request: pytest.FixtureRequest) -> AsyncIterator[Runner]:
    if request.param == "inline":
        yield InlineRunner(Charged().sleep)
    else:
        pool = PoolRunner(Charged().sleep, threads=2)
        yield pool
        pool.close()


def test_port_is_the_port_of_services(tpm: TpmDevice) -> None:
    port: ports.Tpm = TpmPort(tpm, Incarnation(HOST, 1), InlineRunner(Charged().sleep))
    calls = {name for name in vars(ports.Tpm) if not name.startswith("_")}
    assert calls == {label for label in LATENCY_S if not label.startswith("vtpm.")}
    assert calls <= set(dir(port))


async def test_every_call_reaches_the_device(tpm: TpmDevice, runner: Runner) -> None:
    port = TpmPort(tpm, Incarnation(HOST, 1), runner)
    await port.power_on()
    assert (await port.extend_log([EVENT])).endswith(b"boot")
    values = await port.pcrs(PCR_SECURE_BOOT)
    assert await port.ensure_srk() == tpm.ensure_srk()
    blob = await port.seal(SECRET, policy_pcr_digest(PCR_SECURE_BOOT, values))
    assert await port.unseal(blob, PCR_SECURE_BOOT) == SECRET
    assert await port.ek(EkKind.ECC_P256) == tpm.ek(EkKind.ECC_P256)
    assert await port.ak() == tpm.ak()
    assert (await port.quote(PCR_SECURE_BOOT, b"n")).pcr_values == (values[7],)
    assert await port.counter(0x01800001, bump=True) == await port.counter(0x01800001)
    await port.nv_write(0x01800002, b"data")
    assert await port.nv_read(0x01800002) == b"data"
    with pytest.raises(TpmError) as caught:
        await port.activate(b"", b"")
    assert caught.value.rc == 0x1D5
    assert not (await port.info()).failed
    await port.power_off(orderly=True)
    assert not tpm.powered
    with pytest.raises(TpmError) as caught:
        await port.info()
    assert caught.value.kind is TpmErrorKind.GONE


async def test_calls_are_served_in_order(tpm: TpmDevice, runner: Runner) -> None:
    port = TpmPort(tpm, Incarnation(HOST, 1), runner)
    await port.power_on()
    got: list[int] = []

    async def bump() -> None:
        got.append(await port.counter(0x01800001, bump=True))

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(bump())
    assert got == list(range(got[0], got[0] + 8))


async def test_one_call_at_a_time(tpm: TpmDevice) -> None:
    inside: list[int] = [0, 0]

    async def sleep(seconds: float) -> None:
        inside[0] += 1
        inside[1] = max(inside)
        await asyncio.sleep(0)
        inside[0] -= 1

    tpm.power_on()
    port = TpmPort(tpm, Incarnation(HOST, 1), InlineRunner(sleep))
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(port.ensure_srk())
    assert inside == [0, 1]


async def test_ended_life_does_nothing(tpm: TpmDevice, runner: Runner) -> None:
    life = Incarnation(HOST, 1)
    port = TpmPort(tpm, life, runner)
    await port.power_on()
    values = tpm.pcrs(PCR_SECURE_BOOT)
    life.end(WayDown.CRASH)
    with pytest.raises(NodeDown):
        await port.extend_log([EVENT])
    with pytest.raises(NodeDown):
        await port.power_off(orderly=True)
    assert tpm.pcrs(PCR_SECURE_BOOT) == values


async def test_life_that_ends_during_a_call_hears_nothing(tpm: TpmDevice) -> None:
    life = Incarnation(HOST, 1)

    async def sleep(seconds: float) -> None:
        life.end(WayDown.CRASH)  # the life in force when the call is charged

    tpm.power_on()
    port = TpmPort(tpm, life, InlineRunner(sleep))
    with pytest.raises(NodeDown):
        await port.extend_log([EVENT])
    life = Incarnation(HOST, 2)
    port = TpmPort(tpm, life, InlineRunner(sleep))
    with pytest.raises(NodeDown):
        await port.counter(0x01800001)  # refused, and that is not heard either
    assert tpm.pcrs(PCR_SECURE_BOOT)[7] != bytes(32)


async def test_queued_call_of_an_ended_life_never_reaches_the_next_one(tpm: TpmDevice) -> None:
    """The thread is ready to work when its life ends and the next one begins."""
    pool = PoolRunner(threads=1)
    life = Incarnation(HOST, 1)
    port = TpmPort(tpm, life, pool)
    await port.power_on()
    entered, go = threading.Event(), threading.Event()

    def occupy() -> None:
        entered.set()
        go.wait(30)

    busy = asyncio.ensure_future(pool.run("test", occupy))
    late = asyncio.ensure_future(port.extend_log([EVENT]))
    while not entered.is_set():
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    life.end(WayDown.CRASH)
    tpm.cut_power()
    tpm.power_on()
    go.set()
    await busy
    with pytest.raises(NodeDown):
        await late
    assert tpm.pcrs(PCR_SECURE_BOOT)[7] == bytes(32)
    pool.close()


async def test_cutting_power_waits_for_the_command_at_work(tpm: TpmDevice) -> None:
    """Who holds the turn is not disturbed: the power goes before or after, never within."""
    tpm.power_on()
    cut = threading.Thread(target=tpm.cut_power)
    with tpm.exclusive():
        cut.start()
        log = tpm.extend_log([EVENT])
        assert tpm.powered
    cut.join()
    assert log
    assert not tpm.powered


async def test_cancelled_call_leaves_the_port_usable(tpm: TpmDevice, runner: Runner) -> None:
    port = TpmPort(tpm, Incarnation(HOST, 1), runner)
    await port.power_on()
    task = asyncio.ensure_future(port.ensure_srk())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await port.ensure_srk() == tpm.ensure_srk()


async def test_latency_depends_on_the_call_only(tpm: TpmDevice) -> None:
    charged = Charged()
    port = TpmPort(tpm, Incarnation(HOST, 1), InlineRunner(charged.sleep))
    await port.power_on()
    await port.extend_log([EVENT])
    await port.extend_log([EVENT] * 20)
    with pytest.raises(TpmError):
        await port.counter(0x01800001)
    names = ("power_on", "extend_log", "extend_log", "counter")
    assert charged.seconds == [LATENCY_S[name] for name in names]


async def test_delay_of_the_lab(tpm: TpmDevice, runner: Runner) -> None:
    charged = Charged()
    rules: dict[str, Callable[[str], float]] = {
        "slow": lambda label: 0.5 if label == "unseal" else 0.0
    }
    tpm.delay(rules["slow"])
    port = TpmPort(tpm, Incarnation(HOST, 1), InlineRunner(charged.sleep))
    await port.power_on()
    await port.ensure_srk()
    values = await port.pcrs(PCR_SECURE_BOOT)
    blob = await port.seal(SECRET, policy_pcr_digest(PCR_SECURE_BOOT, values))
    assert 0.5 not in charged.seconds
    await port.unseal(blob, PCR_SECURE_BOOT)
    assert charged.seconds[-2:] == [LATENCY_S["unseal"], 0.5]
    tpm.delay(None)
    await port.unseal(blob, PCR_SECURE_BOOT)
    assert charged.seconds[-1] == LATENCY_S["unseal"]
