"""The state of the lab: its machines, events, tasks, a summary; and the state of one object with
the reason for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.answers.messages import MessageKind
from lab.schema.commands.base import HostName, Look, VmName, doc, wrong

if TYPE_CHECKING:
    from lab.schema.answers import (
        EventList,
        HostDescription,
        LabClock,
        LabStatus,
        MachineList,
        MessageList,
        ProviderDescription,
        TaskList,
        VmDescription,
    )


EVENTS_AT_ONCE = 1000
LARGEST = (1 << 63) - 1  # the largest event number


class GetMachines(Look["MachineList"], frozen=True, tag="get.machines"):
    """Machines of the lab: state, release, clock.

    keystead get machines
    keystead get machines -o wide

    CLOCK is the offset of the machine's clock, ERROR the uncertainty of that offset. The wide table
    also has the time of day, which the lab does not use.
    """


class GetEvents(Look["EventList"], frozen=True, tag="get.events"):
    """vCenter's events with a number above ``after``, oldest first, at most ``limit``.

    An answer may have fewer events than the log: repeat with the last number until it is empty.
    """

    words = ""  # `events`, which pages and follows
    after: int = 0
    limit: int = EVENTS_AT_ONCE

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= LARGEST:
            raise wrong(f"limit {self.limit}: it must be at least 1 and below 2^63")
        if not 0 <= self.after <= LARGEST:
            raise wrong(f"after {self.after}: it must be at least 0 and below 2^63")


class GetMessages(Look["MessageList"], frozen=True, tag="get.messages"):
    """What travels in the lab now, oldest first: messages of the bus, and what clients do at key
    servers over KMIP. Keys and all binary data are shown as fingerprints.

    keystead get messages --node esxi-001
    keystead get messages --kind error -o json

    The first command begins to listen and shows nothing. A lab of real processes listens for 30 s
    after each one. What commands ask nodes travels beside the bus, and is not shown.
    """

    node: Annotated[
        str, doc("Only messages from or to this node.", name="--node", completes="node")
    ] = ""
    kind: Annotated[MessageKind | None, doc("Only messages of this kind.", name="--kind")] = None
    after: Annotated[int, doc("Only messages with a number above this one.", hidden=True)] = 0
    limit: Annotated[int, doc("At most this many, the newest.", name="--limit")] = 200

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= EVENTS_AT_ONCE:
            raise wrong(f"limit {self.limit}: it must be from 1 to {EVENTS_AT_ONCE}")
        if not 0 <= self.after <= LARGEST:
            raise wrong(f"after {self.after}: it must be at least 0 and below 2^63")


class GetTasks(Look["TaskList"], frozen=True, tag="get.tasks"):
    """vCenter's recent tasks, oldest first, with their objects and results.

    keystead get tasks
    keystead get tasks --running -w
    """

    running: Annotated[bool, doc("Only tasks that have not ended.")] = False


class GetClock(Look["LabClock"], frozen=True, tag="get.clock"):
    """The time of the lab, for programs: what its nodes stamp tasks and events with."""

    words = ""


class GetStatus(Look["LabStatus"], frozen=True, tag="get.status"):
    """A summary of the lab: nodes by state, VMs by state, active faults, processes."""

    words = ""  # `status`, which also reports on a stopped lab


class DescribeVm(Look["VmDescription"], frozen=True, tag="describe.vm"):
    """Describe a VM: power, keys, and why it is locked or not, with the rule and the cure.

    keystead describe vm vm-01
    keystead describe vm vm-01 -o json
    """

    vm: VmName


class DescribeHost(Look["HostDescription"], frozen=True, tag="describe.host"):
    """Describe a host: machine, TPM, key persistence, VMs, and the reasons for its state.

    keystead describe host esxi-001
    keystead describe host esxi-001 -o yaml
    """

    host: HostName


class DescribeProvider(Look["ProviderDescription"], frozen=True, tag="describe.provider"):
    """Describe a key provider: its servers, their state, and what prevents its use.

    keystead describe provider kms-provider
    keystead describe provider kms-provider -o json
    """

    provider: str
