"""Every action a schedule can give: commands of the API that change something, never taken back.

- ``base``       what an action is
- ``vms``        actions on VMs
- ``providers``  actions on key providers of vCenter
- ``hosts``      actions on hosts
- ``keys``       actions on keys and on vCenters
- ``trust``      Trust Authority: export and import
"""

from __future__ import annotations

from typing import Final

from chaos.actions import hosts, keys, providers, trust, vms
from chaos.actions.base import Action

ACTIONS: Final[dict[str, Action]] = {
    action.kind: action
    for action in (
        *vms.VM_ACTIONS,
        *vms.COPY_ACTIONS,
        *vms.DISK_ACTIONS,
        *hosts.HOST_ACTIONS,
        *hosts.MACHINE_ACTIONS,
        *providers.PROVIDER_ACTIONS,
        *providers.NATIVE_ACTIONS,
        *keys.KEY_ACTIONS,
        *keys.VCENTER_ACTIONS,
        *trust.ACTIONS,
    )
}
