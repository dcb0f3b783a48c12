"""How long a node works on what: service times, and the command that slows a node."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Request
from protocol.messages.host import Done
from protocol.terms import NodeName


class Distribution(StrEnum):
    """How service times scatter around their mean."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"
    LOGNORMAL = "lognormal"


class ServiceTime(msgspec.Struct, frozen=True, kw_only=True):
    """The time that one piece of work takes, in lab seconds.

    ``each_s`` is added for every entry of the longest list of the message, such as each key of a
    ``GetKeys``. ``spread`` is the coefficient of variation of ``lognormal``: standard deviation
    divided by mean.
    """

    mean_s: float
    distribution: Distribution = Distribution.CONSTANT
    each_s: float = 0.0
    spread: float = 1.0


class ServiceTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The service times of a node, by class of work; what has none takes no time.

    Classes: a request that the node serves (``CreateKey``), the reply to a request that it sent
    (``CreateKey.reply``), ``*`` and ``*.reply`` for those without an entry, and in the simulation
    calls of storage (``disk.sync``, ``db.transact``) and TPM (``tpm.unseal``). ``cores``: so
    many pieces of work at a time.
    """

    cores: int = 1
    times: dict[str, ServiceTime] = {}


class SharedMachine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine whose ``cores`` all processes of a simulated lab share (decision 107).

    A process that was idle begins its next piece of work after ``wakeup``, and has ``cold`` more
    work with it, since its caches are cold (less when it was idle for a moment only). ``bus`` is
    the broker, which works on every message (class ``*``); ``client`` is the process from which
    the lab is commanded, together with the control plane (``Ask``, ``Ask.reply``).
    """

    cores: int
    wakeup: ServiceTime | None = None
    cold: ServiceTime | None = None
    bus: ServiceTimes = ServiceTimes()
    client: ServiceTimes = ServiceTimes()


class Slowdown(msgspec.Struct, frozen=True, kw_only=True):
    """A slower node: a ``share`` of its requests takes ``factor`` times its service time, and
    ``extra`` on top."""

    factor: float = 1.0
    extra: ServiceTime | None = None
    share: float = 1.0


class SlowNode(Request[Done], frozen=True, kw_only=True):
    """Slow a node down, in this life and later ones; None ends that. Requests that are queued
    already keep the time that was drawn for them."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    slowdown: Slowdown | None
