"""Every action a schedule can give: commands of the API that change something, never taken back.

- ``base``       what an action is
- ``vms``, ``copies`` ``disks``, ``hosts``, ``machines``, ``keys``, ``vcenters``, ``trust``: each's
- ``providers``, ``native``: of key providers, and of native ones only
"""

from __future__ import annotations

from typing import Final

from chaos.actions import (
    copies,
    disks,
    hosts,
    keys,
    machines,
    native,
    providers,
    trust,
    vcenters,
    vms,
)
from chaos.actions.base import Action

ACTIONS: Final[dict[str, Action]] = {
    action.kind: action
    for subject in (vms, copies, disks, hosts, machines, providers, native, keys, vcenters, trust)
    for action in subject.ACTIONS
}
