"""Every refusal of the product, as the fault that a client of vSphere gets."""

from __future__ import annotations

import pytest

pytest.importorskip("pyVmomi")

from pyVmomi import vim

from lab.schema.refusal import refusal
from lab.vsphere.faults import fault_of
from lab.vsphere.soap import newest, write_fault
from protocol.errors import REGISTRY, EncryptionKeyRequired, InvalidPowerState
from protocol.terms import CryptoKeyId, KeyId, ProviderId

pytestmark = pytest.mark.sim
VM = vim.VirtualMachine("vm-1")


@pytest.mark.parametrize("name", sorted(REGISTRY))
@pytest.mark.parametrize("entity", [VM, vim.HostSystem("host-1"), None], ids=["vm", "host", "none"])
def test_every_refusal_can_be_written_as_a_fault(name: str, entity: object) -> None:
    error = refusal(REGISTRY[name]("it is: so (keys: none)"))
    found = fault_of(error, entity)
    text = write_fault(found, newest("8.0.3.0")).decode()
    assert "it is: so" in text
    if entity is VM and hasattr(vim.fault, error.fault):
        assert isinstance(found, getattr(vim.fault, error.fault))


def test_keys_and_power_of_a_fault_come_from_the_answer() -> None:
    key = CryptoKeyId(provider_id=ProviderId("kms"), key_id=KeyId("7f3a"))
    found = fault_of(refusal(EncryptionKeyRequired("bring it", (key,))))
    assert [(k.providerId.id, k.keyId) for k in found.requiredKey] == [("kms", "7f3a")]
    found = fault_of(refusal(InvalidPowerState("it runs")), VM, "poweredOn")
    assert found.existingState == "poweredOn" and found.msg == "it runs"
