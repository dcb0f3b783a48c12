"""vCenter's event log read to its end, and followed over a time when nobody answers."""

from __future__ import annotations

import pytest

from lab.client import Lab
from lab.schema.answers import LoggedEvent
from lab.schema.commands import GetEvents, GetStatus, HostPowerOff, HostPowerOn, VmCreate
from lab.schema.errors import KeysteadError
from lab.serve.waiting import all_events, follow_events

pytestmark = pytest.mark.sim


async def test_the_whole_log_comes_whatever_a_page_holds() -> None:
    async with Lab(hosts=1, vms=3, seed=5) as lab:
        whole = (await lab.do(GetEvents())).items
        pages: list[GetEvents] = []

        async def do(command: GetEvents) -> object:
            pages.append(command)
            return await lab.do(GetEvents(after=command.after, limit=2))

        assert await all_events(do) == whole  # type: ignore[arg-type]
        assert len(pages) == len(whole) // 2 + len(whole) % 2 + 1 > 3
        assert await all_events(lab.do, whole[2].sequence) == whole[3:]
        assert await lab.events(whole[-1].sequence) == ()


async def test_following_waits_while_vcenter_is_down_and_misses_nothing() -> None:
    async with Lab(hosts=1, vms=1, seed=5) as lab:
        away: list[str] = []
        looks = 0

        async def pause() -> None:
            nonlocal looks
            looks += 1
            if looks == 1:
                await lab.do(HostPowerOff(("vcenter",)))
            if looks == 4:
                await lab.do(HostPowerOn(("vcenter",)))
            if looks == 20:
                await lab.do(VmCreate("vm-new", encrypted=True))
            await lab.sleep(5)

        seen: list[LoggedEvent] = []
        async for events in follow_events(lab.do, pause, lambda error: away.append(error.id)):
            seen += events
            if any(e.vm == "vm-new" for e in seen):
                break
        assert away == ["KS-PRODUCT-001"], "told once, however long it takes"
        assert seen == list(await lab.events())[: len(seen)] and looks >= 20


async def test_the_first_look_says_what_is_wrong() -> None:
    async with Lab(hosts=1, vms=0, seed=5) as lab:
        await lab.do(HostPowerOff(("vcenter",)))
        following = follow_events(lab.do, lambda: lab.sleep(1), lambda error: None)
        with pytest.raises(KeysteadError):
            await anext(following)
        assert (await lab.do(GetStatus())).vcenter == "off"
