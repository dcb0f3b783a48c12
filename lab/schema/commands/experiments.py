"""Experiments on a lab that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from chaos.lab import Directory
    from chaos.verdict import Verdict
    from lab.schema.answers import RunStopped


def _run(name: str) -> None:
    """A run is a folder of that name."""
    if not name:
        raise wrong("a run has a name")
    check_names(names.RUN, name)


class GetDirectory(Command["Directory"], frozen=True, tag="get.directory"):
    """Who is in this lab: plans of experiments are resolved against it."""


class ChaosPlay(Command["Verdict"], frozen=True, tag="chaos.play"):
    """Play the plan of a prepared run folder of this machine; one run at a time.

    KS-CHAOS-102 while another one is being played.
    """

    run: str

    def __post_init__(self) -> None:
        _run(self.run)


class ChaosStop(Command["RunStopped"], frozen=True, tag="chaos.stop"):
    """Interrupt a run: it heals everything it began, and its verdict says 130. An empty ``run`` is
    the one that is being played.

    KS-RUN-001 when no run of that name is being played here.
    """

    run: str = ""

    def __post_init__(self) -> None:
        if self.run:
            _run(self.run)
