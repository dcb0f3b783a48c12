"""Looking: what vCenter, hosts, key servers and the lab say. Nothing here changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.base import Command, wrong

if TYPE_CHECKING:
    from lab.schema.answers import (
        AuditList,
        EventList,
        HostList,
        HostView,
        KeyList,
        KeyServerList,
        LabStatus,
        LinkList,
        MachineList,
        NodeList,
        ProviderList,
        TaskList,
        TpmList,
        VmList,
    )

EVENTS_AT_ONCE = 1000
LARGEST = (1 << 63) - 1  # number that an event can have


class GetHosts(Command["HostList"], frozen=True, tag="get.hosts"):
    """vCenter's view of each host, with the state of its machine."""


class GetVms(Command["VmList"], frozen=True, tag="get.vms"):
    """vCenter's view of each VM: power, locked or not, keys that are missing [LOCK-01]."""


class GetProviders(Command["ProviderList"], frozen=True, tag="get.providers"):
    """Key providers of vCenter, with the state of their servers [STD-03]."""


class GetKeys(Command["KeyList"], frozen=True, tag="get.keys"):
    """Every key of the inventory, whether its provider can give it, and who uses it [STD-20]."""


class GetKms(Command["KeyServerList"], frozen=True, tag="get.kms"):
    """Each key server with its own count of keys by state, asked of the server itself."""


class GetAudit(Command["AuditList"], frozen=True, tag="get.audit"):
    """A key server's audit trail: who did what to which key.

    ``kms`` may be empty in a lab with one key server; KS-USE-003 in any other.
    """

    kms: str = ""


class GetTpm(Command["TpmList"], frozen=True, tag="get.tpm"):
    """The TPM under each host."""


class GetLinks(Command["LinkList"], frozen=True, tag="get.links"):
    """Links of vCenter to key servers and hosts, each way, and every other link with a rule."""


class GetNodes(Command["NodeList"], frozen=True, tag="get.nodes"):
    """Every node whose agent answers: state, boots, screen, counters of its bus."""


class GetMachines(Command["MachineList"], frozen=True, tag="get.machines"):
    """The machines that the lab stands on: who has joined, how far, with which clock."""


class GetHostView(Command["HostView"], frozen=True, tag="get.host-view"):
    """A host's own view of itself, at its console: works behind cut links."""

    host: str


class GetEvents(Command["EventList"], frozen=True, tag="get.events"):
    """vCenter's events with a number above ``after``, oldest first, ``limit`` at most.

    A shorter answer may come for one longer log: ask again after its last, until none come.
    """

    after: int = 0
    limit: int = EVENTS_AT_ONCE

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= LARGEST:
            raise wrong(f"limit {self.limit}: at least 1, and below 2^63")
        if not 0 <= self.after <= LARGEST:
            raise wrong(f"after {self.after}: a number of an event is 0 or more, and below 2^63")


class GetTasks(Command["TaskList"], frozen=True, tag="get.tasks"):
    """vCenter's recent tasks, oldest first; ``running``: only those that have not ended."""

    running: bool = False


class GetStatus(Command["LabStatus"], frozen=True, tag="get.status"):
    """The lab in short: nodes by state, VMs by state, faults in force, processes."""
