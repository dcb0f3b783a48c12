"""Plays about encrypted vSAN."""

from __future__ import annotations

from lab.client import Lab
from lab.conformance.bench import Bench, holds
from lab.schema import commands as c

CLUSTER, HOST = "cluster-a", "esxi-001"


async def mounted(lab: Lab) -> bool:
    """Whether every disk group of the host is mounted."""
    found = await lab.do(c.VsanDescribe(CLUSTER))
    return all(group.mounted for group in found.groups if group.host == HOST)


async def who_mounts_disks(bench: Bench) -> str:
    """A20: a host gets the keys of its disks itself, at the key server or in its store [VSAN-03,
    VSAN-07]."""
    for persistence, away, wanted in (
        (False, "vcenter", True),
        (False, "kms", False),
        (True, "kms", True),
    ):
        async with bench.lab("vsan", hosts=3, vms=0, key_persistence=persistence) as lab:
            holds(await mounted(lab), f"the disk groups of {HOST} are not mounted at first")
            await lab.cut(away, HOST)
            await lab.power_loss(HOST)
            await lab.sleep(90)
            if away == "vcenter":  # it tells again what the host has; the host has booted without
                audit = await lab.do(c.GetAudit())
                got = [row for row in audit.items if row.who == HOST and row.operation == "Get"]
                holds(len(got) > 0, f"{HOST} asked no key server")
                await lab.heal()
                await lab.sleep(10)
            store = "on" if persistence else "off"
            what = f"{HOST} with {away} cut and key persistence {store}"
            holds((await mounted(lab)) is wanted, f"{what}: mounted is {not wanted}")
    return "mounted with vCenter cut, or with stored keys; not with the key server cut and none"
