"""Plays over a whole course: the truth table in virtual time, two runs compared of which one is
disturbed and healed, and the order in which vCenter's events come.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.matrix.events import EVENTS
from chaos.matrix.faults import FAULTS
from chaos.matrix.grid import BLOCKS, cells_of
from chaos.matrix.terms import Agreement
from chaos.oracle.table import cells
from chaos.oracle.terms import Block, Letter, TableFault
from lab.client import Lab
from lab.conformance.bench import Bench, expect_refusal, holds, view, works
from lab.conformance.providers import HOSTS, PASS_S
from lab.conformance.trusted import ATTESTERS, KEY_SERVICES, LAB
from lab.matrix.run import MatrixOrder, at_once, play_matrix
from lab.schema import commands as c
from lab.schema.answers import LoggedEvent, Vm
from protocol.events import EventTypeId as Id
from protocol.messages.agent import TpmBackend
from protocol.terms import PowerState, Role

QUICK: Final = ((Block.S10, Block.S11), (TableFault.F1, TableFault.F2))
"""Blocks and faults of the part that is played where it is to be quick."""
_SHOWN: Final = 5


def truth_table(bench: Bench) -> str:
    """A23: every cell is as it is observed, by a play of its own. It blocks, and says how
    many cells it has played of how many that there are."""
    blocks, faults = QUICK if bench.quick else (BLOCKS, tuple(FAULTS))
    wanted = MatrixOrder(
        cells=cells_of(blocks, faults, tuple(EVENTS)),
        mode="sim",
        tpm=TpmBackend.MODEL,
        seed=bench.seed,
        jobs=at_once("sim"),
        patch=bench.patch,
    )
    folder, result = play_matrix(wanted, bench.report)
    if result.not_played:
        raise KeyboardInterrupt
    count = sum(row.verdict is Agreement.AGREE for row in result.cells)
    whole = sum(cell.letter is not Letter.NONE for cell in cells())
    what = f"{count} of {len(result.cells)} cells that were played agree, of {whole}"
    what += f" ({', '.join(blocks)} under {', '.join(faults)})" if bench.quick else ""
    wrong = [row for row in result.cells if row.verdict is not Agreement.AGREE]
    shown = [f"{row.block} {row.fault} {row.event} {row.verdict}: {row.why}" for row in wrong]
    shown += [f"{one.block}: {one.what}: {one.seen}" for one in result.controls if not one.held]
    holds(not shown, f"{what}; {'; '.join(shown[:_SHOWN])} ({folder.run})")
    return f"{what}; {len(result.controls)} controls hold ({folder.run})"


OUTAGE_S: Final = 900
WITHIN_S: Final = 900
"""Lab seconds after the heal in which the disturbed lab must be as the other one: a health period,
a pass of vCenter and what that brings, and a boot."""
LOOK_S: Final = 30

Seen = dict[str, Any]
"""``subject field`` -> what it is: of hosts, VMs, key providers and keys, for vCenter and hosts."""


async def as_undisturbed(bench: Bench) -> str:
    """A21: whatever was out, no key is lost and no lock is left once it is back."""
    took = []
    for name, topology, changes in (
        ("standard", "default", {"key_persistence": False}),
        ("stored keys", "default", {"key_persistence": True}),
        ("native", "native", {}),
        ("trusted", LAB, {}),
    ):
        async with bench.lab(topology, **changes) as lab:
            wanted = await _run_undisturbed(lab)
        async with bench.lab(topology, **changes) as lab:
            took.append(f"{name} in {await _run_disturbed(lab, name, wanted)} s")
    return f"after {OUTAGE_S} s of outage as without one: {', '.join(took)}"


async def _run_undisturbed(lab: Lab) -> Seen:
    await lab.power_loss(*HOSTS)
    await lab.sleep(OUTAGE_S + WITHIN_S)
    return await _state(lab)


async def _run_disturbed(lab: Lab, name: str, wanted: Seen) -> int:
    """How long it took; ``Violated`` with what differs at the end."""
    services = (*ATTESTERS, *KEY_SERVICES) if name == "trusted" else ()
    if services:
        await lab.do(c.HostPowerOff(services))
    servers = [str(spec.node) for spec in lab.topology.nodes if spec.role is Role.KMS]
    for host in HOSTS:
        await lab.cut("vcenter", host)
    for server in servers:
        await lab.cut("vcenter", server)
    await lab.power_loss(HOSTS[0])
    await lab.sleep(OUTAGE_S / 2)
    await lab.fault("vcenter.down")
    await lab.power_loss(HOSTS[1])
    await lab.sleep(OUTAGE_S / 2)
    if services:
        await lab.do(c.HostPowerOn(services))
    await lab.heal()
    differs: Mapping[str, str] = {}
    for passed in range(0, WITHIN_S + 1, LOOK_S):
        await _power_on(lab)
        differs = _compare_states(await _state(lab), wanted)
        if not differs:
            await _work(lab)
            return passed
        await lab.sleep(LOOK_S)
    shown = "; ".join(f"{what} {how}" for what, how in list(differs.items())[:4])
    holds(False, f"{name}: {WITHIN_S} s after the heal {len(differs)} things differ: {shown}")
    return 0


async def _power_on(lab: Lab) -> None:
    """What an administrator does with VMs that are off and can start: the time in which a host
    does it by itself after its boot is over."""
    for vm in await lab.vms():
        if vm.power is PowerState.OFF and not vm.missing and not vm.stale:
            await lab.vm_on(vm.vm)


async def _state(lab: Lab) -> Seen:
    """All that is to be the same, and nothing that counts or dates."""
    found: Seen = {}
    for host in await lab.hosts():
        own = await view(lab, host.host)
        for field in ("connection", "crypto_state", "crypto_key_id", "alarms", "stale", "machine"):
            found[f"{host.host} {field}"] = getattr(host, field)
        for field in ("crypto_state", "crypto_key_id", "cached_keys", "stored_keys", "providers"):
            found[f"{host.host} own {field}"] = getattr(own, field)
        for one in own.vms:
            found[f"{one.vm} on {host.host}"] = (one.power, one.crypto, one.connection, one.missing)
    for vm in await lab.vms():
        for field in ("host", "power", "connection", "crypto", "key", "missing", "alarms", "stale"):
            found[f"{vm.vm} {field}"] = getattr(vm, field)
    for provider in (await lab.do(c.GetProviders())).items:
        found[f"{provider.provider} status"] = (provider.status, provider.health)
    for key in (await lab.do(c.GetKeys())).items:
        found[f"{key.key} available"] = (key.available, key.reason)
    return found


def _compare_states(seen: Seen, wanted: Seen) -> dict[str, str]:
    return {
        what: f"is {_plain(seen, what)}, and without an outage {_plain(wanted, what)}"
        for what in dict.fromkeys((*wanted, *seen))
        if seen.get(what) != wanted.get(what)
    }


def _plain(state: Seen, what: str) -> str:
    return str(msgspec.to_builtins(state[what])) if what in state else "not there"


async def _work(lab: Lab) -> None:
    """Each guest answers from its disk."""
    for vm in await lab.vms():
        if vm.power is PowerState.ON:
            await works(lab, vm.vm, "after the heal")


KMS, VCENTER = "kms", "vcenter"
LOCKS = frozenset(id for id in Id if ".VMLocked." in id)
Step = Collection[Id]
"""One event of an order: any of these."""


async def in_order(bench: Bench) -> str:
    """A22: what is told comes after its cause, and only of whom it is about."""
    seen = [
        await _server_lost_and_back(bench),
        await _key_destroyed(bench),
        await _with_stored_keys(bench),
        await _authority_lost(bench),
        await _tell_backup(bench),
    ]
    return "; ".join(seen)


async def _server_lost_and_back(bench: Bench) -> str:
    async with bench.lab() as lab:
        vms = await _of_host(lab)
        after = await _last(lab)
        lost = await lab.cut(VCENTER, KMS)
        await lab.sleep(PASS_S)
        await lab.power_loss(HOSTS[0])
        await lab.sleep(PASS_S)
        told = await lab.events(after)
        for vm in vms:
            steps = (Id.KMS_UNREACHABLE, Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR)
            wanted = (*steps, Id.VM_LOCKED_KMS_CLUSTER_ERROR)
            _check_order(
                told, [{one} for one in wanted], vm, "its key server lost, its host rebooted"
            )
        after = await _last(lab)
        await lab.heal(lost)
        await lab.sleep(3 * PASS_S)
        told = await lab.events(after)
        for vm in vms:
            back: list[Step] = [{Id.HOST_CRYPTO_ENABLED}, {Id.VM_UNLOCKED}]
            _check_order(told, back, vm, "its key server back")
    return "a key server lost and back"


async def _key_destroyed(bench: Bench) -> str:
    async with bench.lab() as lab:
        (vm,) = await _of_host(lab)
        after = await _last(lab)
        await lab.do(c.KmsKeyDestroy(str(vm.key)))
        await lab.power_loss(*HOSTS)
        await lab.sleep(PASS_S)
        told = await lab.events(after)
        when = "its key destroyed, its host rebooted"
        _check_order(told, [{Id.HOST_CRYPTO_ENABLED}, {Id.VM_LOCKED_KEY_MISSING_ON_KMS}], vm, when)
        others = [one.vm for one in told if one.event in LOCKS and one.vm != vm.vm]
        holds(not others, f"{', '.join(map(str, others))}: told as locked by a key of {vm.vm}")
    return "a key destroyed"


async def _with_stored_keys(bench: Bench) -> str:
    async with bench.lab(key_persistence=True) as lab:
        await lab.sleep(PASS_S)
        (vm,) = await _of_host(lab)
        after = await _last(lab)
        await lab.cut(VCENTER, KMS)
        await lab.sleep(PASS_S)
        await lab.do(c.HostReboot(HOSTS[:1]))
        await lab.sleep(PASS_S)
        told = await lab.events(after)
        _check_order(told, [{Id.KMS_UNREACHABLE}], vm, "its key server lost")
        of_it = [
            one.event.value
            for one in told
            if one.vm == vm.vm or "ReqEnable" in one.event or one.event in LOCKS
        ]
        holds(not of_it, f"stored keys, its key server lost: told of {', '.join(of_it)}")
    return "the same with stored keys"


async def _authority_lost(bench: Bench) -> str:
    async with bench.lab(LAB) as lab:
        (vm,) = await _of_host(lab)
        after = await _last(lab)
        await lab.do(c.HostPowerOff((*ATTESTERS, *KEY_SERVICES)))
        await lab.sleep(PASS_S)
        await lab.power_loss(*HOSTS)  # no host is served any more
        await lab.sleep(2 * PASS_S)
        wanted: list[Step] = [
            {Id.KMS_TA_CLUSTER_NOT_AVAILABLE},
            {Id.TA_HOST_ATTEST_UNSET, Id.TA_HOST_ATTEST_FAIL},
            {Id.VM_LOCKED_TA_KMS_CLUSTER_UNAVAILABLE},
        ]
        _check_order(
            await lab.events(after), wanted, vm, "its Trust Authority lost, its host rebooted"
        )
    return "a Trust Authority lost"


async def _tell_backup(bench: Bench) -> str:
    async with bench.lab("native", vms=0) as lab:
        after = await _last(lab)
        await lab.do(c.ProviderCreate("second"))
        create = c.VmCreate("late", host=HOSTS[0], encrypted=True, provider="second")
        await expect_refusal(lab, create, "second", "a VM under a provider that is not backed up")
        before = [one.event for one in await lab.events(after) if one.provider == "second"]
        holds(before == [Id.KMS_NOT_BACKED_UP], f"not backed up: told of {before}")
        with tempfile.TemporaryDirectory() as folder:
            await lab.do(c.ProviderExport("second", str(Path(folder) / "second.p12")))
        told = [one.event for one in await lab.events(after) if one.provider == "second"]
        wanted = [Id.KMS_NOT_BACKED_UP, Id.KMS_ALL_BACKED_UP]
        holds(told == wanted, f"backed up: told of {', '.join(told)}")
    return "a native provider backed up"


def _check_order(told: Sequence[LoggedEvent], wanted: Sequence[Step], vm: Vm, when: str) -> None:
    """Each step was told, after the one before it: of this VM, of its host, or of neither."""
    about = [one for one in told if one.vm in (None, vm.vm) and one.host in (None, vm.host)]
    at = 0
    for step in wanted:
        found = next((n for n, one in enumerate(about) if n >= at and one.event in step), None)
        names = " or ".join(id.rpartition(".vc.")[2] for id in sorted(step))
        if found is None:
            early = any(one.event in step for one in about)
            how = "is told too early" if early else "is not told"
            holds(False, f"{vm.vm}, {when}: {names} {how}")
            return
        at = found + 1


async def _of_host(lab: Lab) -> list[Vm]:
    """The VMs of the host that is rebooted."""
    return [vm for vm in await lab.vms() if str(vm.host) == HOSTS[0]]


async def _last(lab: Lab) -> int:
    """The number of the last event."""
    return max((one.sequence for one in await lab.events()), default=0)
