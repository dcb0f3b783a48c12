"""The sections of an experiment file as people write it; times already in lab seconds.

Sections are validated one by one (``lint``), so that one pass finds every error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from chaos.actions.base import Action
from chaos.experiment.parse import Document
from chaos.faults.base import Fault
from chaos.hypotheses.tolerance import Tolerance, tolerance
from chaos.naming import named
from chaos.units import Rate, Seconds, Share, seconds
from protocol import names

Selector = str | list[str] | dict[str, str | int]
_AFTER = re.compile(r"(?P<id>[a-z0-9](?:-?[a-z0-9])*)(?:\s*\+\s*(?P<plus>.+))?")
_EXP = re.compile(r"exp\((?P<mean>.+)\)")


class Section(BaseModel):
    """Base of the sections of a file: they are frozen, and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def on_off(value: object) -> object:
    """YAML reads on and off as booleans; both spellings mean the same here."""
    return {"on": True, "off": False}.get(value, value) if isinstance(value, str) else value


OnOff = Annotated[
    bool,
    BeforeValidator(on_off),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["on", "off"]}]}),
]


class After(Section):
    """``wan + 20s``: so long after the begin of the fault ``wan``."""

    id: str
    plus: float


def read_after(value: object) -> object:
    """``After`` from its text; ``PydanticCustomError`` when it is none."""
    found = _AFTER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("no_after", "write the id of a fault, or: id + 20s")
    return After(id=found["id"], plus=seconds(found["plus"]) if found["plus"] else 0.0)


def no_less_than(least_s: float) -> Callable[[float], float]:
    """A validator of times in lab seconds."""

    def bounded(value: float) -> float:
        if value < least_s:
            raise PydanticCustomError("short", "at least {least}s", {"least": f"{least_s:g}"})
        return value

    return bounded


def read_seed(value: object) -> object:
    """A seed of a file: a whole number that fits 63 bits, or the word ``random``."""
    if value == "random" or (type(value) is int and 0 <= value < SEEDS):
        return value
    raise PydanticCustomError("seed", "a whole number from 0 to 2^63 - 1, or: random")


def at_least(value: object) -> object:
    """``">=3"`` or 3 as a lower bound."""
    found = re.fullmatch(r">=\s*([0-9]{1,9})", value.strip()) if isinstance(value, str) else None
    return int(found[1]) if found is not None else value


class Requires(Section):
    """What the lab must be, before anything is injected."""

    provider: Literal["standard"] | None = None
    persistence: OnOff | None = None
    tpm: Literal["real", "model", "any", "none"] | None = None
    hosts: (
        Annotated[
            int,
            BeforeValidator(at_least),
            Field(ge=0, strict=True),
            WithJsonSchema(AT_LEAST),
        ]
        | None
    ) = None


class TopologyUse(Section):
    """A shipped Lab file by name, with changes that the lab understands."""

    use: str
    with_: dict[str, Any] = Field(default={}, alias="with")


_WHOLE: Final = {"type": "integer", "minimum": 0}
LIMIT: Final = {
    "anyOf": [
        {"type": "string", "pattern": "^(>=|<=|==|!=|>|<)"},
        {"type": "object", "required": ["ratio"], "additionalProperties": False}
        | {"properties": {"ratio": {"type": "string"}}},
    ]
}
SEED: Final = {"anyOf": [_WHOLE, {"const": "random"}]}
AT_LEAST: Final = {"anyOf": [_WHOLE, {"type": "string", "pattern": "^>=\\s*[0-9]+$"}]}
"""How the values of three fields are written, as JSON schema for editors."""
SEEDS: Final = 1 << 63  # so many there are
SHARED: Final = frozenset({"probe", "is_", "on", "op", "view"})
ONLY_IN: Final = {
    "before": frozenset({"within"}),
    "during": frozenset({"from_", "until", "every", "grace"}),
    "after": frozenset[str](),
}
"""The fields of a probe that mean something in one phase only."""


class Load(Section):
    """A stream of operations whose arrivals do not wait for answers: so many at a ``rate``, or
    one ``at`` a moment."""

    op: str
    rate: Rate | None = None
    at: Seconds | None = None
    from_: Seconds = Field(default=0.0, alias="from")
    until: Seconds | None = None
    on: Selector | None = None

    @model_validator(mode="after")
    def _one_or_many(self) -> Load:
        if (self.rate is None) == (self.at is None):
            raise ValueError("give either `rate` or `at`")
        if self.at is not None and self.model_fields_set & {"from_", "until"}:
            raise ValueError("`from` and `until` belong to a `rate`")
        return self


class Probed(Section):
    """A probe with its tolerance. ``within`` lets a probe of ``before`` be tried that long;
    ``from``, ``until``, ``every``, ``grace`` belong to ``during``."""

    probe: str
    is_: Annotated[Tolerance, BeforeValidator(tolerance), WithJsonSchema(LIMIT)] = Field(alias="is")
    on: Selector | None = None
    op: str | None = None
    view: Literal["host", "vcenter"] = "host"
    within: Seconds = 0.0
    from_: Seconds = Field(default=0.0, alias="from")
    until: Seconds | None = None
    every: Annotated[Seconds, AfterValidator(no_less_than(0.1))] = 10.0
    grace: Seconds = 0.0


class Recover(Section):
    """How long after the heal the probes of ``after`` may take to hold."""

    within: Seconds


class FinalPhase(Section):
    """What follows the fault phase: after the heal ``settle`` passes before anything is judged."""

    settle: Seconds = 0.0


class Guards(Section):
    """Limits of the run; see ``plan`` for the budget and ``engine`` for the times."""

    lease: Annotated[Seconds, AfterValidator(no_less_than(1.0))] = Field(
        default=120.0, description="A fault heals by itself when the engine is silent for so long."
    )
    max_duration: Annotated[Seconds, AfterValidator(no_less_than(1.0))] = Field(
        default=3600.0, description="A run that takes longer is given up, and everything is healed."
    )
    blast_radius: dict[str, int | str] = Field(
        default={},
        description="How much a run may touch: `hosts`, `kms`, `vcenter` as a number of nodes or a "
        "share, and the name of a fault as how often it is used; one without undo must be named.",
    )


class Checks(Section):
    """The safety checks always run; a file can add, never remove."""

    add: list[str] = []


Count = Annotated[int, Field(ge=1, le=1000, strict=True)]


class When(Section):
    """The entry begins when the ``nth`` record or event of this kind is seen.

    ``event`` is the id of an event of vCenter, or the type and name of a record of the history:
    ``ok:key.create``, ``fail:vm.on``, ``fault:host.reboot``. ``on``: of these nodes or VMs only.
    """

    event: str
    on: Selector | None = None
    nth: Count = 1


class Point(Section):
    """The entry begins inside a call that a node makes at a port, such as ``disk.sync``; ``path``
    is a pattern of what the call is about."""

    node: str
    call: str
    path: str = "*"


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
    id: Annotated[str, named(names.FAULT)] | None = None
    at: Seconds | None = None
    after: (
        Annotated[After, BeforeValidator(read_after), WithJsonSchema({"type": "string"})] | None
    ) = None
    when: When | None = None
    point: Point | None = None
    nth: Count = 1
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
    id: Annotated[str, named(names.FAULT)] = "random"


class Heading(Section):
    """The top of the file; its sections are checked on their own."""

    apiVersion: Literal["keystead/v1"]
    kind: Literal["Experiment"]
    name: Annotated[str, named(names.EXPERIMENT)]
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: str = ""
    seed: Annotated[Any, BeforeValidator(read_seed), WithJsonSchema(SEED)] = 1
    duration: Annotated[Seconds, AfterValidator(no_less_than(1.0))] | None = None
    order: Literal["fifo", "random", "few"] | None = Field(
        default=None, description="In the simulation: how what is ready at once is ordered."
    )


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


class Experiment(BaseModel):
    """A file without errors. ``document`` has the places; the lab reads ``topology``."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    document: Document
    text: str
    heading: Heading
    topology: Any
    requires: Requires
    workload: tuple[Load, ...]
    before: tuple[Probed, ...]
    during: tuple[Probed, ...]
    after: tuple[Probed, ...]
    recover: float | None
    final: FinalPhase
    guards: Guards
    schedule: tuple[Scheduled, ...]
    swarms: tuple[ScheduledSwarm, ...]
    checks: tuple[str, ...]
