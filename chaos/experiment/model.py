"""The sections of an experiment file as people write them, with the entries of its schedule; times
already in lab seconds. Sections are frozen models with selectors, bounded times and references.
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
from chaos.experiment.document import Document
from chaos.faults.base import Fault
from chaos.fields import Rate, Seconds, Share, name_validator, seconds
from chaos.hypotheses.probes import Tolerance, read_above, read_below, tolerance
from chaos.load.arrivals import read_profile
from chaos.load.planned import PlannedLoad, check_mix
from chaos.points import Call
from protocol import names

Selector = str | list[str] | dict[str, str | int]
_AFTER = re.compile(r"(?P<end>end of\s+)?(?P<id>[a-z0-9](?:-?[a-z0-9])*)(?:\s*\+\s*(?P<plus>.+))?")


class Section(BaseModel):
    """Base of the sections of a file: they are frozen, and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class After(Section):
    """``wan + 20s``: so long after the begin of the entry ``wan``; ``end of wan + 20s``: after its
    end."""

    id: str
    plus: float
    end: bool = False


def read_after(value: object) -> object:
    """``After`` from its text; ``PydanticCustomError`` when it is none."""
    found = _AFTER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        text = "write the id of an entry, or: id + 20s, end of id, end of id + 20s"
        raise PydanticCustomError("no_after", text)
    plus_s = seconds(found["plus"]) if found["plus"] else 0.0
    return After(id=found["id"], plus=plus_s, end=found["end"] is not None)


def no_less_than(least_s: float) -> Callable[[float], float]:
    """A validator of times in lab seconds."""

    def check_bound(value: float) -> float:
        if value < least_s:
            raise PydanticCustomError("short", "at least {least}s", {"least": f"{least_s:g}"})
        return value

    return check_bound


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


def on_off(value: object) -> object:
    """YAML reads on and off as booleans; both spellings mean the same here."""
    return {"on": True, "off": False}.get(value, value) if isinstance(value, str) else value


OnOff = Annotated[
    bool,
    BeforeValidator(on_off),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["on", "off"]}]}),
]


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

    provider: Literal["standard", "trusted", "native"] | None = None
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
    """A shipped Lab file by name, or one by its path, with changes that the lab understands."""

    use: str
    """The name of a shipped Lab file, or a path; a relative one begins where `keystead chaos run`
    is started."""
    with_: dict[str, Any] = Field(default={}, alias="with")
    """What is different from the file: ``{hosts: 4, key_persistence: true}``, as options of
    `keystead up` are named, with underscores."""


_WHOLE: Final = {"type": "integer", "minimum": 0}
LIMIT: Final = {
    "anyOf": [
        {"type": "string", "pattern": "^(>=|<=|==|!=|>|<)"},
        {"type": "object", "required": ["ratio"], "additionalProperties": False}
        | {"properties": {"ratio": {"type": "string"}}},
    ]
}
AMOUNT: Final = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^[0-9]"}]}
SEED: Final = {"anyOf": [_WHOLE, {"const": "random"}]}
AT_LEAST: Final = {"anyOf": [_WHOLE, {"type": "string", "pattern": "^>=\\s*[0-9]+$"}]}
"""How the values of three fields are written, as JSON schema for editors."""
SEEDS: Final = 1 << 63  # so many there are
SHARED: Final = frozenset({"probe", "is_", "on", "op", "view"})
ONLY_IN: Final = {
    "before": frozenset({"within"}),
    "during": frozenset({"from_", "until", "after", "for_", "every", "grace"}),
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


class Offered(Section):
    """Operations of a ``mix`` at a ``rate`` that no answer changes (a ramp, steps), ``for`` so long
    after a ``warmup``, on VMs; ``thresholds`` must hold of them."""

    rate: str
    for_: str = Field(default="", alias="for")
    mix: Annotated[dict[str, int], AfterValidator(check_mix)]
    from_: Seconds = Field(default=0.0, alias="from")
    warmup: Seconds = 0.0
    on: Selector | None = None
    arrivals: Literal["poisson", "even"] = "poisson"
    thresholds: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _readable(self) -> Offered:
        read_profile(self.rate, self.for_)
        self.plan_load().limits()
        return self

    def plan_load(self) -> PlannedLoad:
        """As a plan has it."""
        return PlannedLoad(
            rate=self.rate,
            for_=self.for_,
            mix=self.mix,
            from_s=self.from_,
            warmup_s=self.warmup,
            arrivals=self.arrivals,
            thresholds=self.thresholds,
        )


class Probed(Section):
    """A probe with its tolerance. ``within`` lets a probe of ``before`` be tried that long;
    ``from``, ``until``, ``every``, ``grace`` belong to ``during``. So do ``after``, an entry of the
    schedule as in another entry, and ``for``: so long from then on, however fast the machine."""

    probe: str
    is_: Annotated[Tolerance, BeforeValidator(tolerance), WithJsonSchema(LIMIT)] = Field(alias="is")
    on: Selector | None = None
    op: str | None = None
    view: Literal["host", "vcenter"] = "host"
    within: Seconds = 0.0
    from_: Seconds = Field(default=0.0, alias="from")
    until: Seconds | None = None
    after: (
        Annotated[After, BeforeValidator(read_after), WithJsonSchema({"type": "string"})] | None
    ) = None
    for_: Seconds | None = Field(default=None, alias="for")
    every: Annotated[Seconds, AfterValidator(no_less_than(0.1))] = 10.0
    grace: Seconds = 0.0


class Recover(Section):
    """How long after the heal the probes of ``after`` may take to hold."""

    within: Seconds


class Abort(Section):
    """A run is given up when a probe holds for so long; it is measured ``every`` so often. What it
    is held against is one of ``is``, ``above`` and ``below``."""

    probe: str
    is_: Annotated[Tolerance, BeforeValidator(tolerance), WithJsonSchema(LIMIT)] | None = Field(
        default=None, alias="is"
    )
    above: Annotated[Tolerance, BeforeValidator(read_above), WithJsonSchema(AMOUNT)] | None = None
    below: Annotated[Tolerance, BeforeValidator(read_below), WithJsonSchema(AMOUNT)] | None = None
    on: Selector | None = None
    view: Literal["host", "vcenter"] = "host"
    for_: Seconds = Field(default=0.0, alias="for")
    every: Annotated[Seconds, AfterValidator(no_less_than(0.1))] = 5.0

    @model_validator(mode="after")
    def _one_limit(self) -> Abort:
        if sum(limit is not None for limit in (self.is_, self.above, self.below)) != 1:
            raise ValueError("give one of `is`, `above` and `below`")
        return self

    @property
    def limit(self) -> Tolerance:
        """What the probe is held against, by whichever word."""
        found = self.is_ or self.above or self.below
        if found is None:
            raise ValueError("an abort condition without a limit")
        return found


class NegativeControl(Section):
    """A planted bug, by its name, and the checks and probes that must fail with it: no others.
    ``must`` in their place: an action ends otherwise than it must (KS-CHAOS-110)."""

    patch: str | None = None
    disable: str | None = None
    expect: Annotated[list[str], Field(min_length=1)]

    @property
    def bug(self) -> str:
        """Its name, by whichever word it is given."""
        return self.patch or self.disable or ""


CORE: Final[list[str]] = ["role:vcenter", "majority of role:kms", "66% of role:esxi"]
"""What is healed first when a file does not say what its core is."""


class HealCore(Section):
    """First the faults are healed that the ``core`` suffers from, and the live hypotheses of
    ``after`` must hold for its hosts and their VMs ``within`` this time, while all others stay."""

    core: Selector = CORE
    within: Seconds = 60.0


class FinalPhase(Section):
    """What follows the fault phase: everything is healed, or first a ``core`` and then the rest;
    ``settle`` passes before anything is judged."""

    heal: Literal["all", "core"] | HealCore = "all"
    settle: Seconds = 0.0

    @property
    def core(self) -> HealCore | None:
        """What is healed first, if anything is."""
        if isinstance(self.heal, str):
            return HealCore() if self.heal == "core" else None
        return self.heal


class Unattended(Section):
    """A span of the fault phase in which the controller is away, as one that was killed is."""

    from_: Seconds = Field(alias="from")
    for_: Annotated[Seconds, AfterValidator(no_less_than(1.0))] = Field(alias="for")


class Guards(Section):
    """Limits of the run; see ``plan`` for the budget and ``engine`` for the times."""

    lease: Annotated[Seconds, AfterValidator(no_less_than(1.0))] = Field(
        default=120.0,
        description="A fault heals by itself when the engine is silent for this time.",
    )
    max_duration: Annotated[Seconds, AfterValidator(no_less_than(1.0))] = Field(
        default=3600.0, description="A longer run is aborted, and everything is healed."
    )
    blast_radius: dict[str, int | str] = Field(
        default={},
        description=(
            "How much a run may touch: `hosts`, `kms`, `vcenter` as a number of nodes or a "
            "share, and faults by name with their number of uses; a fault that cannot be "
            "undone must be named."
        ),
    )
    abort_if: list[Abort] = Field(
        default=[],
        description="Conditions that abort a run: everything is healed, and nothing is judged.",
    )
    unattended: list[Unattended] = Field(
        default=[],
        description="The engine renews no leases: faults end by themselves, before their time.",
    )


class Checks(Section):
    """The safety checks always run; a file can add, never remove."""

    add: list[str] = Field(default=[])


class Heading(Section):
    """The top of the file; its sections are checked on their own."""

    apiVersion: Literal["keystead/v1"]
    kind: Literal["Experiment"]
    name: Annotated[str, name_validator(names.EXPERIMENT)]
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: str = ""
    seed: Annotated[Any, BeforeValidator(read_seed), WithJsonSchema(SEED)] = 1
    duration: Annotated[Seconds, AfterValidator(no_less_than(1.0))] | None = None
    order: Literal["fifo", "random", "few"] | None = Field(
        default=None, description="In the simulation: how what is ready at once is ordered."
    )


class Experiment(BaseModel):
    """A file without errors. ``document`` has the places; the lab reads ``topology``."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    document: Document
    text: str
    heading: Heading
    topology: Any
    requires: Requires
    workload: tuple[Load, ...]
    load: Offered | None
    before: tuple[Probed, ...]
    during: tuple[Probed, ...]
    after: tuple[Probed, ...]
    recover: float | None
    final: FinalPhase
    guards: Guards
    schedule: tuple[Scheduled, ...]
    swarms: tuple[ScheduledSwarm, ...]
    checks: tuple[str, ...]
    control: NegativeControl | None
