"""Disks of VMs: added under which key, and taken away."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from chaos.actions.base import Acting, On, asks_vcenter, on_vms
from chaos.naming import name_validator
from chaos.observe.look import LabLook
from chaos.workload import OperationOutcome
from protocol import names
from protocol.errors import NotFound
from protocol.messages.host import HostAddDisk
from protocol.messages.vcenter import AddDisk, RemoveDisk
from protocol.terms import CryptoKeyId, KeyId, ProviderId, VmName


class AddDiskParams(On):
    """Under a key of its own of ``provider``; under the key of the VM when it is left out."""

    provider: str | None = None


class ReferenceParams(On):
    """The reference to a key as it stands in the request: ``provider``, and ``key``, which may be
    missing."""

    provider: Annotated[str, name_validator(names.PROVIDER)]
    key: Annotated[str, StringConstraints(max_length=200)] = ""


class RemoveDiskParams(On):
    """The disk's number, as in "Hard disk 2"."""

    disk: Annotated[int, Field(ge=1, strict=True)]


async def _add(acting: Acting, target: str, params: Any) -> OperationOutcome:
    provider = ProviderId(params.provider) if params.provider else None
    message = AddDisk(operation_id=acting.name, vm=VmName(target), provider=provider)
    done = await acting.ask(await acting.vcenter(target), message)
    return OperationOutcome("ok", {"disk": done.disk})


async def _add_at_host(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """As a request for a first-class disk reaches the VM's host, with the reference as it is."""
    seen = await LabLook(acting.lab).vms()
    if VmName(target) not in seen:
        raise NotFound(f"no host has {target}")
    key = CryptoKeyId(KeyId(params.key), ProviderId(params.provider))
    message = HostAddDisk(vm=VmName(target), operation_id=acting.name, key=key)
    await acting.ask(seen[VmName(target)][0], message)
    return OperationOutcome("ok", {})


ACTIONS: Final = (
    on_vms(
        "vm.add-disk",
        "give powered-off VMs one more disk",
        _add,
        AddDiskParams,
        "on: vm-01, provider: kms-provider",
    ),
    on_vms(
        "vm.add-disk-at-host",
        "have the hosts of powered-off VMs add a disk with a given key reference",
        _add_at_host,
        ReferenceParams,
        "on: vm-01, provider: kms-provider",
    ),
    on_vms(
        "vm.remove-disk",
        "delete a disk with its data from powered-off VMs",
        asks_vcenter(lambda vm, params: RemoveDisk(vm=VmName(vm), disk=params.disk)),
        RemoveDiskParams,
        "on: vm-01, disk: 2",
    ),
)
