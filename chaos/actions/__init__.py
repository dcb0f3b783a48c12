"""Every action a schedule can give: commands of the API that change something, never taken back.

- ``base``       what an action is
- ``vms``, ``hosts``, ``providers``, ``keys``  those of each subject
"""

from __future__ import annotations

from typing import Final

from chaos.actions import hosts, keys, providers, vms
from chaos.actions.base import Action

ACTIONS: Final[dict[str, Action]] = {
    action.kind: action
    for action in (*vms.ACTIONS, *hosts.ACTIONS, *providers.ACTIONS, *keys.ACTIONS)
}
