"""A life of a lab that touches every secret there is, by the verbs of either mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lab.errors import KeysteadError

Do = Callable[..., Awaitable[Any]]
"""``await do("verb", argument=...)``: the verb's plain result."""

MARKER = b"a marker that only the questioner keeps"


async def story(do: Do, sleep: Callable[[float], Awaitable[None]], *, tpm: bool) -> None:
    """Keys made, pushed, persisted, lost, recovered, rotated, destroyed; hosts boot and fall."""
    for vm in ("vm-01", "vm-02"):
        await do("guest.write", vm=vm, marker=MARKER)
    await do("vm.create", vm="vm-new", encrypted=True, host="esxi-002")
    await do("vm.on", vms=["vm-new"])
    await do("guest.write", vm="vm-new", marker=MARKER)
    if tpm:
        for host in ("esxi-001", "esxi-002"):
            await esx(do, host, "system security keypersistence enable")
        await esx(do, "esxi-001", "system settings encryption recovery rotate")
        await esx(do, "esxi-001", "system settings encryption recovery list")
    await do("fault.inject", kind="link.cut", values={"between": ["vcenter", "kms"]}, id="cut")
    await do("host.power-loss", hosts=["esxi-001"])
    await do("host.crash", hosts=["esxi-002"])
    await do("host.power-on", hosts=["esxi-002"])
    await sleep(60)
    await do("heal", all=True)
    if tpm:
        await do("fault.inject", kind="tpm.clear", values={"on": "esxi-001"}, id="clear")
        await do("heal", all=True, with_cure=True)
        await esx(do, "esxi-002", "system security keypersistence disable --remove-all-stored-keys")
    values = {"vm": "vm-01", "state": "destroy"}
    await do("fault.inject", kind="kms.key_state", values=values, id="destroyed")
    await do("host.reboot", hosts=["esxi-001"])
    await sleep(60)
    await do("heal", all=True, with_cure=True)
    await do("fault.inject", kind="proc.kill", values={"on": "kms"}, id="kill")
    await do("heal", all=True)
    await do("host.add", host="esxi-009")
    await sleep(60)
    for vm in ("vm-01", "vm-02", "vm-new"):
        try:
            await do("vm.on", vms=[vm])
        except KeysteadError:
            continue  # refused or not, its keys were asked for


async def esx(do: Do, host: str, command: str) -> None:
    row = await do("esx", host=host, arguments=command.split())
    assert row["exit_code"] == 0, row["output"]
