"""The load of an experiment's file: which operations, at which rate, and what must hold of them."""

from __future__ import annotations

from typing import Final

import msgspec

from chaos.draws import Draws
from chaos.load.arrivals import Spread, draw
from chaos.load.profile import LoadStep, Profile, length, read_profile, with_warmup
from chaos.load.threshold import Threshold, read_threshold
from chaos.units import format_s
from chaos.workload import OPERATIONS, Arrival

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
