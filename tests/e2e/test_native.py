"""The native provider in whole labs: who needs whom in which outage, and what a backup is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import Fault, Host, HostView, Provider, Vm
from lab.schema.errors import KeysteadError
from protocol.terms import HostCryptoState, PowerState, ProviderHealth, VmCryptoState
from tests.e2e.modes import MODES

LOCKED = "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnHost"
A, B = "esxi-001", "esxi-002"


def native(mode: str = "sim", **changes: Any) -> Lab:
    changes.setdefault("tpm", "model")
    return Lab(mode, topology="native", seed=7, hosts=3, vms=3, **changes)  # type: ignore[arg-type]


async def vms_of(lab: Lab, host: str) -> list[Vm]:
    return [vm for vm in (await lab.do(c.GetVms())).items if vm.host == host]


async def host_of(lab: Lab, host: str) -> Host:
    return next(h for h in (await lab.do(c.GetHosts())).items if h.host == host)


async def provider(lab: Lab) -> Provider:
    (found,) = (await lab.do(c.GetProviders())).items
    return found


async def until_works(lab: Lab, vm: str, seconds: float = 300) -> None:
    """The guest answers a challenge within that time."""
    why = ""
    for _ in range(int(seconds / 5)):
        try:
            await lab.do(c.VmGuestChallenge(vm, b"fresh", (1, 3)))
            return
        except KeysteadError as error:
            why = str(error)
        await lab.sleep(5)
    raise AssertionError(f"{vm} does not work: {why}")


@pytest.mark.parametrize("how", MODES)
async def test_a_host_that_lost_power_needs_nobody(how: dict[str, Any]) -> None:
    """NKP-11: no vCenter, no key server; the TPM opens the configuration, the KDK is in it."""
    async with native(**how) as lab:
        found = await provider(lab)
        assert (found.health, found.details) == (ProviderHealth.OK, ())
        vm = (await vms_of(lab, A))[0].vm
        await lab.fault("vcenter.down")
        await lab.do(c.HostPowerLoss((A,)))
        await lab.do(c.HostPowerOn((A,)))
        view = await until_runs_there(lab, A, vm)
        assert (view.crypto_state, view.stored_keys) == (HostCryptoState.SAFE, 0)
        assert not view.session


async def until_runs_there(lab: Lab, host: str, vm: str) -> HostView:
    """The host's own view when the VM runs; nobody else is asked."""
    for _ in range(60):
        view = await lab.do(c.GetHostView(host))
        if any(v.vm == vm and v.power is PowerState.ON for v in view.vms):
            return view
        await lab.sleep(5)
    raise AssertionError(f"{vm} does not run on {host}")


async def deleted(lab: Lab) -> Fault:
    fault = await lab.do(c.ProviderDelete("nkp"))
    await lab.sleep(20)
    return fault


@pytest.mark.slow
@pytest.mark.sim
async def test_deleted_cached_evicted_imported(tmp_path: Path) -> None:
    """NKP-17: running VMs go on; after a reboot nothing of it works until the backup is back."""
    file = str(tmp_path / "nkp.p12")
    async with native() as lab:
        made = await lab.do(c.ProviderExport("nkp", file))
        assert made.key_id == (await provider(lab)).key_id
        vm, other = (await vms_of(lab, A))[0].vm, (await vms_of(lab, B))[0].vm
        await deleted(lab)
        view = await lab.do(c.GetHostView(A))
        assert view.providers == () and view.crypto_state is HostCryptoState.SAFE
        await lab.do(c.VmOff((other,)))
        await lab.do(c.VmOn((other,)))  # in the grace, by the cached key
        await lab.do(c.HostReboot((A,)))
        await lab.sleep(100)
        assert (await host_of(lab, A)).crypto_state is HostCryptoState.PREPARED
        now = await lab.vm(vm)
        assert (now.power, now.crypto) == (PowerState.OFF, VmCryptoState.LOCKED)
        assert now.lock_event == LOCKED
        await lab.do(c.VmOff((other,)))
        await lab.sleep(700)  # evicted
        assert (await lab.vm(other)).crypto is VmCryptoState.LOCKED
        said = await lab.do(c.ProviderImport(file, dry_run=True))
        assert not said.imported and (await lab.do(c.GetProviders())).items == ()
        await lab.do(c.ProviderImport(file, default=True))
        await lab.sleep(20)
        await lab.do(c.HostEnableCrypto(A))
        await lab.sleep(360)
        for name in (vm, other):
            assert (await lab.vm(name)).crypto is VmCryptoState.UNLOCKED
            await lab.do(c.VmOn((name,)))
            await until_works(lab, name)


@pytest.mark.sim
async def test_the_fault_provider_delete_is_cured_by_its_backup() -> None:
    async with native() as lab:
        before = await provider(lab)
        vm = (await vms_of(lab, A))[0].vm
        fault = await deleted(lab)
        await lab.do(c.HostReboot((A,)))
        await lab.sleep(100)
        assert (await lab.heal(fault.fault.id, with_cure=True)).healed == (fault.fault.id,)
        after = await provider(lab)
        assert after.default and after.key_id == before.key_id
        assert after.health is ProviderHealth.OK
        await lab.do(c.VmOn((vm,)))
        await until_works(lab, vm)


@pytest.mark.sim
async def test_the_cure_finds_what_a_person_has_imported_already(tmp_path: Path) -> None:
    """It makes the provider the default again, and does not ask for a second import."""
    file = str(tmp_path / "nkp.p12")
    async with native() as lab:
        await lab.do(c.ProviderExport("nkp", file))
        fault = await deleted(lab)
        await lab.do(c.ProviderCreate("other"))  # the first one there: the default
        await lab.do(c.ProviderImport(file))
        cured = await lab.heal(fault.fault.id, with_cure=True)
        assert cured.healed == (fault.fault.id,)
        found = {p.provider: p.default for p in (await lab.do(c.GetProviders())).items}
        assert found == {"nkp": True, "other": False}


@pytest.mark.slow
@pytest.mark.sim
async def test_another_kdk_under_the_name_shows_after_a_reboot(tmp_path: Path) -> None:
    """NKP-18, reading Z9: nothing fails at first."""
    file, second = str(tmp_path / "right.p12"), str(tmp_path / "wrong.p12")
    async with native() as lab:
        await lab.do(c.ProviderExport("nkp", file))
        vm = (await vms_of(lab, A))[0].vm
        await deleted(lab)
        await lab.do(c.ProviderCreate("nkp"))
        await lab.do(c.ProviderExport("nkp", second))
        await lab.sleep(700)
        await lab.do(c.VmOff((vm,)))
        await lab.do(c.VmOn((vm,)))
        await until_works(lab, vm)
        await lab.do(c.HostReboot((A,)))
        await lab.sleep(150)
        assert (await host_of(lab, A)).crypto_state is HostCryptoState.PREPARED
        now = await lab.vm(vm)
        assert (now.crypto, now.lock_event) == (VmCryptoState.LOCKED, LOCKED)
        await lab.do(c.ProviderDelete("nkp"))
        await lab.do(c.ProviderImport(file, default=True))
        await lab.sleep(20)
        await lab.do(c.HostEnableCrypto(A))
        await lab.sleep(360)
        await lab.do(c.VmOn((vm,)))
        await until_works(lab, vm)


@pytest.mark.sim
async def test_a_key_that_was_removed_by_force_is_not_derived_until_the_next_boot() -> None:
    """SC-16: what runs goes on, what was off does not start; a boot makes the host derive again."""
    async with native() as lab:
        off, on = [vm for vm in (await lab.do(c.GetVms())).items][:2]
        await lab.do(c.VmOff((off.vm,)))
        for vm in (off, on):
            assert vm.key is not None
            await lab.do(c.KeyRemove(vm.key, force=True))
        await lab.sleep(30)
        (done,) = (await lab.do(c.VmOn((off.vm,)))).items
        assert "EncryptionKeyRequired" in (done.error or "")
        found = {vm.vm: vm for vm in (await lab.do(c.GetVms())).items}
        assert found[off.vm].crypto is VmCryptoState.LOCKED
        assert found[off.vm].lock_event == LOCKED
        assert found[on.vm].crypto is VmCryptoState.UNLOCKED
        await until_works(lab, on.vm, 10)
        assert off.host is not None
        await lab.do(c.HostReboot((off.host,)))
        await lab.sleep(60)
        await lab.do(c.VmOn((off.vm,)))
        await until_works(lab, off.vm)


@pytest.mark.sim
async def test_a_host_without_the_kdk_gets_it_when_it_needs_it() -> None:
    """NKP-15: not only by the next pass of the reconciliation."""
    async with native() as lab:
        vm = (await vms_of(lab, A))[0].vm
        await lab.do(c.VmOff((vm,)))
        await lab.do(c.HostReboot((A,)))
        await lab.sleep(60)
        view = await lab.do(c.HostRemoveProvider(A, "nkp"))
        assert view.providers == ()
        (done,) = (await lab.do(c.VmOn((vm,)))).items
        assert not done.error
        await until_works(lab, vm, 10)
        assert len((await lab.do(c.GetHostView(A))).providers) == 1


@pytest.mark.slow
@pytest.mark.sim
async def test_files_of_backups_are_not_replaced_and_say_what_is_wrong(tmp_path: Path) -> None:
    file, password = tmp_path / "nkp.p12", tmp_path / "password"
    password.write_text("secret\n")
    (empty := tmp_path / "empty").write_text("\nsecret\n")
    async with native() as lab:
        await lab.do(c.ProviderExport("nkp", str(file), str(password)))
        assert file.stat().st_mode & 0o777 == 0o600
        for wrong in (
            c.ProviderExport("nkp", str(file)),
            c.ProviderExport("nkp", str(tmp_path / "no" / "folder")),
            c.ProviderExport("nkp", str(tmp_path / "x"), str(tmp_path / "none")),
            c.ProviderExport("nkp", str(tmp_path / "z"), str(empty)),
            c.ProviderImport(str(tmp_path / "none")),
        ):
            with pytest.raises(KeysteadError) as told:
                await lab.do(wrong)
            assert told.value.id == "KS-USE-003"
        with pytest.raises(KeysteadError, match="no key provider"):
            await lab.do(c.ProviderExport("other", str(tmp_path / "y")))
        assert not (tmp_path / "y").exists() and not (tmp_path / "z").exists()
        with pytest.raises(KeysteadError, match="password"):
            await lab.do(c.ProviderImport(str(file), dry_run=True))
        with pytest.raises(KeysteadError, match="absolute"):
            c.ProviderExport("nkp", "relative.p12")


async def test_a_deleted_provider_has_left_the_hosts_and_the_rest_are_named() -> None:
    """NKP-17: docs/native.md says so."""
    async with Lab("sim", topology="native", seed=7, hosts=3, vms=3, tpm="model") as lab:
        await lab.fault("link.cut", between=["vcenter", "esxi-003"])
        deleted = await lab.do(c.ProviderDelete("nkp"))
        assert deleted.fault.found == {"not_confirmed_by": ["esxi-003"]}
        derives = {
            host: any(r.rule == "NKP-11" for r in (await lab.do(c.DescribeHost(host))).reasons)
            for host in (A, B, "esxi-003")
        }
        assert derives == {A: False, B: False, "esxi-003": True}
