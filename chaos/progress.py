"""How far a run has come: its phase, the lab time in it, and what the phase takes at most.

Phases: before, faults, core (healed, and looked at while the rest stays faulted), heal, settle,
recover, checks. Who shows it is called with every line and with every record of the history, so
that time goes on where nothing is said; nothing in the run depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from chaos.history import Record


class ProgressStep(msgspec.Struct, frozen=True, kw_only=True):
    """``at`` lab seconds of ``phase`` are over, of ``length_s`` at most (None: nobody knows).
    ``text`` is a line for people; empty when only time went on."""

    phase: str
    text: str = ""
    at: float = 0.0
    length_s: float | None = None

    def line(self) -> str:
        """``faults 12/40 s: wan: cut vcenter <-> kms``."""
        return f"{self.where()}: {self.text}" if self.text else self.where()

    def where(self) -> str:
        """``faults 12/40 s, 28 s left``, or only as much as is known: of a phase that waits for
        something, such as the batches of ``rolling``, nobody knows what is left."""
        if self.length_s is None or self.at > self.length_s > 0:
            return self.phase if self.at < 1 else f"{self.phase} {self.at:.0f} s"
        left_s = max(0.0, self.length_s - self.at)
        return f"{self.phase} {self.at:.0f}/{self.length_s:.0f} s, {left_s:.0f} s left"


Progress = Callable[[ProgressStep], None]


def quiet(step: ProgressStep) -> None:
    """Show no progress: what a run does whose caller does not care."""


@dataclass
class PhaseProgress:
    """Tells of the phases of one run; ``now`` is the lab's time."""

    show: Progress
    now: Callable[[], float]
    _phase: str = field(default="", init=False)
    _began: float = field(default=0.0, init=False)
    _length_s: float | None = field(default=None, init=False)

    def begin(self, phase: str, text: str, length_s: float | None = None) -> None:
        """A phase begins, which takes so many lab seconds at most."""
        self._phase, self._began, self._length_s = phase, self.now(), length_s
        self.tell(text)

    def tell(self, text: str) -> None:
        """A line about the phase."""
        at = self.now() - self._began
        self.show(ProgressStep(phase=self._phase, text=text, at=at, length_s=self._length_s))

    def hear(self, record: Record) -> None:
        """Time has gone on; for the watchers of a history."""
        self.tell("")
