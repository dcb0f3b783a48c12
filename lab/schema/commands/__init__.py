"""Commands of a lab: one frozen struct per command, typed by its answer.

A struct checks its values when it is created, so the command line and Python refuse the same wrong
values. Its name comes from the words of the command line: ``keystead vm encrypt`` is ``VmEncrypt``.
To add a command, add its struct to the file of its subject and a function that executes it to
``lab.serve``.

- ``base``       the base class of commands
- ``look``       the state of the lab
- ``hosts``      commands on hosts and other nodes
- ``inventory``  add hosts and VMs to vCenter's inventory and remove them
- ``vms``        commands on VMs
- ``keys``       key servers and key providers
- ``kmip``       trust of KMIP servers
- ``vcenters``   the vCenter appliance
- ``crypto``     modes of hosts and clusters, the keys that vCenter knows, alarms
- ``trust``      Trust Authority, step by step
- ``faults``     inject faults by hand, list the active ones, heal them; play and stop experiments
  on a running lab
- ``vsan``       vSAN encryption
"""

# ruff: noqa: F403 - every public name of these is one of this package
from __future__ import annotations

from typing import Any

from lab.schema.commands.base import *
from lab.schema.commands.base import Command, Look, answer_type, name_of, words_of
from lab.schema.commands.crypto import *
from lab.schema.commands.faults import *
from lab.schema.commands.hosts import *
from lab.schema.commands.inventory import *
from lab.schema.commands.keys import *
from lab.schema.commands.kmip import *
from lab.schema.commands.look import *
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
