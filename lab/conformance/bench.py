"""The labs of an assertion, and how one is found not to hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from lab.building.course import Report
from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import HostView, Vm
from lab.schema.errors import KeysteadError
from protocol.terms import HostCryptoState, PowerState, VmCryptoState


def unheard(text: str, step: int, total: int) -> None:
    """Nobody listens."""


class Violated(Exception):
    """What was seen is not what is asserted; its text is for people."""


def holds(so: bool, text: str) -> None:
    """``Violated`` with ``text``, what was seen, when it is not so."""
    if not so:
        raise Violated(text)


Mode = Literal["sim", "lab"]


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """Makes labs, in virtual time or of real processes (``mode``). ``seed`` fixes what happens in
    virtual time; ``patch`` is a module that is imported before any node is made. ``quick``: a play
    that is long plays a part, and says so; ``report`` hears how far it has come."""

    mode: Mode = "sim"
    seed: int = 1
    patch: str = ""
    quick: bool = False
    report: Report = unheard

    def lab(self, topology: str = "default", *, watched: bool = False, **changes: Any) -> Lab:
        """A small lab of that name; ``watched``: one that can be searched."""
        tpm = "model" if self.mode == "sim" else "libtpms"
        small: dict[str, Any] = {"hosts": 2, "vms": 2, "tpm": tpm, **changes}
        return Lab(
            self.mode,
            topology=topology,
            seed=self.seed,
            patch=self.patch,
            watched=watched,
            **small,
        )


async def view(lab: Lab, host: str) -> HostView:
    """What the host sees of itself, asked at its console."""
    return await lab.do(c.GetHostView(host))


async def stays(
    lab: Lab, hosts: Iterable[str], wanted: HostCryptoState, seconds: int, when: str
) -> None:
    """Each host is in that state now and every ten seconds from now on, for so long."""
    for _ in range(seconds // 10):
        for host in hosts:
            seen = (await view(lab, host)).crypto_state
            holds(seen is wanted, f"{host} is {seen.value} {when}, and not {wanted.value}")
        await lab.sleep(10)


async def all_run(lab: Lab, vms: Iterable[Vm], when: str, *, guests: bool = True) -> None:
    """By each host's own view, its VMs of those run; their ``guests`` answer from their disks,
    which vCenter must be there for: it tells where they are."""
    for vm in vms:
        seen = await view(lab, str(vm.host))
        power, crypto = next(
            ((one.power, one.crypto) for one in seen.vms if one.vm == vm.vm), (None, None)
        )
        told = "not there" if power is None else power.value
        holds(power is PowerState.ON, f"{vm.vm} is {told} on {vm.host} {when}")
        holds(crypto is VmCryptoState.UNLOCKED, f"{vm.vm} is {crypto} on {vm.host} {when}")
        if guests:
            await works(lab, vm.vm, when)


async def works(lab: Lab, vm: str, when: str) -> None:
    """The VM's guest answers a challenge from its disk."""
    try:
        await lab.do(c.VmGuestChallenge(vm, b"conformance", (1, 3)))
    except KeysteadError as error:
        raise Violated(f"the guest of {vm} does not answer {when}: {error}") from None


async def starts(lab: Lab, vm: str, when: str) -> None:
    """It is powered on by vCenter, and its guest answers."""
    for done in await lab.vm_on(vm):
        holds(not done.error, f"{vm} is not powered on {when}: {done.error}")
    await lab.sleep(10)
    await works(lab, vm, when)


async def start_refused(lab: Lab, vm: str, named: str, when: str) -> None:
    """Its power-on by vCenter is refused, and the message names that."""
    for done in await lab.vm_on(vm):
        holds(bool(done.error), f"{vm} is powered on {when}")
        holds(named in str(done.error), f"{vm} is refused {when}: {done.error}; not by {named}")


async def expect_refusal(
    lab: Lab, command: c.Command[Any], fault: str, what: str, user: str = ""
) -> None:
    """The command fails for ``user`` (empty: the administrator); its message names the fault."""
    try:
        await lab.do(command, user=user)
    except KeysteadError as error:
        holds(fault in str(error), f"{what}: refused by {error}, and not by {fault}")
        return
    raise Violated(f"{what}: it was done, and not refused by {fault}")
