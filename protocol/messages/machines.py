"""What a lab's supervisor and the agent of another machine tell each other, on the control broker.

The agent there starts, stops and ends processes, as the supervisor does on its own machine; nodes
in these processes are told what to do by the messages of ``agent``. ``run`` is one life of the
agent: what is meant for another one is answered ``InvalidState``. Times are real seconds.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Event, Repeat, Reply, Request
from protocol.messages.host.session import Done


class HeldProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that runs there: ``name`` is its agent's, ``life`` counts those of that name."""

    name: str
    life: int


class MachineSeeks(Event, frozen=True, kw_only=True):
    """An agent that wants to be taken, said each second until it is.

    ``bundle`` and ``digest`` (SHA-256) are those of the file that it joins with; ``holder`` is a
    random name of the machine's own. ``ended`` is the run before this one in the same folder, of
    which nothing is alive any more. ``held`` are processes that live on, of an agent that was taken
    and does not hear its supervisor; ``epoch`` is that of the lab's time in them. What is sealed to
    ``key`` only this run opens. ``gate`` is where it takes connections for its nodes, or empty.
    """

    machine: str
    bundle: str
    digest: str
    holder: str
    run: str
    ended: str = ""
    held: tuple[HeldProcess, ...] = ()
    epoch: float = 0.0
    key: bytes = b""
    gate: str = ""


class MachineLeaves(Event, frozen=True, kw_only=True):
    """An agent ends in order: its processes are gone."""

    machine: str
    run: str


class TakeMachine(Request[Done], frozen=True, kw_only=True):
    """It is taken, with the processes that it has, and may go on for ``lease_s`` without a beat.

    ``public`` has by node what others seal to it with: the file of its public identity. ``where``
    has the gates of nodes that stand elsewhere, one without a host at the address of the lab.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    run: str
    lease_s: float
    public: dict[str, bytes]
    where: dict[str, str] = {}


class RefuseMachine(Request[Done], frozen=True, kw_only=True):
    """It is not taken, and why: an error for people. ``wait``: it may be, later."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    run: str
    error_id: str
    text: str
    fix: str = ""
    wait: bool = False


class Beat(Request["Beaten"], frozen=True, kw_only=True):
    """The supervisor is there: what runs may go on for ``grant_s``. That is the lease less the time
    that no beat was answered for, so that both ends count from the last answer.

    ``offset_s``: how far the machine's clock is ahead of the supervisor's; None: it is not known
    yet.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    run: str
    grant_s: float
    offset_s: float | None = None


class Beaten(Reply, frozen=True, kw_only=True):
    """``received`` and ``answered`` on the machine's clock that goes on in sleep, ``wall`` on that
    of the time of day.

    ``load`` are processes that wanted a core, averaged over a minute; ``processes`` those that run.
    """

    received: float
    answered: float
    wall: float
    load: float
    processes: tuple[HeldProcess, ...]


class StartProcess(Request["ProcessStarted"], frozen=True, kw_only=True):
    """Fork the process of the agent ``name``, seen as ``label``; one of that name is ended first.

    ``epoch`` is on the supervisor's monotonic clock; the others are as in the lab's own processes.
    ``bus`` has the addresses of a bus of somebody else's servers, which machines reach themselves,
    and ``authority`` that of their certificates (PEM); empty: the bus is behind the lab's TLS
    proxy.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    run: str
    name: str
    label: str
    epoch: float
    wall: float
    pace: float
    seed: int
    bus: str = ""
    authority: str = ""


class ProcessStarted(Reply, frozen=True, kw_only=True):
    """It serves."""

    life: int


class StopProcess(Request[Done], frozen=True, kw_only=True):
    """Let a process stand still (SIGSTOP), or go on (SIGCONT); no change when it has ended."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    run: str
    name: str
    life: int
    stopped: bool


class EndProcess(Request[Done], frozen=True, kw_only=True):
    """End a process now (SIGKILL), and answer when it is gone; no change when it is."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    run: str
    name: str
    life: int


class KnowNodes(Request[Done], frozen=True, kw_only=True):
    """Nodes that have come to the lab: the files of their public identities, by name; and where all
    nodes of other machines take connections."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    public: dict[str, bytes]
    where: dict[str, str] = {}


class KeepIdentities(Request[Done], frozen=True, kw_only=True):
    """What is private of a host that has come to this machine, and of the agent of its process:
    the part of a bundle for them, sealed to the ``key`` of the run; kept durably."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    run: str
    box: bytes


class ReleaseMachine(Request[Done], frozen=True, kw_only=True):
    """The lab is taken down: end all processes; the agent seeks anew. ``purged``: the lab is
    removed for good, and with it what the machine keeps of it; the agent ends."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    run: str
    purged: bool = False


class ShowArray(Request["ArrayTold"], frozen=True, kw_only=True):
    """Try the folder of the shared datastore ``array``, whose ``id`` stands in it, and leave a sign
    there; ``fresh``: no machine has been there yet."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    run: str
    array: str
    lab: str
    id: str
    fresh: bool


class LookAtArray(Request["ArrayTold"], frozen=True, kw_only=True):
    """See whether another machine's ``sign`` is in the folder of a shared datastore, and held."""

    repeat: ClassVar[Repeat] = Repeat.READ
    run: str
    array: str
    sign: str


class ArrayTold(Reply, frozen=True, kw_only=True):
    """``sign`` is that which was left; with an ``error_id`` for people the folder does not fit."""

    sign: str = ""
    error_id: str = ""
    text: str = ""
    fix: str = ""
