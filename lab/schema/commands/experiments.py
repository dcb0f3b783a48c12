"""Experiments on a lab that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.arguments import doc
from lab.schema.commands.base import Command, Look, check_names, wrong
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


class GetDirectory(Look["Directory"], frozen=True, tag="get.directory"):
    """Who is in this lab: plans of experiments are resolved against it."""

    words = ""


class ChaosPlay(Command["Verdict"], frozen=True, tag="chaos.play"):
    """Play the plan of a prepared run folder of this machine; one run at a time.

    KS-CHAOS-102 while another one is being played.
    """

    words = ""  # `chaos run --on`
    run: str

    def __post_init__(self) -> None:
        _run(self.run)


class ChaosStop(Command["RunStopped"], frozen=True, tag="chaos.stop"):
    """End a run that a running lab plays, or a load on it: all it began is healed, its verdict says
    interrupted.

    keystead chaos stop -n edge
    keystead chaos stop load-lab-1 -n edge

    For a run whose own terminal has gone: the lab goes on with it. Its verdict says 130. KS-RUN-001
    when no run of that name is being played here.
    """

    run: Annotated[str, doc("The run; that which is being played when left out.", word=True)] = ""

    def __post_init__(self) -> None:
        if self.run:
            _run(self.run)
