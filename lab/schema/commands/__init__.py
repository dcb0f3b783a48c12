"""What can be asked of a lab: one frozen struct per command, typed by its answer.

A struct checks itself when it is made, so that every way in refuses the same wrong values. Its
name is made of the words of the command line: ``keystead vm encrypt`` is ``VmEncrypt``. A new
command is its struct in the file of its subject, and a function in ``lab.serve`` that executes it.

- ``base``         ``Command``: its name, its answer   - ``arguments``  fields on a command line
- ``look``         the lab itself: machines, events, tasks, status
- ``hosts``        power, esxcli, TPM
- ``at_host``      what a host's own administrator does there
- ``inventory``    hosts and VMs that come into vCenter's inventory and leave it
- ``vms``          create, encrypt, on, off, unlock; the guest
- ``copies``       clones, templates, snapshots
- ``mobility``     VMs that move between hosts
- ``keys``         key servers and key providers    - ``kmip``  trust of KMIP servers
- ``vcenters``     backups and new installations of vCenters
- ``crypto``       modes of hosts and clusters, the keys that vCenter knows, alarms
- ``roles``        roles, and users who have them
- ``trust``         Trust Authority, step by step
- ``faults``       links, every other fault, healing
- ``describe``     everything known of one object
- ``vsan``         vSAN encryption
- ``experiments``  an experiment on this lab
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
    """Every command, or each that is one of ``of``, in no order that means anything."""
    return tuple(kind for kind in globals().values() if _is_command(kind) and issubclass(kind, of))


def _is_command(kind: object) -> bool:
    """One with a name on the wire: what several have in common has that of its class."""
    return isinstance(kind, type) and issubclass(kind, Command) and name_of(kind) != kind.__name__
