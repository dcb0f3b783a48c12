"""Templates: VMs that are not powered on until they are converted back."""

from __future__ import annotations

import msgspec

from protocol.terms import VmName
from services.esxi.host import EsxiHost
from services.esxi.vms.files import hold_lock, read_config, write_config
from services.esxi.vms.vm import RegisteredVm


async def mark_template(host: EsxiHost, name: VmName, *, template: bool) -> RegisteredVm:
    """See ``HostMarkTemplate``; a repeat changes nothing. No keys are needed: nothing is opened."""
    vm = host.require_powered_off(name, "power it off to make a template of it")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        if config.template != template:
            config = msgspec.structs.replace(config, template=template)
            await write_config(host.datastore, config)
            host.node.record("vm.template", vm=name, template=template)
        vm.config, vm.problem = config, ""
    return vm
