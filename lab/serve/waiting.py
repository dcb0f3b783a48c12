"""Read and follow vCenter's event log, and wait until a lab has a state: ``vm.running=all``,
``fault.active=none``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from lab.schema.answers import Host, LoggedEvent, Vm
from lab.schema.commands import Command, GetEvents, GetFaults, GetHosts, GetVms
from lab.schema.errors import KeysteadError
from protocol.printable import did_you_mean, quote_if_needed
from protocol.terms import HostConnectionState, HostCryptoState, PowerState, VmCryptoState

A = TypeVar("A")

# The product's refusals while vCenter is down; everything else ends the following.
_VCENTER_AWAY = ("KS-PRODUCT-001", "KS-USE-002")


class Do(Protocol):
    """Does a command on some lab."""

    async def __call__(self, command: Command[A]) -> A: ...


async def all_events(do: Do, after: int = 0) -> tuple[LoggedEvent, ...]:
    """Every event with a number above ``after``, oldest first, however many there are."""
    found: list[LoggedEvent] = []
    while True:
        page = (await do(GetEvents(after=after))).items
        if not page:
            return tuple(found)
        found += page
        after = page[-1].sequence


async def follow_events(
    do: Do,
    pause: Callable[[], Awaitable[None]],
    away: Callable[[KeysteadError], None],
    after: int = 0,
) -> AsyncIterator[tuple[LoggedEvent, ...]]:
    """Events above ``after``, then those that come, without end; ``pause`` is between two looks.

    The first look raises what is wrong with the lab. Later, while vCenter does not answer,
    ``away`` is called once with its refusal; it is waited for.
    """
    first, away_said = True, False
    while True:
        try:
            found = await all_events(do, after)
        except KeysteadError as error:
            if first or error.id not in _VCENTER_AWAY:
                raise
            if not away_said:
                away(error)
            away_said = True
        else:
            away_said = False
            after = found[-1].sequence if found else after
            if found or first:
                yield found
        first = False
        await pause()


def _vm_runs(vm: Vm) -> bool:
    return vm.power is PowerState.ON and vm.crypto is not VmCryptoState.LOCKED and not vm.stale


def _safe(host: Host) -> bool:
    return host.crypto_state is HostCryptoState.SAFE and not host.stale


_States = dict[str, Callable[[Any], bool]]
_NOUNS: dict[str, tuple[Command[Any], str, _States]] = {
    "vm": (
        GetVms(),
        "vm",
        {
            "running": _vm_runs,
            "off": lambda vm: vm.power is PowerState.OFF,
            "locked": lambda vm: vm.crypto is VmCryptoState.LOCKED,
            "unlocked": lambda vm: vm.crypto is VmCryptoState.UNLOCKED,
        },
    ),
    "host": (
        GetHosts(),
        "host",
        {
            "connected": lambda host: host.connection is HostConnectionState.CONNECTED,
            "running": lambda host: host.machine == "running",
            "off": lambda host: host.machine == "off",
            "halted": lambda host: host.machine == "halted",
            "safe": _safe,
        },
    ),
    "fault": (GetFaults(), "id", {"active": lambda fault: True}),
}
STATES = tuple(f"{noun}.{state}" for noun, (_, _, states) in _NOUNS.items() for state in states)
# What is refused while vCenter is down; it may come back while one waits.
_AWAY = ("KS-PRODUCT-001", "KS-USE-002")


@dataclass(frozen=True)
class Condition:
    """One condition, read by ``condition``."""

    text: str
    noun: str
    state: str
    wanted: str

    async def missing(self, do: Do) -> str:
        """What is not as it should be yet; empty when the condition holds."""
        command, key, states = _NOUNS[self.noun]
        items = (await do(command)).items
        there = [str(getattr(item, key)) for item in items]
        are = [name for name, item in zip(there, items, strict=True) if states[self.state](item)]
        match self.wanted:
            case "all":
                lacking = [name for name in there if name not in are]
                return f"not {self.state}: {', '.join(lacking)}" if lacking or not there else ""
            case "none":
                return f"{self.state}: {', '.join(are)}" if are else ""
            case number if number.isdecimal():
                return "" if len(are) == int(number) else f"{len(are)} {self.state}"
            case names:
                self._check_there(names.split(","), there)
                lacking = [name for name in names.split(",") if name not in are]
                return f"not {self.state}: {', '.join(lacking)}" if lacking else ""

    def _check_there(self, wanted: Sequence[str], there: Sequence[str]) -> None:
        """KS-USE-003 for a VM or host that is not there; a fault may still come."""
        for name in wanted if self.noun != "fault" else ():
            if name not in there:
                text = f"--for {self.text}: there is no {self.noun} {quote_if_needed(name)}"
                raise KeysteadError("KS-USE-003", text + did_you_mean(name, there))


def condition(text: str) -> Condition:
    """``text`` as a condition; KS-USE-003 names what there is."""
    what, sign, wanted = text.partition("=")
    if what not in STATES:
        raise KeysteadError(
            "KS-USE-003", f"--for {text}: {what or 'nothing'} is none of {', '.join(STATES)}"
        )
    if not sign or not wanted:
        raise KeysteadError(
            "KS-USE-003", f"--for {text}: write {what}=all, =none, a number, or names"
        )
    noun, _, state = what.partition(".")
    return Condition(text, noun, state, wanted)


async def wait_for(
    do: Do,
    pause: Callable[[], Awaitable[None]],
    conditions: Sequence[Condition],
    over: Callable[[], bool],
) -> None:
    """Return when all conditions hold in one look; KS-WAIT-001 says what does not when ``over``.

    ``pause`` is between two looks.
    """
    while True:
        missing = []
        for one in conditions:
            try:
                lacking = await one.missing(do)
            except KeysteadError as error:
                if error.id not in _AWAY:
                    raise
                lacking = str(error)
            if lacking:
                missing.append(f"{one.text}: {lacking}")
        if not missing:
            return
        if over():
            raise KeysteadError("KS-WAIT-001", "; ".join(missing))
        await pause()
