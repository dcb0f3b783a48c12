"""Sessions: what a host admits of a controller's commands, and how they are numbered."""

from __future__ import annotations

import pytest

from protocol.errors import NotConnected
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.session import OpenSession
from protocol.terms import NodeName
from services.runtime.session import SessionCommands, SessionGuard

VCENTER, OTHER = NodeName("vcenter"), NodeName("vcenter-b")
NOT_IN_FORCE = "the session is not in force"


def command(session: str, number: int) -> RemoveKeys:
    return RemoveKeys(session=session, number=number, keys=())


def opened(session: str = "s", boot: int = 4) -> SessionGuard:
    guard = SessionGuard()
    guard.open(OpenSession(session=session, vcenter_boot=boot), VCENTER)
    return guard


def refusal(guard: SessionGuard, session: str, number: int, sender: NodeName = VCENTER) -> str:
    with pytest.raises(NotConnected) as caught:
        guard.admit(command(session, number), sender)
    return str(caught.value)


def test_before_any_session_nothing_is_admitted() -> None:
    guard = SessionGuard()
    assert (guard.session, guard.controller) == ("", None)
    assert refusal(guard, "", 1) == NOT_IN_FORCE
    assert refusal(guard, "s", 1) == NOT_IN_FORCE


def test_numbers_go_upwards_only_from_one_and_may_leave_some_out() -> None:
    guard = opened()
    assert refusal(guard, "s", 0) == "command 0 comes after 0"
    for number in (1, 2, 5):
        guard.admit(command("s", number), VCENTER)
    for late in (5, 4, 1):
        assert refusal(guard, "s", late) == f"command {late} comes after 5"
    guard.admit(command("s", 6), VCENTER)


def test_only_its_controller_speaks_in_a_session() -> None:
    guard = opened()
    assert (guard.session, guard.controller) == ("s", VCENTER)
    assert refusal(guard, "other", 1) == NOT_IN_FORCE
    assert refusal(guard, "s", 1, OTHER) == NOT_IN_FORCE
    guard.admit(command("s", 1), VCENTER)


@pytest.mark.parametrize("boot", [4, 5])
def test_a_session_of_the_same_or_a_later_life_takes_over_and_counts_anew(boot: int) -> None:
    guard = opened()
    guard.admit(command("s", 9), VCENTER)
    guard.open(OpenSession(session="t", vcenter_boot=boot), VCENTER)
    assert refusal(guard, "s", 10) == NOT_IN_FORCE
    guard.admit(command("t", 1), VCENTER)


def test_a_session_of_an_earlier_life_changes_nothing() -> None:
    guard = opened()
    guard.admit(command("s", 2), VCENTER)
    with pytest.raises(NotConnected, match=r"^session of an earlier boot of vCenter$"):
        guard.open(OpenSession(session="t", vcenter_boot=3), VCENTER)
    assert refusal(guard, "s", 2) == "command 2 comes after 2"
    guard.admit(command("s", 3), VCENTER)


def test_lives_of_two_controllers_are_not_compared() -> None:
    guard = opened()
    guard.open(OpenSession(session="t", vcenter_boot=1), OTHER)
    guard.admit(command("t", 1), OTHER)
    guard.open(OpenSession(session="u", vcenter_boot=1), VCENTER)


def test_a_controller_stamps_its_commands_with_one_number_each() -> None:
    commands = SessionCommands("s")
    assert commands.session == "s"
    plain = command("", 0)
    assert [commands.stamp(plain) for _ in range(3)] == [command("s", n) for n in (1, 2, 3)]
