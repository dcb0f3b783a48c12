"""Every action a schedule can give: commands of the API that change something, never taken back.

- ``base``       what an action is
- ``vms``, ``disks``, ``hosts``, ``machines``, ``providers``, ``keys``, ``trust``: those of each
"""

from __future__ import annotations

from typing import Final

from chaos.actions import disks, hosts, keys, machines, providers, trust, vms
from chaos.actions.base import Action

ACTIONS: Final[dict[str, Action]] = {
    action.kind: action
    for subject in (vms, disks, hosts, machines, providers, keys, trust)
    for action in subject.ACTIONS
}
