"""vSphere HA: what vCenter gives to the agents on its hosts, and what the agents exchange.

vCenter distributes the list of protected hosts (``SetHaConfiguration``); after that the agents work
without it. Hosts exchange votes, heartbeats, and restarts of VMs.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host.session import Command, Done
from protocol.terms import ClusterName, NodeName, VmName


class HaConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent knows of its cluster: the hosts that protect each other, by name.

    ``epoch`` changes each time that HA is turned on; records of another epoch are out of date.
    """

    cluster: ClusterName
    epoch: str
    hosts: tuple[NodeName, ...]


class SetHaConfiguration(Command[Done], frozen=True, kw_only=True):
    """Set the configuration of the agent, saved before the reply; None: it stops."""

    configuration: HaConfiguration | None = None


class HaElect(Request["HaVote"], frozen=True, kw_only=True):
    """Which host is primary, as this host knows it? Sent by a host that hears no primary."""

    epoch: str


class HaVote(Reply, frozen=True, kw_only=True):
    """``datastore``: the host reaches the cluster's datastore, which ranks before its name.

    ``primary``: the host that it follows, possibly itself; None when it hears none.
    """

    datastore: bool
    primary: NodeName | None = None


class HaHeartbeat(Request["HaState"], frozen=True, kw_only=True):
    """The primary's heartbeat: a host that answers is alive, and follows it."""

    epoch: str
    datastore: bool


class HaState(Reply, frozen=True, kw_only=True):
    """A host's answer to a heartbeat. ``takes_vms``: it is not in maintenance mode; ``vms`` run
    there.

    ``primary``: the host that it follows; not the sender if that ranks lower.
    """

    primary: NodeName
    takes_vms: bool
    vms: int


class HaRestartVm(Request["HaRestarted"], frozen=True, kw_only=True):
    """Register and start a VM of the host ``of``, which has failed (HA-01).

    ``InvalidState`` when the VM is not that host's any more, or is not to run; ``DatastoreFault``
    while any host holds its lock; otherwise as a power-on.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    epoch: str
    vm: VmName
    of: NodeName


class HaRestarted(Reply, frozen=True, kw_only=True):
    """The VM runs on the answering host, and is registered there."""
