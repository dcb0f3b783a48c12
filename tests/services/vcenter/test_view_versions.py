"""vCenter's heartbeat asks with the version of the view that it has, and misses nothing by that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from protocol.errors import HostUnreachable
from protocol.messages.agent import DelayRule
from protocol.messages.host.session import CheckForUpdates, HostSummary, UpdateSet
from protocol.terms import NodeName, PowerState
from services.runtime.service import Peer
from tests.services.vcenter.peers import VCENTER, ScriptedHost
from tests.services.vcenter.rig import VM, A, Rig


class Answers:
    """What a scripted host answers to heartbeats, in order; ``sent`` has the views in them."""

    def __init__(self, rig: Rig) -> None:
        service = rig.services[A]
        assert isinstance(service, ScriptedHost)
        self.asked: list[str] = []
        self.sent: list[HostSummary | None] = []
        self._check: Callable[[CheckForUpdates, Peer], Awaitable[UpdateSet]] = service.check
        service.check = self.answer  # type: ignore[method-assign]

    async def answer(self, message: CheckForUpdates, peer: Peer) -> UpdateSet:
        update = await self._check(message, peer)
        self.asked.append(message.version)
        self.sent.append(update.summary)
        return update


def test_a_view_travels_once_and_again_when_it_is_another(rig: Rig) -> None:
    rig.up(A)
    rig.vm(encrypted=False)
    answers = Answers(rig)
    rig.sleep(60)
    assert answers.sent.count(None) >= 5 and answers.sent[-4:] == [None] * 4
    assert answers.asked[-1] and set(answers.asked[-4:]) == {answers.asked[-1]}
    rig.hosts[A].vms[VM].power = PowerState.ON
    rig.sleep(11)
    assert rig.vm_info().power is PowerState.ON
    rig.sleep(30)
    del rig.hosts[A].vms[VM]
    rig.sleep(11)
    assert not rig.vcenter.sessions.listing(VM)
    assert len([view for view in answers.sent if view is not None]) == 3


@pytest.mark.parametrize("who", [VCENTER, A])
def test_who_has_booted_has_no_version(rig: Rig, who: NodeName) -> None:
    rig.up(A)
    rig.sleep(30)
    rig.reboot(who)
    answers = Answers(rig)
    rig.sleep(30)
    assert answers.asked[0] == "" and answers.sent[0] is not None
    assert answers.asked[-1] != "" and answers.sent[-1] is None


def test_what_a_command_was_thought_to_do_is_over_when_the_host_says_as_it_was(rig: Rig) -> None:
    rig.up(A)
    rig.sleep(30)
    session = rig.vcenter.sessions.usable(A)
    before = session.summary
    session.view.apply(in_maintenance_mode=True)
    assert session.summary != before
    answers = Answers(rig)
    assert rig.run(session.look()) == before == session.summary
    assert answers.sent == [None]


def test_a_late_answer_about_an_older_view_hides_no_newer_one(rig: Rig) -> None:
    """Two looks at once: the first hears "as it was" after the second has heard of a new view."""
    rig.up(A)
    rig.vm(encrypted=False)
    rig.sleep(31)
    session = rig.vcenter.sessions.usable(A)
    old = session.summary
    late = DelayRule(id="cut", src=A, dst=VCENTER, base_s=2.0)

    async def looks() -> tuple[HostSummary, HostSummary]:
        rig.world.rules.apply(rig.rules.put([late]))
        first = asyncio.ensure_future(session.look())
        await rig.world.sleep(0.5)
        rig.heal()
        rig.hosts[A].vms[VM].power = PowerState.ON
        second = await session.look()
        return await first, second

    first, second = rig.run(looks())
    assert first == old and second.vms[0].power is PowerState.ON
    assert rig.run(session.look()) == second == session.summary


def test_a_host_that_names_a_view_which_it_never_sent_has_not_answered(rig: Rig) -> None:
    rig.up(A)
    rig.sleep(30)
    service = rig.services[A]
    assert isinstance(service, ScriptedHost)

    async def lies(message: CheckForUpdates, peer: Peer) -> UpdateSet:
        return UpdateSet(version="9/9")

    service.check = lies  # type: ignore[method-assign]

    async def look() -> None:
        with pytest.raises(HostUnreachable, match="never sent"):
            await rig.vcenter.sessions.usable(A).look()

    rig.run(look())
    rig.sleep(45)
    lost = [record.fields["reason"] for record in rig.records if record.kind == "host.lost"]
    assert lost and "never sent" in lost[0]
