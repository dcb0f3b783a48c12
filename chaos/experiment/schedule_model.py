"""The entries of a schedule as people write them; times already in lab seconds."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from chaos.actions.base import Action
from chaos.experiment.section import After, Section, Selector, no_less_than, read_after
from chaos.faults.base import Fault
from chaos.naming import name_validator
from chaos.points import Call
from chaos.units import Seconds, Share, seconds
from protocol import names

_EXP = re.compile(r"exp\((?P<mean>.+)\)")
Count = Annotated[int, Field(ge=1, le=1000, strict=True)]


class WhenSection(Section):
    """The entry begins when the ``nth`` record or event of this kind is seen.

    ``event`` is the id of an event of vCenter, or the type and name of a record of the history:
    ``ok:key.create``, ``fail:vm.on``, ``fault:host.reboot`` when one bites, ``heal:host.reboot``
    when it was seen gone. ``on``: of these nodes or VMs only. ``plus``: so long after it.
    """

    event: str
    on: Selector | None = None
    nth: Count = 1
    plus: Seconds = 0.0


class Once(Section):
    """After the ``end of`` an entry: once the nodes that ``on`` selects run, or vCenter holds them
    (``wait``), for ``within`` at most."""

    wait: Literal["running", "connected"]
    on: Selector
    within: Seconds = 600.0


class Point(Section):
    """The entry begins within a storage call of one node, in the simulation: the ``nth``, counted
    ``from`` a time on, whose ``path`` and ``function`` fit.

    ``path`` and ``function`` are patterns such as ``bootbank/*`` and ``archive.*``. The fault is
    ``point.crash`` or ``point.fail``.
    """

    node: Selector
    call: Call
    path: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "*"
    function: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "*"
    from_: Seconds = Field(default=0.0, alias="from")
    nth: Count = 1


class Rolling(Section):
    """The entry is played for each ``batch`` of what ``over`` selects, one after another.

    Between the end of one and the begin of the next lies ``gap``, and before it ``wait``: until the
    nodes of the batch run, or vCenter holds them, for ``within`` at most.
    """

    over: Selector
    batch: Count = 1
    gap: Seconds = 0.0
    wait: Literal["running", "connected"] | None = None
    within: Seconds = 600.0


class ScheduleEntry(Section):
    """What every entry of the schedule has; its other fields belong to the fault or action."""

    fault: str | None = None
    do: str | None = None
    id: Annotated[str, name_validator(names.FAULT)] | None = None
    at: Seconds | None = None
    after: (
        Annotated[After, BeforeValidator(read_after), WithJsonSchema({"type": "string"})] | None
    ) = None
    once: Once | None = None
    when: WhenSection | None = None
    point: Point | None = None
    every: Annotated[Seconds, AfterValidator(no_less_than(0.1))] | None = None
    times: Count | None = None
    rolling: Rolling | None = None
    optional: bool = False
    for_: Seconds | None = Field(default=None, alias="for")
    cure: bool = False
    drawn: bool = Field(
        default=False,
        description="It was drawn at random: where it can do nothing it is missed, and no error.",
    )
    must: Literal["ok", "fail"] | None = None


OF_FAULTS: Final = frozenset({"for_", "cure", "drawn", "point"})
OF_ACTIONS: Final = frozenset({"must"})
"""The fields of an entry that only a fault has, and only an action."""


class Gap(BaseModel):
    """A time that is the same each time, or ``exp(12s)``: drawn, so much on average."""

    model_config = ConfigDict(frozen=True)
    mean: float
    drawn: bool


def read_gap(value: object) -> object:
    """``Gap`` from its text; ``PydanticCustomError`` when it is none."""
    found = _EXP.fullmatch(value.strip()) if isinstance(value, str) else None
    mean = seconds(found["mean"] if found is not None else value)
    if mean < GAP_LEAST_S:
        raise PydanticCustomError("short", "at least {least}s", {"least": f"{GAP_LEAST_S:g}"})
    return Gap(mean=mean, drawn=found is not None)


GAP_LEAST_S: Final = 0.1
Gaps = Annotated[Gap, BeforeValidator(read_gap), WithJsonSchema({"type": "string"})]


class Swarm(Section):
    """In each period of ``reshuffle`` a kind is left out with the probability ``omit``; the whole
    period is without faults with the probability ``quiet``."""

    omit: Share = 0.5
    quiet: Share = 0.25
    reshuffle: Annotated[Seconds, AfterValidator(no_less_than(1.0))] = 60.0


class Random(Section):
    """Faults drawn from the seed, between ``from`` and ``until``.

    One begins ``every`` so often and lasts ``for`` so long, ``least`` at least; at most ``overlap``
    are active at once. ``composites``: some bring about what chance seldom does, such as a host
    that boots inside a cut.
    """

    from_: Seconds = Field(default=0.0, alias="from")
    until: Seconds
    kinds: Annotated[list[str], Field(min_length=1)] | None = None
    swarm: Swarm = Swarm()
    every: Gaps = Gap(mean=15.0, drawn=True)
    for_: Gaps = Field(default=Gap(mean=15.0, drawn=True), alias="for")
    least: Annotated[Seconds, AfterValidator(no_less_than(GAP_LEAST_S))] = 2.0
    overlap: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    composites: bool = True


class RandomEntry(Section):
    """An entry of the schedule that stands for faults that are drawn."""

    random: Random
    id: Annotated[str, name_validator(names.FAULT)] = "random"


class Scheduled(BaseModel):
    """A checked entry: what every entry has, ``what`` it plays with its own parameters, and the
    ``place`` where it stands in the schedule."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    id: str
    place: int
    entry: ScheduleEntry
    what: type[Fault] | Action
    params: Any


class ScheduledSwarm(BaseModel):
    """A checked entry whose faults are drawn."""

    model_config = ConfigDict(frozen=True)

    id: str
    place: int
    random: Random
