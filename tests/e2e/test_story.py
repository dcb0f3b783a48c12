"""The story of the README, played in virtual time and on real processes by the same body.

Key server unreachable, host rebooted: its VMs are locked. Healed: they unlock, and nothing is
powered on by that. With key persistence the same outage and a power loss change nothing.
"""

from __future__ import annotations

from typing import Any

import pytest

from lab.client import Lab
from lab.schema.answers import Vm
from lab.schema.commands import Esx, GetHostView
from protocol.terms import HostCryptoState, PowerState, VmConnectionState, VmCryptoState
from tests.e2e.modes import needs_tpm

LOCKED = "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError"
UNLOCKED = "com.vmware.vc.vm.Crypto.VMUnlocked"
UNREACHABLE = "com.vmware.vc.kms.crypto.Unreachable"
REQUIRES = "com.vmware.vc.host.Crypto.ReqEnable.KMSClusterError"
ENABLED = "com.vmware.vc.host.Crypto.Enabled"


MODES = [
    pytest.param({"mode": "sim", "tpm": "model"}, id="sim-model", marks=pytest.mark.sim),
    pytest.param({"mode": "sim", "tpm": "libtpms"}, id="sim-libtpms", marks=[needs_tpm]),
    pytest.param(
        {"mode": "lab", "tpm": "libtpms"}, id="lab-libtpms", marks=[needs_tpm, pytest.mark.lab]
    ),
    pytest.param(
        {"mode": "lab", "tpm": "none"}, id="lab-none", marks=[pytest.mark.lab, pytest.mark.slow]
    ),
]


async def until(lab: Lab, what: str, seconds: float, **wanted: Any) -> Vm:
    """Wait at most ``seconds`` lab seconds until the VM shows the wanted fields."""
    for _ in range(int(seconds / 5)):
        vm = await lab.vm(what)
        if all(getattr(vm, name) == value for name, value in wanted.items()):
            return vm
        await lab.sleep(5)
    raise AssertionError(f"{what} did not become {wanted}: {vm}")


async def until_running(lab: Lab, host: str, vms: set[str], seconds: float) -> None:
    """Wait until the host's own view shows these VMs powered on."""
    running: set[str] = set()
    for _ in range(int(seconds / 5)):
        view = await lab.do(GetHostView(host))
        running = {str(v.vm) for v in view.vms if v.power is PowerState.ON}
        if vms <= running:
            return
        await lab.sleep(5)
    raise AssertionError(f"{host} runs {running}, not {vms}")


async def ids_of(lab: Lab, after: int) -> list[str]:
    return [e.event for e in await lab.events(after)]


async def last_event(lab: Lab) -> int:
    events = await lab.events()
    return events[-1].sequence if events else 0


@pytest.mark.parametrize("how", MODES)
@pytest.mark.timeout(180)
async def test_the_story(how: dict[str, Any]) -> None:
    persistent = how["tpm"] != "none"
    async with Lab(**how, seed=7, knobs={"remediation_interval_s": 60}) as lab:
        assert {v.power for v in await lab.vms()} == {PowerState.ON}
        assert {h.crypto_state for h in await lab.hosts()} == {HostCryptoState.SAFE}

        # The key server is unreachable: nothing happens to running VMs.
        before = await last_event(lab)
        await lab.cut("vcenter", "kms")
        assert {v.power for v in await lab.vms()} == {PowerState.ON}

        # A host reboots: its VMs are locked, with the product's events in the product's order.
        await lab.reboot("esxi-001")
        gone = {"crypto": VmCryptoState.LOCKED, "connection": VmConnectionState.INVALID}
        await until(lab, "vm-01", 300, power=PowerState.OFF, **gone)
        assert (await lab.host("esxi-001")).crypto_state is HostCryptoState.PREPARED
        assert (await lab.vm("vm-02")).power is PowerState.ON
        seen = await ids_of(lab, before)
        assert [e for e in seen if e in (UNREACHABLE, REQUIRES, LOCKED)] == [
            UNREACHABLE,
            REQUIRES,
            LOCKED,
            LOCKED,
        ]
        why = await lab.why("vm-01")
        assert [r.rule for r in why[:2]] == ["STD-13", "LOCK-01"]

        # Powering on is refused, and names the keys.
        refused = (await lab.vm_on("vm-01"))[0]
        assert refused.error_id == "KS-PRODUCT-001"
        assert "EncryptionKeyRequired" in (refused.error or "")

        # Healed: they unlock; unlocking powers nothing on.
        before = await last_event(lab)
        report = await lab.heal()
        assert report.healed == ("link-cut-1",) and not report.left
        back = {"crypto": VmCryptoState.UNLOCKED, "connection": VmConnectionState.CONNECTED}
        assert (await until(lab, "vm-01", 300, **back)).power is PowerState.OFF
        seen = [e for e in await ids_of(lab, before) if e in (ENABLED, UNLOCKED)]
        assert seen == [ENABLED, UNLOCKED, UNLOCKED]
        assert {r.power for r in await lab.vm_on("vm-01", "vm-04")} == {PowerState.ON}

        if not persistent:
            enable = tuple("system security keypersistence enable".split())
            result = await lab.do(Esx("esxi-001", enable))
            assert result.exit_code != 0 and "TPM" in result.output
            return

        # Key persistence: the same outage and a power loss, and the VMs come back by themselves.
        assert await lab.esx("esxi-001", "system security keypersistence enable") == ""
        assert "Enabled: true" in await lab.esx("esxi-001", "system security keypersistence get")
        before = await last_event(lab)
        await lab.cut("vcenter", "kms")
        await lab.power_loss("esxi-001")
        # vCenter may still show what it saw before the power loss: the host itself is asked.
        await until_running(lab, "esxi-001", {"vm-01", "vm-04"}, 300)
        await until(lab, "vm-01", 300, power=PowerState.ON, crypto=VmCryptoState.UNLOCKED)
        await until(lab, "vm-04", 300, power=PowerState.ON, crypto=VmCryptoState.UNLOCKED)
        assert LOCKED not in await ids_of(lab, before)
        await lab.heal()


@pytest.mark.slow
@pytest.mark.sim
async def test_a_seed_gives_the_same_world_again() -> None:
    """Trace hashes of two workers; another seed gives another trace."""
    hashes = []
    for seed in (11, 11, 12):
        async with Lab(mode="sim", seed=seed, hosts=2, vms=2) as lab:
            await lab.cut("vcenter", "kms")
            await lab.reboot("esxi-002")
            await lab.sleep(400)
            await lab.heal()
            await lab.sleep(400)
            hashes.append(await lab.trace())
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]
