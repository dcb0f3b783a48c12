"""The labs of an assertion, how one is found not to hold, and what plays look at and do behind the
backs of a lab's nodes (``Lab.beside``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from lab.building.course import Report
from lab.client import Lab
from lab.core import LabCore
from lab.forensics.forensics import Forensics
from lab.scan.search import Found, SearchedPlace, SecretWatch, place_of, search
from lab.schema import commands as c
from lab.schema.answers import HostView, Vm
from lab.schema.errors import KeysteadError
from protocol.subjects import parse_link
from protocol.terms import HostCryptoState, NodeName, PowerState, VmCryptoState
from services.esxi.configuration.archive import FILE, read_protection


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


class Keys(msgspec.Struct, frozen=True):
    """Persisted keys that were found: how many ``archived`` ones an administrator's recovery key
    opens, and the paths of places in which any of them lies in clear."""

    archived: int
    clear: tuple[str, ...]


class SealedKey(msgspec.Struct, frozen=True):
    """SHA-256 of what a host's TPM has sealed, and the bytes of the archive that it is in."""

    digest: bytes
    archive: bytes


async def search_disk(lab: LabCore, node: str) -> Found:
    """Look for every secret on everything that ``node`` has on its disk, its database too, as it
    was written and as it is synced."""
    return _watch(lab).search_places(await _disk(lab, node))


async def search_bus(lab: LabCore) -> Found:
    """Look for every secret in every message that was said since the lab was begun."""
    return _watch(lab).search_places(_watch(lab).wire)


async def texts_on_disk(lab: LabCore, node: str, texts: list[str]) -> list[str]:
    """Those of these texts that lie anywhere on the disk of ``node``."""
    return _find_texts(texts, await _disk(lab, node))


async def texts_on_bus(lab: LabCore, texts: list[str]) -> list[str]:
    """Those of these texts that were in any message."""
    return _find_texts(texts, _watch(lab).wire)


async def keys_on(lab: LabCore, host: str) -> Keys:
    """The persisted keys of a host that runs: in its archive, and elsewhere on its disk."""
    found = await Forensics(lab).keys_on(NodeName(host))
    archived = {id for path, ids in found.items() if FILE in path for id in ids or ()}
    clear = [path for path, ids in found.items() if FILE not in path and ids]
    return Keys(len(archived), tuple(clear))


async def read_sealed_key(lab: LabCore, host: str) -> SealedKey:
    """What lies on the host's disk; nobody is asked."""
    archive = await lab.disk_file(NodeName(host), FILE)
    sealed = read_protection(archive).sealed
    raw = b"" if sealed is None else sealed.private + sealed.public
    return SealedKey(hashlib.sha256(raw).digest(), archive)


async def put_archive(lab: LabCore, host: str, archive: bytes) -> None:
    """Let a host that is off find this archive at its next boot."""
    await lab.put_disk_file(NodeName(host), FILE, archive)


async def count_sent_by(lab: LabCore, host: str) -> int:
    """How many messages a node has sent to others since the lab was begun."""
    links = (parse_link(place.name) for place in _watch(lab).wire)
    return sum(link is not None and link.src == host != link.dst for link in links)


async def list_reasons(lab: LabCore, kind: str, since: float) -> list[str]:
    """The reasons in log lines of that kind, of all nodes, since then (lab seconds)."""
    lines = await lab.log_lines(kind, since)
    return [f"{line.fields.get('status', '')} {line.fields.get('reason', '')}" for line in lines]


async def now_s(lab: LabCore) -> float:
    """Lab seconds."""
    return lab.monotonic()


def _watch(lab: LabCore) -> SecretWatch:
    if lab.watch is None:
        raise ValueError("this lab was not made to be searched")
    return lab.watch


async def _disk(lab: LabCore, node: str) -> list[SearchedPlace]:
    """Everything of that node's disk, by the sorts of places that exemptions know."""
    found = []
    for path, data in await lab.at_rest():
        real = path.startswith("nodes/")
        kind = "database" if "/databases/" in path else "disk"
        place = place_of(Path(path), data) if real else SearchedPlace(kind, path, data)
        if place.name.startswith(f"{node}/"):
            found.append(place)
    return found


def _find_texts(texts: list[str], places: list[SearchedPlace]) -> list[str]:
    wanted = {text.encode(): text for text in texts}
    met = {find.secret for find in search(wanted, places)}
    return [text for text in texts if text in met]
