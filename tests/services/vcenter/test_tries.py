"""What is told of a command that was tried more than once."""

from __future__ import annotations

import pytest

from protocol.errors import (
    Disconnected,
    HostUnreachable,
    NotConnected,
    NotSent,
    ProductError,
    TimedOut,
)
from protocol.messages.host.vms import HostPowerOnVm
from tests.services.vcenter.rig import VM, A, Rig


@pytest.mark.parametrize(
    ("tries", "told"),
    [
        ((TimedOut("late"), NotSent("down")), TimedOut),
        ((Disconnected("gone"), NotConnected("another session")), Disconnected),
        ((NotSent("down"), TimedOut("late")), TimedOut),
        ((NotSent("down"), NotSent("down")), NotSent),
        ((NotSent("down"), NotConnected("another session")), HostUnreachable),
    ],
)
def test_a_command_that_one_try_may_have_brought_is_never_said_not_to_have_happened(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
    tries: tuple[ProductError, ...],
    told: type[ProductError],
) -> None:
    """Found by a campaign: the host had powered the VM off, its answer was cut off, and the
    repeat could not be sent any more."""
    rig.up(A)
    session, left = rig.vcenter.sessions.usable(A), list(tries)

    whole = type(session)._send

    async def send(to: object, command: object, within_s: float | None = None) -> object:
        if isinstance(command, HostPowerOnVm):
            raise left.pop(0) if len(left) > 1 else left[0]
        return await whole(to, command, within_s)  # type: ignore[arg-type]

    async def command() -> None:
        with pytest.raises(told) as caught:
            await session.command(HostPowerOnVm(vm=VM))
        assert type(caught.value) is told

    monkeypatch.setattr(type(session), "_send", send)
    rig.run(command())
    assert left == [tries[-1]]
