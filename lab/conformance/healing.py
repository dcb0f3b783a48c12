"""A play that compares two runs: one that is disturbed and healed, one that is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lab.client import Lab
from lab.conformance.bench import Bench, holds, view, works
from lab.conformance.standard import HOSTS
from lab.conformance.trusted import ATTESTERS, KEY_SERVICES, LAB
from lab.schema import commands as c
from protocol.terms import PowerState, Role

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
