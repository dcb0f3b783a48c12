"""Plays that search for keys: on vCenter's disk, on the bus."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lab.client import Lab
from lab.conformance import behind
from lab.conformance.bench import Bench, holds, starts
from lab.conformance.standard import HOSTS, PASS_S
from lab.schema import commands as c

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
