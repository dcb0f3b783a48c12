"""Commands of a lab: one frozen struct per command, typed by its answer.

A struct checks its values when it is created, so the command line and Python refuse the same wrong
values. Its name comes from the words of the command line: ``keystead vm encrypt`` is ``VmEncrypt``.
To add a command, add its struct to the file of its subject and a function that executes it to
``lab.serve``.

- ``base``         ``Command``: its name, its answer   - ``arguments``  fields on a command line
- ``look``         the lab itself: machines, events, tasks, status
- ``hosts``        power, esxcli, TPM
- ``at_host``      actions of a host's local administrator
- ``inventory``    add hosts and VMs to vCenter's inventory and remove them
- ``vms``          create, encrypt, on, off, unlock; the guest
- ``copies``       clones, templates, snapshots
- ``mobility``     migration of VMs between hosts
- ``keys``         key servers and key providers    - ``kmip``  trust of KMIP servers
- ``vcenters``     backups and new installations of vCenters
- ``crypto``       modes of hosts and clusters, the keys that vCenter knows, alarms
- ``roles``        roles, and users who have them
- ``trust``         Trust Authority, step by step
- ``faults``       links, every other fault, healing
- ``describe``     the state of one object and its reasons
- ``vsan``         vSAN encryption
- ``experiments``  experiments on a running lab
"""

# ruff: noqa: F403 - every public name of these is one of this package
from __future__ import annotations

from typing import Any

from lab.schema.commands.at_host import *
from lab.schema.commands.base import *
from lab.schema.commands.base import Command, Look, answer_type, name_of, words_of
from lab.schema.commands.copies import *
from lab.schema.commands.crypto import *
from lab.schema.commands.describe import *
from lab.schema.commands.experiments import *
from lab.schema.commands.faults import *
from lab.schema.commands.hosts import *
from lab.schema.commands.inventory import *
from lab.schema.commands.keys import *
from lab.schema.commands.kmip import *
from lab.schema.commands.look import *
from lab.schema.commands.mobility import *
from lab.schema.commands.roles import *
from lab.schema.commands.trust import *
from lab.schema.commands.vcenters import *
from lab.schema.commands.vms import *
from lab.schema.commands.vsan import *


def all_commands(of: type[Command[Any]] = Command) -> tuple[type[Command[Any]], ...]:
    """All commands, or all subclasses of ``of``. The order has no meaning."""
    return tuple(kind for kind in globals().values() if _is_command(kind) and issubclass(kind, of))


def _is_command(kind: object) -> bool:
    """Whether ``kind`` is a command; a shared base class has no tag of its own."""
    return isinstance(kind, type) and issubclass(kind, Command) and name_of(kind) != kind.__name__
