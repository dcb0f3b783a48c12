"""Plays about what guards secrets: what seals a host's configuration (its TPM, and what it boots),
and searches for keys on vCenter's disk and on the bus.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from lab.client import Lab
from lab.conformance import bench as behind
from lab.conformance.bench import Bench, all_run, holds, starts, stays, view
from lab.conformance.providers import HOSTS, PASS_S
from lab.schema import commands as c
from lab.schema.answers import MachineState
from lab.schema.errors import KeysteadError
from protocol.terms import HostCryptoState

RECOVERY = "system settings encryption recovery list"
VIOLATION = "A security violation was detected"


async def without_its_tpm(bench: Bench) -> str:
    """A06: what lies on a disk opens with the TPM that sealed it, or with a recovery key, and with
    nothing else [CFG-05]."""
    searched = stored = 0
    async with bench.lab(key_persistence=True, watched=True) as lab:
        for host, kind in zip(HOSTS, ("tpm.clear", "tpm.swap"), strict=True):
            await lab.power_loss(host)
            await lab.sleep(60)
            searched += await _in_clear(lab, host, "while it runs")
            keys = await lab.beside(behind.keys_on, host)
            holds(keys.archived > 0, f"{host}: no key is in its archive")
            holds(not keys.clear, f"{host}: stored keys lie in clear in {', '.join(keys.clear)}")
            typed = (await lab.esx(host, RECOVERY)).split()[-1]
            await lab.fault(kind, on=host)
            await _boots(lab, host, MachineState.HALTED, f"after {kind}")
            searched += await _in_clear(lab, host, f"after {kind}")
            await _boots(lab, host, MachineState.RUNNING, "with its recovery key", typed=typed)
            searched += await _in_clear(lab, host, "after its recovery")
            left = (await view(lab, host)).stored_keys
            holds(left > 0, f"{host}: the recovery key opens an empty store")
            stored += left
    return (
        f"cleared and replaced: the boot stops, and no key lies in clear in {searched} files; "
        f"a recovery key opens the {stored} stored keys"
    )


async def policy_violated(bench: Bench) -> str:
    """A07: another Secure Boot policy stops the boot; the recovery key opens the same store
    [REC-05]."""
    host, other = HOSTS
    async with bench.lab(key_persistence=True, watched=True) as lab:
        vms = [vm for vm in await lab.vms() if str(vm.host) == host]
        stored = (await view(lab, host)).stored_keys
        typed = (await lab.esx(host, RECOVERY)).split()[-1]
        changed = await lab.fault("host.boot_measure", on=host, secure_boot=False)
        await lab.do(c.HostPowerOff((host,)))
        sent = await lab.beside(behind.count_sent_by, host)
        await _boots(lab, host, MachineState.HALTED, "with Secure Boot off")
        await lab.sleep(300)
        said = await lab.beside(behind.count_sent_by, host) - sent
        holds(said == 0, f"{host} has sent {said} messages after its boot was stopped")
        await _serves_nobody(lab, host)
        seen = (await lab.host(other)).crypto_state
        holds(seen is HostCryptoState.SAFE, f"{other} is {seen} while {host} is stopped")
        await lab.fault("vcenter.down")
        await _boots(lab, host, MachineState.RUNNING, "with its recovery key", typed=typed)
        await lab.sleep(60)
        await stays(lab, (host,), HostCryptoState.SAFE, 10, "after its recovery key was typed")
        now = (await view(lab, host)).stored_keys
        holds(now == stored, f"{host} has {now} stored keys after its recovery, and had {stored}")
        await all_run(lab, vms, "after its host's recovery, vCenter down", guests=False)
        await lab.heal(changed)
        await _boots(lab, host, MachineState.RUNNING, "with Secure Boot on again")
    return f"stopped before any service; the recovery key brings the same {stored} stored keys back"


async def another_hosts_archive(bench: Bench) -> str:
    """A25: each host's config key is sealed by its own TPM, and by no other [CFG-01]."""
    async with bench.lab(key_persistence=True) as lab:
        found = {host: await lab.beside(behind.read_sealed_key, host) for host in HOSTS}
        one, two = (found[host] for host in HOSTS)
        holds(one.digest != two.digest, "both hosts have the same sealed key on their disks")
        await lab.do(c.HostPowerOff(HOSTS))
        found = {host: await lab.beside(behind.read_sealed_key, host) for host in HOSTS}
        for host, other in (HOSTS, HOSTS[::-1]):
            await lab.beside(behind.put_archive, host, found[other].archive)
            await _boots(lab, host, MachineState.HALTED, f"with the configuration of {other}")
            await lab.do(c.HostPowerOff((host,)))
            await lab.beside(behind.put_archive, host, found[host].archive)
            await _boots(lab, host, MachineState.RUNNING, "with its own configuration again")
    return "each host stops at the other's configuration, and boots with its own"


async def _in_clear(lab: Lab, host: str, when: str) -> int:
    """No secret lies in clear on its disk; how many files were searched."""
    found = await lab.beside(behind.search_disk, host)
    holds(found.secrets > 0 and found.places > 0, f"{host}: nothing was searched {when}")
    holds(not found.leaks, f"{host} {when}: {'; '.join(found.leaks[:3])}")
    return found.places


async def _boots(lab: Lab, host: str, wanted: MachineState, when: str, *, typed: str = "") -> None:
    """Powered off and on, the machine ends as it is wanted; a stopped one names the violation."""
    options: Mapping[str, str] = {"encryptionRecoveryKey": typed} if typed else {}
    await lab.do(c.HostPowerOff((host,)))
    (row,) = (await lab.do(c.HostPowerOn((host,), dict(options)))).items
    holds(
        row.machine is wanted, f"{host} is {row.machine.value} {when}: {row.screen or 'no screen'}"
    )
    if wanted is MachineState.HALTED:
        holds(VIOLATION in row.screen, f"{host} stops {when}, and its screen says: {row.screen}")


async def _serves_nobody(lab: Lab, host: str) -> None:
    """Not even its own console answers."""
    try:
        seen = await view(lab, host)
    except KeysteadError:
        return
    holds(False, f"{host} answers at its console after its boot was stopped: {seen.crypto_state}")


VCENTER, SERVER = "vcenter", "kms"


async def vcenter_keeps_none(bench: Bench) -> str:
    """A09: vCenter has ids of keys and no keys, whatever it did with them [TA-06]."""
    searches = secrets = 0
    for topology in ("default", "trusted"):
        async with bench.lab(topology, watched=True) as lab:
            for when, act in (
                ("after the build", None),
                ("after a new key", c.VmCreate("new", host=HOSTS[0], encrypted=True)),
                ("after a recrypt", c.VmRecrypt("vm-01")),
                ("after a host's reboot", c.HostPowerLoss(HOSTS[:1])),
                ("after its own reboot", c.HostPowerLoss((VCENTER,))),
            ):
                if act is not None:
                    await lab.do(act)
                    await lab.sleep(60)
                secrets += await _no_keys(lab, f"{topology}, {when}")
                searches += 1
    return f"{searches} searches of its disk and database, each for some {secrets // searches} keys"


async def _no_keys(lab: Lab, when: str) -> int:
    """How many secrets were looked for. That ids are found shows that the disk was looked at, and
    the key server's own key that keys would be."""
    found = await lab.beside(behind.search_disk, VCENTER)
    holds(found.secrets > 0 and found.places > 0, f"nothing was searched {when}: {found}")
    holds(not found.leaks, f"vCenter's disk {when}: {'; '.join(found.leaks[:3])}")
    ids = [str(vm.key).partition("/")[2] for vm in await lab.vms()]
    met = await lab.beside(behind.texts_on_disk, VCENTER, ids)
    holds(met == ids, f"ids of {len(ids) - len(met)} keys are not on vCenter's disk {when}")
    control = await lab.beside(behind.search_disk, SERVER)
    seen = any("master" in hit for hit in control.hits)
    holds(seen, f"the search does not find the key of {SERVER} on its own disk {when}")
    return found.secrets


async def bus_carries_none(bench: Bench) -> str:
    """A27: keys that travel are in boxes, whoever sends them."""
    messages = secrets = 0
    for topology in ("default", "native", "trusted"):
        async with bench.lab(topology, watched=True, key_persistence=True) as lab:
            await lab.do(c.VmCreate("new", host=HOSTS[0], encrypted=True))
            await starts(lab, "new", "to be moved")
            await lab.do(c.VmMigrate("new", HOSTS[1]))
            await lab.do(c.VmRecrypt("new"))
            if topology == "native":
                with tempfile.TemporaryDirectory() as folder:
                    backup = str(Path(folder) / "backup.p12")
                    await lab.do(c.ProviderExport("nkp", backup))
            await lab.power_loss(*HOSTS)
            await lab.sleep(PASS_S)
            found = await lab.beside(behind.search_bus)
            holds(found.secrets > 0 and found.places > 0, f"{topology}: nothing was searched")
            holds(not found.leaks, f"{topology}: {'; '.join(found.leaks[:3])}")
            ids = [str(vm.key).partition("/")[2][:32] for vm in await lab.vms()]
            met = await lab.beside(behind.texts_on_bus, ids)
            holds(met == ids, f"{topology}: the search does not find ids of keys in messages")
            messages, secrets = messages + found.places, secrets + found.secrets
    return f"none of {secrets} secrets in {messages} messages of three kinds of providers"
