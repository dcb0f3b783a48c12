"""What the agents of a cluster write on its datastore. Pure.

Folder ``.vSphere-HA`` (no VM can have that name):

- ``<host>-poweron``  the VMs that this host runs, or has to start again: its part of the list of
  protected VMs. A VM is in it before its power-on is answered.

A host's *datastore heartbeat* is the lock ``.vSphere-HA-<host>``: held while it lives, released
when it ends. A VM's *owner* is recorded with its last power command (file ``power``).
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.terms import NodeName, VmName

FOLDER: Final = ".vSphere-HA"


class PoweronList(msgspec.Struct, frozen=True, kw_only=True):
    """``orderly``: the host was shut down, and its VMs with it. ``isolated``: the host hears no
    other."""

    epoch: str
    vms: tuple[VmName, ...] = ()
    orderly: bool = False
    isolated: bool = False


def list_file(host: NodeName) -> str:
    """The name of that host's list in the folder."""
    return f"{host}-poweron"


def heartbeat_lock(host: NodeName) -> str:
    """The name of the lock that shows that this host lives."""
    return f"{FOLDER}-{host}"
