"""What our branch survives, and what our runbook has to do about the rest."""

from __future__ import annotations

import pytest

from keystead import Lab

LOCKED = "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError"


@pytest.mark.keystead("lab.yaml", seed=7)
def test_the_branch_restarts_without_its_key_server(keystead: Lab) -> None:
    keystead.cut("vcenter", "kms")
    keystead.power_loss("esxi-001")
    keystead.wait("host.connected=all", "vm.running=all", within="30m")
    assert LOCKED not in keystead.events()


@pytest.mark.keystead("default", seed=7)
def test_without_key_persistence_vms_are_locked_until_the_link_is_back(keystead: Lab) -> None:
    keystead.cut("vcenter", "kms")
    keystead.reboot("esxi-001")
    keystead.wait("vm.locked=vm-01,vm-04", within="10m")
    assert LOCKED in keystead.events()
    keystead.heal(all=True)
    keystead.wait("vm.locked=none", "host.safe=all", within="10m")
    keystead.vm_on(host="esxi-001")
    keystead.wait("vm.running=all", within="10m")
