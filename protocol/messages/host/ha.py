"""vSphere HA: what vCenter gives the agents on its hosts, and what these say to each other.

vCenter hands the list of protected hosts out (``SetHaConfiguration``); from then on the agents need
it for nothing. Between two hosts there are votes, heartbeats, and the restart of a VM.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host.session import Command, Done
from protocol.terms import ClusterName, NodeName, VmName


class HaConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent knows of its cluster: the hosts that protect each other, by name.

    ``epoch`` is another one each time that HA is turned on: what was written under another one is
    of another time, and counts no more.
    """

    cluster: ClusterName
    epoch: str
    hosts: tuple[NodeName, ...]


class SetHaConfiguration(Command[Done], frozen=True, kw_only=True):
    """The configuration of the agent from now on, saved before the reply; None: it stops."""

    configuration: HaConfiguration | None = None


class HaElect(Request["HaVote"], frozen=True, kw_only=True):
    """Who is primary, for all that this host knows? Asked by one that hears none."""

    epoch: str


class HaVote(Reply, frozen=True, kw_only=True):
    """``datastore``: the host reaches the cluster's datastore, which ranks before its name.

    ``primary``: whom it follows, itself when it is it; None when it hears none.
    """

    datastore: bool
    primary: NodeName | None = None


class HaHeartbeat(Request["HaState"], frozen=True, kw_only=True):
    """The primary's heartbeat: whoever answers is alive, and follows it."""

    epoch: str
    datastore: bool


class HaState(Reply, frozen=True, kw_only=True):
    """A host's heartbeat. ``takes_vms``: it is not in maintenance mode; ``vms`` run there.

    ``primary``: whom it follows; another one than who asked when that one ranks lower.
    """

    primary: NodeName
    takes_vms: bool
    vms: int


class HaRestartVm(Request["HaRestarted"], frozen=True, kw_only=True):
    """Register and start a VM that was on the host ``of``, which has failed (HA-01).

    ``InvalidState`` when the VM is not that host's any more, or is not to run; ``DatastoreFault``
    while any host holds its lock; else what a power-on answers.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    epoch: str
    vm: VmName
    of: NodeName


class HaRestarted(Reply, frozen=True, kw_only=True):
    """The VM runs on the host that answers, and is its VM from now on."""
