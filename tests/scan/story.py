"""A life of a lab that touches every secret there is, by the commands of either mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.serve.waiting import Do

MARKER = b"a marker that only the questioner keeps"


async def story(do: Do, sleep: Callable[[float], Awaitable[None]], *, tpm: bool) -> None:
    """Keys made, pushed, persisted, lost, recovered, rotated, destroyed; hosts boot and fall."""
    for vm in ("vm-01", "vm-02"):
        await do(c.VmGuestWrite(vm, MARKER))
    await do(c.VmCreate("vm-new", encrypted=True, host="esxi-002"))
    await do(c.VmOn(("vm-new",)))
    await do(c.VmGuestWrite("vm-new", MARKER))
    if tpm:
        for host in ("esxi-001", "esxi-002"):
            await esx(do, host, "system security keypersistence enable")
        await esx(do, "esxi-001", "system settings encryption recovery rotate")
        await esx(do, "esxi-001", "system settings encryption recovery list")
    await do(c.LinkCut("vcenter", "kms"))
    await do(c.HostPowerLoss(("esxi-001",)))
    await do(c.HostCrash(("esxi-002",)))
    await do(c.HostPowerOn(("esxi-002",)))
    await sleep(60)
    await do(c.Heal(all=True))
    if tpm:
        await do(c.TpmClear("esxi-001"))
        await do(c.Heal(all=True, with_cure=True))
        await esx(do, "esxi-002", "system security keypersistence disable --remove-all-stored-keys")
    values = {"vm": "vm-01", "state": "destroy"}
    await do(c.FaultInject("kms.key_state", values))
    await do(c.HostReboot(("esxi-001",)))
    await sleep(60)
    await do(c.Heal(all=True, with_cure=True))
    await do(c.FaultInject("proc.kill", {"on": "kms"}))
    await do(c.Heal(all=True))
    await do(c.HostAdd("esxi-009"))
    await sleep(60)
    for vm in ("vm-01", "vm-02", "vm-new"):
        try:
            await do(c.VmOn((vm,)))
        except KeysteadError:
            continue  # refused or not, its keys were asked for


async def esx(do: Do, host: str, command: str) -> None:
    result = await do(c.Esx(host, tuple(command.split())))
    assert result.exit_code == 0, result.output
