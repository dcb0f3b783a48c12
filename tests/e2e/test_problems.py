"""What hosts tell of themselves reaches vCenter's events: core dumps, and TPMs that fail."""

from __future__ import annotations

from lab.client import Lab
from lab.schema import commands as c
from protocol.events import EventTypeId as E

A = "esxi-001"


async def told(lab: Lab, event: E) -> list[str]:
    return [found.text for found in await lab.events() if found.event == event]


async def test_dumps_of_agent_and_of_a_vm_are_events_with_key_and_file() -> None:
    """DUMP-02."""
    async with Lab(mode="sim", seed=7) as lab:
        await lab.do(c.HostDumpWrite(A))
        await lab.do(c.HostDumpWrite(A, vm="vm-01"))
        await lab.sleep(20)
        (agent,) = await told(lab, E.HOSTD_CORE_DUMPED)
        (process,) = await told(lab, E.APPLICATION_CORE_DUMPED)
        assert A in agent and "core/hostd-zdump.000.zdump" in agent
        assert "vm-01" in process and "core/vmx-zdump.000.zdump" in process


async def test_a_tpm_that_fails_is_told_by_the_host_that_boots_without_it() -> None:
    """A sealed host comes up by its recovery key alone (REC-02)."""
    async with Lab(mode="sim", seed=7) as lab:
        table = await lab.esx(A, "system settings encryption recovery list")
        digits = table.splitlines()[2].split()[1]
        await lab.do(c.FaultInject("tpm.dead", {"on": A}))
        await lab.power_loss(A)
        assert await told(lab, E.TPM2_CONNECTION) == []
        await lab.do(c.HostPowerOff((A,)))
        await lab.do(c.HostPowerOn((A,), {"encryptionRecoveryKey": digits}))
        await lab.sleep(60)
        (text,) = await told(lab, E.TPM2_CONNECTION)
        assert text.startswith(A)
