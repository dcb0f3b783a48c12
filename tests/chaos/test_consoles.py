"""``host.console``: what a console prints in each form, and each lie that must be noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from chaos.draws import Draws
from chaos.history import History, Record
from chaos.observe.guests import Guests
from chaos.workload import Arrival, Means, perform
from chaos.workload.base import OperationCounts
from chaos.workload.consoles import REFUSED, differs
from protocol.messages.host.session import Esxcli, EsxcliResult
from protocol.terms import NodeName
from tests.chaos.bad_labs import Bad
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
Change = Callable[[tuple[str, ...], EsxcliResult], EsxcliResult]


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=2)
    yield made
    made.close()


def console(world: World, change: Change | None = None, target: str = "vm-01") -> Record:
    """How the operation ends where answers of consoles are changed so."""
    bad: Any = Bad(world)
    real = bad.ask

    async def ask(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        answer = await real(node, message, within_s=within_s)
        if change is not None and isinstance(message, Esxcli):
            return change(message.arguments, answer)
        return answer

    bad.ask = ask
    history = History(None, bad.monotonic)
    means = Means(bad, Guests(bad, Draws(1, "guests")))
    arrival = Arrival(at=0.0, op="host.console", target=target, number=1)
    world.run(perform(means, arrival, history, OperationCounts()))
    return history.records[-1]


def printed(when: Callable[[tuple[str, ...]], bool], **fields: Any) -> Change:
    """Commands for which ``when`` holds answer with these fields."""
    return lambda words, answer: msgspec.structs.replace(answer, **fields if when(words) else {})


def test_a_sound_console_says_the_same_in_each_form(world: World) -> None:
    ended = console(world)
    assert ended.type == "ok" and "wrong" not in ended.data


def test_nobody_is_asked_about_a_vm_that_no_host_has(world: World) -> None:
    ended = console(world, target="vm-99")
    assert (ended.type, ended.data["error"]) == ("fail", "no host answers for it")


def test_a_command_that_fails_is_told(world: World) -> None:
    broken = printed(lambda words: "version" in words, exit_code=1, output="no")
    assert console(world, broken).data["wrong"] == "system version get: no"


def test_a_vm_that_is_not_listed_is_told(world: World) -> None:
    empty = printed(lambda words: "process" in words, output="[]")
    assert "vm process list: [] run, and the host says" in console(world, empty).data["wrong"]


@pytest.mark.parametrize("command", REFUSED)
def test_what_is_not_refused_is_told(world: World, command: tuple[str, ...]) -> None:
    taken = printed(lambda words: words == command, exit_code=0)
    assert console(world, taken).data["wrong"] == f"{' '.join(command)} is not refused"


@pytest.mark.parametrize(
    ("plain", "first", "second", "told"),
    [
        ("Mode: TPM", '{"Mode": "TPM"}', '{"Mode": "TPM"}', ""),
        ("On: true", '[{"On": true}]', '[{"On": true}]', ""),
        ("Mode: TPM", "Mode: TPM", "{}", "it is no JSON: Mode: TPM"),
        (
            "Mode: TPM",
            "{}",
            '{"Mode": "TPM"}',
            "the option is read in one of two spellings",
        ),
        ("Mode: NONE", '{"Mode": "TPM"}', '{"Mode": "TPM"}', "its text lacks TPM"),
    ],
)
def test_forms_that_do_not_agree_are_told(plain: str, first: str, second: str, told: str) -> None:
    assert differs(plain, first, second) == told
