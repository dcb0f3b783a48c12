"""The load of an experiment's file: which operations, at which rate, and the thresholds that it has
to keep, such as ``get.p99 < 50ms`` or ``all.errors < 1%``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from pydantic_core import PydanticCustomError

from chaos.draws import Draws
from chaos.fields import format_s, per_second, seconds, share
from chaos.load.arrivals import LoadStep, Profile, Spread, draw, length, read_profile, with_warmup
from chaos.workload import OPERATIONS, Arrival

ALL: Final = "all"
"""The name of all operations together."""
_FORM: Final = re.compile(
    r"\s*(?P<op>[A-Za-z0-9_.-]+)\.(?P<what>p[0-9]{1,2}(\.[0-9]{1,3})?|p100|max|errors|rate)"
    r"\s*(?P<sign><=|>=|<|>)\s*(?P<limit>\S(.*\S)?)\s*"
)
_SIGNS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SAY: Final = "write OPERATION.WHAT < LIMIT, as get.p99 < 50ms, all.errors < 1%, all.rate > 290/s"


class Threshold(NamedTuple):
    """``what`` of an operation is held against ``limit``: seconds, a share, or operations a second.

    ``text`` is how it was written.
    """

    text: str
    operation: str
    what: str
    sign: str
    limit: float

    @property
    def percentile(self) -> float | None:
        """Of the latency, 100 for the longest; None for another figure."""
        if self.what == "max":
            return 100.0
        return float(self.what[1:]) if self.what.startswith("p") else None

    def holds(self, value: float) -> bool:
        """Whether a measured value keeps it."""
        return _SIGNS[self.sign](value, self.limit)


def check_of(threshold: str) -> str:
    """What a run calls the check of a threshold, as it was written."""
    return f"threshold {threshold.strip()}"


def read_threshold(text: str, operations: Sequence[str]) -> Threshold:
    """``ValueError`` when it names no operation of the load, or cannot be read."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"the threshold {text!r} cannot be read: {_SAY}")
    if found["op"] not in (*operations, ALL):
        there = ", ".join((*operations, ALL))
        raise ValueError(
            f"the threshold {text!r} names no operation of this load; there are {there}"
        )
    read = {"errors": share, "rate": per_second}.get(found["what"], seconds)
    limit: object = found["limit"]
    sign = found["sign"]
    if read is share and re.fullmatch(r"[0-9.]{1,12}", found["limit"]):
        limit = float(found["limit"]) if found["limit"].count(".") < 2 else limit
    try:
        value = read(limit)
    except PydanticCustomError as error:
        raise ValueError(f"the threshold {text!r}: {error.message()}") from None
    if (sign, value) == ("<", 0) or (found["what"], sign, value) == ("errors", ">", 1):
        raise ValueError(f"the threshold {text!r}: nothing can ever hold it")
    return Threshold(text.strip(), found["op"], found["what"], sign, value)


SHORT: Final = {
    "power": "vm.power_cycle",
    "encrypt": "vm.encrypt",
    "key": "key.create",
    "unlock": "vm.unlock",
    "recrypt": "vm.recrypt",
    "migrate": "vm.migrate",
    "challenge": "guest.challenge",
    "reconnect": "host.reconnect",
}
"""Words that a mix may have for operations of the workload; their full names will do too."""
WORDS: Final = (*SHORT, *OPERATIONS)


class PlannedLoad(msgspec.Struct, frozen=True, kw_only=True):
    """Operations by the words of ``mix``, from ``from_s`` seconds of the fault phase on, at a
    ``rate`` as it was written, for ``for_`` when that has no time; it counts after ``warmup_s``.
    ``on`` are the VMs that it has.
    """

    rate: str
    for_: str
    mix: dict[str, int]
    from_s: float = 0.0
    warmup_s: float = 0.0
    on: tuple[str, ...] = ()
    arrivals: str = Spread.POISSON.value
    thresholds: tuple[str, ...] = ()

    @property
    def length_s(self) -> float:
        """Seconds that it counts."""
        return length(read_profile(self.rate, self.for_))

    @property
    def until_s(self) -> float:
        """When the last operation is due, in seconds of the fault phase."""
        return self.from_s + self.warmup_s + self.length_s

    @property
    def expected(self) -> float:
        """How many operations it has, on average over seeds."""
        profile = with_warmup(read_profile(self.rate, self.for_), self.warmup_s)
        return sum(step.expected for step in profile)

    def limits(self) -> tuple[Threshold, ...]:
        """Its thresholds, read."""
        return tuple(read_threshold(text, tuple(self.mix)) for text in self.thresholds)

    def draw_arrivals(self, seed: int) -> list[tuple[float, str, str]]:
        """Time (to the millisecond), operation and target of each arrival, in order."""
        profile = with_warmup(read_profile(self.rate, self.for_), self.warmup_s)
        return self._draw_profile(profile, seed, "load", self.from_s)

    def draw_rest(
        self, seed: int, nth: int, at: float, rate: float
    ) -> list[tuple[float, str, str]]:
        """As ``drawn`` for the rest of it from ``at`` on, which the ``nth`` change had come at so
        many a second."""
        begin = max(at, self.from_s)
        profile = (LoadStep(rate, rate, self.until_s - begin),) if rate else ()
        return self._draw_profile(profile, seed, f"load/{nth}", begin)

    def _draw_profile(
        self, profile: Profile, seed: int, name: str, begin: float
    ) -> list[tuple[float, str, str]]:
        spread = Spread(self.arrivals)
        found = draw(profile, self.mix, askers=1, seed=seed, spread=spread, name=name)
        whom = Draws(seed, f"{name}/targets")
        made = []
        for at, kind in zip(found.at, found.operation, strict=True):
            op = operation_of(found.operations[kind])
            about = OPERATIONS[op].about == "vms"
            target = self.on[whom.below(len(self.on))] if about and self.on else ""
            made.append((round(begin + at, 3), op, target))
        return made

    def word_of(self, op: str) -> str:
        """What the mix calls an operation; empty when it is none of the load's."""
        return next((word for word in self.mix if operation_of(word) == op), "")

    def mine(self, arrivals: tuple[Arrival, ...]) -> tuple[Arrival, ...]:
        """Those of a plan that are the load's."""
        return tuple(one for one in arrivals if self.word_of(one.op))


def operation_of(word: str) -> str:
    """The full name of an operation that a mix has a word for."""
    return SHORT.get(word, word)


def check_mix(mix: dict[str, int]) -> dict[str, int]:
    """The same; ``ValueError`` for what no load can be mixed of."""
    if not mix:
        raise ValueError("a mix has at least one operation, as {power: 60, key: 5}")
    seen: dict[str, str] = {}
    for word, weight in mix.items():
        if word not in WORDS:
            raise ValueError(f"no operation is {word!r}; there are {', '.join(WORDS)}")
        if other := seen.get(operation_of(word)):
            raise ValueError(f"{word} and {other} are one operation")
        if not 0 < weight <= 1_000_000:
            raise ValueError(f"{word}: a weight is 1 to 1000000")
        seen[operation_of(word)] = word
    return mix


def describe_load(load: PlannedLoad) -> str:
    """One line for people."""
    mix = ", ".join(f"{word}:{weight}" for word, weight in load.mix.items())
    long = f" for {load.for_}" if load.for_ else ""
    return f"{load.rate}{long} of {mix}, from {format_s(load.from_s)}"
