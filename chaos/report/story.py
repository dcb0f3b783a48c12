"""A run as its folder tells it: all that a report is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from chaos.experiment.plan import Plan
from chaos.history import Record
from chaos.lab import Directory
from chaos.report.lanes import Lane, lanes
from chaos.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Story:
    """One run. ``began`` in Unix seconds; ``code`` is the digest of the sources that ran,
    ``python`` and ``tpm`` what they ran on; ``reproduce`` the command that shows the same again.

    ``titles`` are those of the rules, by id, for people.
    ``fork_of`` is a run that was the same up to ``fork_at``, in seconds of the run.
    ``verdict`` is None of a run that was broken off before it had one.
    """

    run: str
    mode: str
    code: str
    python: str
    tpm: str
    began: float
    plan: Plan
    directory: Directory
    verdict: Verdict | None
    records: tuple[Record, ...]
    reproduce: str
    replay_of: str = ""
    fork_of: str = ""
    fork_at: float = 0.0
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The verdict in a word; ``broken off`` when there is none."""
        return "broken off" if self.verdict is None else self.verdict.verdict

    @property
    def seconds(self) -> float:
        """Lab seconds from the first record to the last."""
        return self.records[-1].t if self.records else 0.0

    @property
    def drawn(self) -> float:
        """Seconds that pictures of it show: a little more, so that what was seen last is wide
        enough to be seen."""
        return self.seconds * 1.012

    @cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """Those of its hosts and VMs, as wide as pictures show them; folded once."""
        return lanes(self.records, self.drawn)


def schedule_digest(plan: Plan) -> str:
    """Names what was planned: equal for two runs with the same faults and operations at the same
    times, whatever the seed or the file's text."""
    planned = msgspec.json.encode((plan.faults, plan.arrivals, plan.duration_s))
    return hashlib.sha256(planned).hexdigest()[:16]
